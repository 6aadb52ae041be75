"""Numbers too large, texts too long and tables too deep: every setting of every part and of the host takes them,
or says in two lines what is wrong, at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from annotated_types import Le, Lt
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.core.errors import MuomniError
from muomni_cli.recipe.load import load_recipe, shipped_recipes
from muomni_cli.recipe.problems import RecipeMistakesError
from muomni_cli.recipe.settings import ChatSettings, DataSettings
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.registry.hookspecs import KINDS
from muomni_cli.registry.registry import get_registry

RECIPE = '[tokenizer]\nuse = "bpe"\n[[data.text]]\nuse = "tales"\n'
SLOWEST = 10.0
"""Seconds; on a busy machine most of them are waiting."""
VALUES = [
    "1" + "0" * 5000, "-1" + "0" * 30, "0x" + "f" * 9000, str(2**63), str(2**63 - 1), str(-(2**63)), "1_000_000_000",
    "0", "-1", "1e400", "1e308", "-1e308", "5e-324", "nan", "inf", "-inf", "true", '""', '"' + "x" * 9000 + '"',
    "[" * 40 + "]" * 40, "[" * 600 + "]" * 600, "{a=" * 600 + "1" + "}" * 600, "[1, 2, 3]", "{}", "1979-05-27",
    "[" + "1e308," * 50 + "]", '"\\u0000\\n"',
]  # fmt: skip


def fields_of(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting by its dotted path, those of nested tables included."""
    for name, field in model.model_fields.items():
        path = f"{above}{field.alias or name}"
        yield path, field
        for inner in models_in(field.annotation):
            yield from fields_of(inner, f"{path}.")


def models_in(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for argument in get_args(kind):
        yield from models_in(argument)


def settings_there() -> dict[str, tuple[str, FieldInfo]]:
    """Key -> the override that chooses its part, and its declaration."""
    found = {}
    for table, model in (("data", DataSettings), ("train", TrainSettings), ("chat", ChatSettings)):
        found |= {f"{table}.{path}": ("", field) for path, field in fields_of(model)}
    for one in (one for kind in KINDS for one in get_registry().all(kind)):
        tables = {"dataset": "data.text.0", "callback": "callbacks.one", "encoder": "encoders.image"}
        table = tables.get(one.part.kind, one.part.kind)
        if isinstance(one.part, EncoderPart):
            table = f"encoders.{one.part.modality}"
        for path, field in fields_of(one.part.config):
            found[f"{table}.{path} of {one.use}"] = (f'{table}={{ use = "{one.use}" }}', field)
    return found


SETTINGS = settings_there()


def load_with(recipe: str, *words: str) -> None:
    """Load it, or fail if it is refused otherwise than in a line for each mistake, or slowly."""
    begun = time.monotonic()
    said: list[str] = []
    try:
        load_recipe(recipe, words)
    except RecipeMistakesError as error:
        said = [str(mistake) for mistake in error.mistakes]
    except MuomniError as error:
        said = [error.what, error.fix]
    assert all(0 < len(line) < 1000 and "\n" not in line for line in said)
    assert time.monotonic() - begun < SLOWEST


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:20])
def test_every_setting_takes_a_value_or_says_why_not(value: str, here: Path) -> None:
    (here / "small.toml").write_text(RECIPE)
    for choice in dict.fromkeys(choice for choice, _ in SETTINGS.values()):  # all settings of a part at once
        keys = [key.partition(" of ")[0] for key, (its, _) in SETTINGS.items() if its == choice]
        load_with("small.toml", *([choice] if choice else []), *(f"{key}={value}" for key in keys))


def test_every_number_has_an_upper_limit() -> None:
    def numbers(kind: Any, metadata: list[Any]) -> Iterator[list[Any]]:
        """The constraints of each number in a type."""
        if kind in (int, float):
            yield metadata
        own = getattr(kind, "__metadata__", ())
        for argument in get_args(kind)[: 1 if own else None]:
            given = [limit for one in own for limit in (one.metadata if isinstance(one, FieldInfo) else [one])]
            yield from numbers(argument, [*given, *(metadata if kind in (int, float) or not own else [])])

    def limited(field: FieldInfo) -> bool:
        found = list(numbers(field.annotation, list(field.metadata)))
        return all(any(isinstance(one, Le | Lt) for one in limits) for limits in found)

    assert [key for key, (_, field) in SETTINGS.items() if not limited(field)] == []


@given(
    st.sampled_from([recipe.name for recipe in shipped_recipes() if recipe.origin == "muomni"]),
    st.sampled_from([key.partition(" of ")[0] for key in SETTINGS]),
    st.sampled_from(VALUES) | st.integers().map(str) | st.floats().map(str) | st.text(max_size=50),
)
@example("nano", "train.omni.init_encoders.image", '"' + "x" * 3000 + '"')
@example("nano", "data.text." + "9" * 5000 + ".use", "1")
@example("nano", ".".join(["train"] * 3000), "1")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_shipped_recipe_takes_a_value_or_says_why_not(recipe: str, key: str, value: str) -> None:
    load_with(recipe, f"{key}={value}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a" + ".a" * 3000 + " = 1", "nested too deeply"),
        ("[a" + ".a" * 3000 + "]", "nested too deeply"),
        ("[tokenizer]\nvocab_size = 1" + "0" * 5000, "recipe.toml:2: a number is too large"),
        ("[train]\nsteps = 1" + "0" * 30, "recipe.toml:2: train.steps: is too large"),
        ("[train]\nsteps = 0x" + "f" * 9000, "recipe.toml:2: train.steps: is too large"),
        ("[chat]\nstop = [\n" + '"a",\n' * 30000 + "1]", "chat.stop.30000: 1: input should be a valid string"),
        ("\n".join(f"key{number} = 1" for number in range(9000)), "recipe.toml has 100 mistakes"),
        ("k" * 200_000 + " = 1", "unknown key"),
        ('"a\\nb\\u001b" = 1', r"a\nb\x1b"),
        ("#" * 300_000, "too large for a recipe"),
        ("name = 1\nname = 2", "not TOML: cannot overwrite a value"),
    ],
    ids=["lists", "keys", "header", "digits", "large", "hex", "lines", "many", "key", "control", "size", "twice"],
)
def test_files_beyond_the_limits(text: str, said: str, here: Path) -> None:
    (here / "recipe.toml").write_text(text)
    begun = time.monotonic()
    with pytest.raises(MuomniError) as caught:
        load_recipe("recipe.toml")
    assert said in caught.value.what
    assert time.monotonic() - begun < 3 * SLOWEST


def test_a_part_that_no_memory_holds_is_counted_and_not_trained(here: Path) -> None:
    from muomni_cli.nn.device import memory_errors_told
    from muomni_cli.runs.checkpoint import parameters_of
    from muomni_cli.runs.run import RunFolder
    from muomni_cli.training.stages import Job, try_stages

    words = ["thinker.d_model=65536", "thinker.n_layers=8", "data.text.0.count=40", "tokenizer.vocab_size=300"]
    recipe = load_recipe("tales", words)
    assert parameters_of(recipe)["thinker"] > 10**11
    with pytest.raises(MuomniError, match=r"training it takes .* GB, and cpu has") as caught:
        try_stages([Job(recipe, "thinker", RunFolder(here / "run"), "")])
    assert caught.value.exit_code == 2
    with pytest.raises(MuomniError, match="it ran out of memory"), memory_errors_told("it", "less"):
        raise MemoryError
    with pytest.raises(ValueError, match="other"), memory_errors_told("it", "less"):
        raise ValueError("other")

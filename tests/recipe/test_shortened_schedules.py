"""Fewer steps shorten the warm-up with them, an override for every stage reaches every stage, and a shipped recipe is
found by the path that it has in a checkout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muomni_cli.api import RecipeFile
from muomni_cli.commands.train import of_stage
from muomni_cli.core.errors import RequestError
from muomni_cli.recipe import load as shipped
from muomni_cli.recipe.actions import read_recipe
from muomni_cli.recipe.load import find_recipe, load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.recipe.overrides import shorten_warmups
from muomni_cli.recipe.problems import RecipeMistakesError
from muomni_cli.recipe.write import resolved_toml
from muomni_cli.registry.loading import Plugin, PluginInfo
from muomni_cli.registry.registry import Registry

Muomni = Callable[..., tuple[int, str, str]]

PARTS = '[tokenizer]\nuse = "bpe"\n[thinker]\nuse = "transformer"\n[encoders.image]\nuse = "vit"\n'
TRAIN = "[train.thinker]\nsteps = 2000\nwarmup_steps = 100\n[train.image]\nsteps = 500\nwarmup_steps = 60\n"


@pytest.fixture(autouse=True)
def _empty(here: Path) -> None:
    """In an empty folder."""


def load(text: str, *overrides: str) -> Recipe:
    Path("mine.toml").write_text(PARTS + text)
    return load_recipe("mine.toml", overrides)


def schedule(recipe: Recipe, stage: str) -> tuple[int, int]:
    settings = recipe.train_for(stage)
    return settings.steps, settings.warmup_steps


def test_fewer_steps_than_warm_up_shorten_it_in_proportion() -> None:
    recipe = load(TRAIN, "train.thinker.steps=20")
    assert schedule(recipe, "thinker") == (20, 1)
    assert schedule(recipe, "image") == (500, 60)
    assert recipe.notes == ("steps=20: warm-up shortened from 100 to 1 steps",)
    assert load(TRAIN, "train.thinker.steps=90").train_for("thinker").warmup_steps == 4


def test_as_many_steps_as_warm_up_leave_it_alone() -> None:
    recipe = load(TRAIN, "train.thinker.steps=100")
    assert schedule(recipe, "thinker") == (100, 100)
    assert recipe.notes == ()


def test_the_resolved_recipe_has_what_was_used_and_gives_it_again() -> None:
    recipe = load(TRAIN, "train.thinker.steps=20")
    Path("resolved.toml").write_text(resolved_toml(recipe))
    again = load_recipe("resolved.toml")
    assert again == recipe
    assert again.notes == ()
    assert load_recipe("resolved.toml", ["train.thinker.steps=20"]).notes == ()


def test_a_stage_that_inherits_the_warm_up_but_has_steps_of_its_own_keeps_it() -> None:
    recipe = load("[train]\nsteps = 1000\nwarmup_steps = 100\n[train.image]\nsteps = 500\n", "train.steps=20")
    assert schedule(recipe, "thinker") == (20, 2)
    assert schedule(recipe, "image") == (500, 100)


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("[train.thinker]\nsteps = 50\nwarmup_steps = 100\n", []),
        ("[train.thinker]\nsteps = 50\nwarmup_steps = 100\n", ["train.thinker.steps=20"]),
        (TRAIN, ["train.thinker.steps=20", "train.thinker.warmup_steps=30"]),
        (TRAIN, ["train.thinker.warmup_steps=3000"]),
    ],
)
def test_a_contradiction_that_somebody_wrote_is_refused(text: str, overrides: list[str]) -> None:
    with pytest.raises(RecipeMistakesError, match="steps of warm-up are more than all"):
        load(text, *overrides)


@pytest.mark.parametrize("value", ["many", "true", "0", "-3", "1.5", "[1]"])
def test_steps_that_are_no_number_are_told_as_such(value: str) -> None:
    with pytest.raises(RecipeMistakesError, match=r"train\.thinker\.steps"):
        load(TRAIN, f"train.thinker.steps={value}")


@given(steps=st.integers(1, 500), warmup=st.integers(0, 500), fewer=st.integers(1, 500))
def test_what_was_right_stays_right(steps: int, warmup: int, fewer: int) -> None:
    written = {"train": {"steps": steps, "warmup_steps": min(warmup, steps)}}
    tables = {"train": {**written["train"], "steps": fewer}}
    notes = shorten_warmups(tables, written, {("train", "steps"): f"train.steps={fewer}"})
    assert 0 <= tables["train"]["warmup_steps"] <= fewer
    assert bool(notes) == (min(warmup, steps) > fewer)


def test_all_stages_are_meant_by_a_setting_of_all() -> None:
    recipe = load(TRAIN, *of_stage(["steps=40", "batch_size=4"], "all"))
    assert [schedule(recipe, stage) for stage in ("thinker", "image", "codec")] == [(40, 2), (40, 5), (40, 0)]
    assert {recipe.train_for(stage).batch_size for stage in ("thinker", "image", "codec")} == {4}
    told = "steps=40: warm-up shortened from 100 to 2 steps (thinker), from 60 to 5 steps (image)"
    assert recipe.notes == (told,)


@pytest.mark.parametrize("words", [["steps=40", "train.image.steps=7"], ["train.image.steps=7", "steps=40"]])
def test_a_word_for_one_stage_wins_over_one_for_all(words: list[str]) -> None:
    recipe = load(TRAIN, *of_stage(words, "all"))
    assert [recipe.train_for(stage).steps for stage in ("thinker", "image")] == [40, 7]


def test_tables_that_are_settings_are_no_stages() -> None:
    recipe = load("[train]\nlr_scale = { a = 0.5 }\n[train.image]\nlr = 1.0\n", *of_stage(["steps=40"], "all"))
    assert recipe.train_for("").lr_scale == {"a": 0.5}
    assert recipe.train_for("image").steps == 40


def test_a_copy_has_it_in_every_stage() -> None:
    Path("mine.toml").write_text(PARTS + TRAIN)
    Path("copy.toml").write_text(read_recipe("mine.toml", ["train.*.steps=400"]))
    assert [load_recipe("copy.toml").train_for(stage).steps for stage in ("thinker", "image")] == [400, 400]


def test_a_mistake_for_all_stages_is_blamed_on_the_word() -> None:
    with pytest.raises(RecipeMistakesError, match=r"override 'train\.\*\.steps=x'"):
        load(TRAIN, *of_stage(["steps=x"], "all"))


def test_the_words_of_other_tools_are_taken_for_settings() -> None:
    assert of_stage(["epochs=3", "thinker.n_layers=2", "seed=1"], "thinker") == [
        "train.thinker.epochs=3", "thinker.n_layers=2", "seed=1"
    ]  # fmt: skip


@pytest.fixture
def _untold() -> None:
    shipped._notify.cache_clear()


@pytest.mark.usefixtures("_untold")
@pytest.mark.parametrize("path", ["recipes/omni.toml", "./recipes/omni.toml"])
def test_a_shipped_recipe_by_its_path_in_a_checkout(path: str, muomni: Muomni) -> None:
    code, out, err = muomni("recipes", "show", path)
    assert code == 0
    assert out.strip() == find_recipe("omni").read_text().strip()
    assert err == f"{path}: not here; using the recipe that comes with muomni\n"


@pytest.mark.usefixtures("_untold")
def test_a_file_that_is_there_wins_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    Path("recipes").mkdir()
    Path("recipes/omni.toml").write_text(f'name = "mine"\n{PARTS}')
    assert load_recipe("recipes/omni.toml").name == "mine"
    assert capsys.readouterr().err == ""


def test_recipes_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plugin(name: str, *recipes: str) -> Plugin:
        made = Plugin(PluginInfo(name, name, "1", f"{name}.py", "loaded"))
        made.parts += [RecipeFile(name=recipe, doc="", path=tmp_path / f"{name} {recipe}") for recipe in recipes]
        return made

    registry = Registry([plugin("birds", "nest", "egg", "omni"), plugin("night", "nest")])
    monkeypatch.setattr(shipped, "get_registry", lambda: registry)
    with pytest.raises(RequestError, match="2 plugins have a recipe 'nest'") as caught:
        find_recipe("nest")
    assert caught.value.fix == "say which: birds:nest or night:nest"
    assert find_recipe("night:nest") == tmp_path / "night nest"
    assert find_recipe("egg") == find_recipe("birds:egg") == tmp_path / "birds egg", "one name is enough, and both hold"
    assert find_recipe("omni") == find_recipe("muomni:omni") != find_recipe("birds:omni")
    with pytest.raises(RequestError, match="there is no recipe 'day:nest'") as caught:
        find_recipe("day:nest")
    assert "birds:nest" in caught.value.fix


@pytest.mark.parametrize("path", ["recipes/nothing.toml", "other/omni.toml", "omni.toml", "/recipes/omni.toml"])
def test_other_paths_mean_themselves(path: str) -> None:
    with pytest.raises(RequestError, match="there is no recipe"):
        find_recipe(path)

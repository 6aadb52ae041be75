"""A recipe written out with every default is the same recipe; what is the same has the same fingerprint."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muomni_cli.api import RequestError
from muomni_cli.recipe.actions import diff
from muomni_cli.recipe.load import find_recipe, load_recipe, shipped_recipes
from muomni_cli.recipe.model import Recipe
from muomni_cli.recipe.write import as_data, fingerprint, resolved_toml

SHIPPED = [recipe.name for recipe in shipped_recipes()]


def again(recipe: Recipe, folder: Path) -> Recipe:
    path = folder / "again.toml"
    path.write_text(resolved_toml(recipe), encoding="utf-8")
    return load_recipe(str(path))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_right_and_resolve_to_themselves(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.doc
    assert again(recipe, tmp_path) == recipe
    assert fingerprint(again(recipe, tmp_path)) == fingerprint(recipe)


def test_omni_has_the_sizes_of_the_specification() -> None:
    recipe = load_recipe("omni")
    assert recipe.tokenizer is not None
    assert recipe.thinker is not None
    assert recipe.tokenizer.config.model_dump()["vocab_size"] == 5000
    sizes = {"d_model": 256, "n_layers": 4, "n_heads": 4, "d_ff": 1024, "ctx_len": 512, "tie_embeddings": False}
    assert recipe.thinker.config.model_dump().items() >= sizes.items()
    assert recipe.chat.template == "plain"


words = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(system=words, stop=st.lists(words, max_size=3), lr=st.floats(1e-9, 1e3), heads=st.sampled_from([None, 1, 2, 4]))
def test_any_value_comes_back(tmp_path: Path, system: str, stop: list[str], lr: float, heads: int | None) -> None:
    import tomlkit

    document = tomlkit.parse(find_recipe("omni").read_text(encoding="utf-8"))
    document["chat"]["system"] = system
    document["chat"]["stop"] = stop
    document["train"]["thinker"]["lr"] = lr
    if heads is not None:
        document["thinker"]["n_kv_heads"] = heads
    path = tmp_path / "omni.toml"
    path.write_bytes(tomlkit.dumps(document).encode())
    recipe = load_recipe(str(path))
    assert recipe.chat.system == system
    assert list(recipe.chat.stop) == stop
    assert again(recipe, tmp_path) == recipe


def test_the_fingerprint_changes_with_content_only(tmp_path: Path) -> None:
    text = find_recipe("tales").read_text(encoding="utf-8")
    path = tmp_path / "tales.toml"
    path.write_text("# another comment\n\n" + text, encoding="utf-8")
    assert fingerprint(load_recipe(str(path))) == fingerprint(load_recipe("tales"))
    assert fingerprint(load_recipe("tales", ["seed=1"])) != fingerprint(load_recipe("tales"))
    assert fingerprint(load_recipe("tales", ["seed=0"])) == fingerprint(load_recipe("tales"))


def test_stages_differ_from_train_and_nothing_else_merges() -> None:
    recipe = load_recipe("omni", ["train.lr=0.5", "train.batch_size=2", "train.thinker.batch_size=4"])
    thinker, other = recipe.train_for("thinker"), recipe.train_for("vocoder")
    assert (thinker.lr, thinker.batch_size) == (0.002, 4), "omni.toml sets lr for the stage"
    assert (other.lr, other.batch_size) == (0.5, 2)


def test_overrides_reach_everything() -> None:
    recipe = load_recipe(
        "tales",
        [
            "thinker.n_layers=1",
            "data.text.0.weight=2.5",
            "data.text.1.use=text",
            "data.text.1.path=a=b.txt",
            'chat.stop=["x", "y"]',
            "train.device=cpu",
            "callbacks.board.use=tensorboard",
        ],
    )
    assert recipe.thinker is not None
    assert recipe.thinker.config.model_dump()["n_layers"] == 1
    assert [source.weight for source in recipe.data.text] == [2.5, 1.0]
    assert recipe.data.text[1].config.model_dump()["path"] == "a=b.txt"
    assert recipe.chat.stop == ("x", "y")
    assert recipe.train_for("thinker").device == "cpu"
    assert list(recipe.callbacks) == ["board"]


def test_the_difference_of_two_recipes() -> None:
    assert diff(load_recipe("omni"), load_recipe("omni")) == []
    (change,) = diff(load_recipe("omni"), load_recipe("omni", ["thinker.n_layers=2"]))
    assert (change.key, change.left, change.right) == ("thinker.n_layers", 4, 2)
    added = diff(load_recipe("omni"), load_recipe("omni", ["data.text.1.use=tales"]))
    assert {change.left for change in added} == {"(absent)"}


def test_a_task_is_kept_and_changes_nothing_else(tmp_path: Path) -> None:
    recipe = load_recipe("tales", ['data.text.0.task="little-tales"'])
    assert [source.task for source in recipe.data.text] == ["little-tales"]
    assert again(recipe, tmp_path) == recipe
    assert "task" not in as_data(load_recipe("tales"))["data"]["text"][0]


@pytest.mark.parametrize("words", [["data.text.0.task=7"], ['data.text.0.task="a b"'], ["data.text.1.use=tales"]])
def test_a_task_that_cannot_be_told_apart_is_a_mistake(words: list[str]) -> None:
    both = ['data.text.0.task="a"', 'data.text.1.task="a"'] if "use" in words[0] else []
    with pytest.raises(RequestError, match="task"):
        load_recipe("tales", [*words, *both])


def test_a_license_stays_with_its_source(tmp_path: Path) -> None:
    path = tmp_path / "licensed.toml"
    path.write_text('[tokenizer]\nuse = "bytes"\n[[data.text]]\nuse = "text"\npath = "x.txt"\nlicense = "CC BY 4.0"\n')
    recipe = load_recipe(str(path))
    assert recipe.data.text[0].license == again(recipe, tmp_path).data.text[0].license == "CC BY 4.0"
    path.write_text('[tokenizer]\nuse = "bytes"\n[[data.text]]\nuse = "text"\npath = "x.txt"\nlicense = 4\n')
    with pytest.raises(RequestError, match="4 is not a valid license"):
        load_recipe(str(path))

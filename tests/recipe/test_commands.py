"""``muomni recipes`` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from muomni_cli.recipe.load import shipped_recipes
from muomni_cli.recipe.write import recipe_schema

Muomni = Callable[..., tuple[int, str, str]]


def test_list(muomni: Muomni) -> None:
    code, out, _ = muomni("recipes", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == [recipe.name for recipe in shipped_recipes()]
    names = [entry["name"] for entry in json.loads(muomni("recipes", "list", "--json")[1])]
    assert {"omni", "stories", "tales"} <= set(names)


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from muomni_cli.app import main\n"
        "try: main(['recipes', 'list'])\n"
        "except SystemExit: print({'torch', 'numpy', 'tokenizers', 'onnxruntime'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


def test_show(muomni: Muomni) -> None:
    assert muomni("recipes", "show", "omni")[1].startswith("# The model of the specification")
    assert "\nn_layers = 2\n" in muomni("recipes", "show", "omni", "thinker.n_layers=2")[1]
    resolved = muomni("recipes", "show", "omni", "--resolved")[1]
    assert tomllib.loads(resolved)["train"]["clip"] == 1.0
    assert "# optimizer steps" in resolved
    assert json.loads(muomni("recipes", "show", "omni", "--json")[1])["thinker"]["n_kv_heads"] is None


def test_copy_keeps_comments_and_what_is_there(muomni: Muomni, here: Path) -> None:
    code, out, err = muomni("recipes", "copy", "tales", "thinker.n_layers=2")
    assert (code, out.strip()) == (0, "tales.toml")
    assert "next:" in err
    text = (here / "tales.toml").read_text(encoding="utf-8")
    assert text.startswith("# Tiny tales")
    assert "n_layers = 2" in text
    code, _, err = muomni("recipes", "copy", "tales")
    assert (code, (here / "tales.toml").read_text(encoding="utf-8")) == (2, text)
    assert "--force" in err
    assert muomni("recipes", "copy", "tales", "--force")[0] == 0
    assert "n_layers = 4" in (here / "tales.toml").read_text(encoding="utf-8")
    (here / "folder").mkdir()
    assert muomni("recipes", "copy", "tales", "folder", "seed=3")[1].strip() == "folder/tales.toml"
    assert muomni("recipes", "copy", "tales", "other.toml", "thinker.n_layer=3")[0] == 2
    assert sorted(path.name for path in here.iterdir()) == ["folder", "tales.toml"]


def test_check(muomni: Muomni, here: Path) -> None:
    (here / "bad.toml").write_text("[thinker]\nuse = 'transformer'\nd_modle = 3\n", encoding="utf-8")
    code, out, _ = muomni("recipes", "check", "omni", "tales")
    assert (code, [line for line in out.splitlines() if line[0] != " "]) == (0, ["omni: right", "tales: right"])
    code, out, _ = muomni("recipes", "check", "omni", "bad.toml")
    assert code == 2
    assert "bad.toml:3: thinker.d_modle: unknown key 'd_modle'; did you mean 'd_model'?" in out
    reports = json.loads(muomni("recipes", "check", "omni", "bad.toml", "seed=x", "--json")[1])
    assert [len(report["mistakes"]) for report in reports] == [1, 2]


def test_diff(muomni: Muomni) -> None:
    assert "thinker.dropout" in muomni("recipes", "diff", "omni", "stories")[1]
    changes = json.loads(muomni("recipes", "diff", "omni", "stories", "--json")[1])
    assert {"key": "thinker.dropout", "left": 0.0, "right": 0.1} in changes


@pytest.mark.parametrize("recipe", shipped_recipes(), ids=lambda recipe: recipe.name)
def test_shipped_recipes_fit_the_schema(recipe: object) -> None:
    path = recipe.path  # type: ignore[attr-defined]
    jsonschema.validate(tomllib.loads(path.read_text(encoding="utf-8")), recipe_schema())


@pytest.mark.parametrize(
    "text",
    [
        "[thinker]\nuse = 'transformer'\nd_modle = 3",
        "[thinker]\nuse = 'transformr'",
        "[thinker]\nd_model = 3",
        "[train]\nsteps = 'x'",
        "[[data.text]]\nuse = 'tales'\nweight = 0",
        "[unknown]\n",
        "[codec]\nuse = 'x'",
    ],
)
def test_the_schema_refuses_mistakes(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), recipe_schema())


def test_the_schema_is_written_whole(muomni: Muomni, here: Path) -> None:
    assert muomni("recipes", "schema", "-o", "schema.json")[0] == 0
    schema = json.loads((here / "schema.json").read_text(encoding="utf-8"))
    assert schema == json.loads(muomni("recipes", "schema")[1])
    jsonschema.Draft202012Validator.check_schema(schema)


def test_check_counts_the_parameters_of_each_part(muomni: Muomni) -> None:
    pytest.importorskip("torch")
    code, out, _ = muomni("recipes", "check", "omni")
    assert code == 0
    for name, count in (("thinker", "6,756,608"), ("image", "916,992"), ("audio", "2,209,088")):
        assert [line.split()[1] for line in out.splitlines() if line.split()[0] == name] == [count]
    (entry,) = json.loads(muomni("recipes", "check", "omni", "--json", "thinker.n_layers=1")[1])
    assert entry["parameters"]["thinker"] < 6_756_608
    assert {"codec", "vocoder", "talker", "projectors"} <= entry["parameters"].keys()


def test_check_says_how_to_count_parameters(muomni: Muomni, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muomni_cli.commands.recipes.find_spec", lambda _: None)
    code, out, err = muomni("recipes", "check", "omni", "--json")
    assert (code, json.loads(out)[0]["parameters"]) == (0, None)
    assert "pip install" in err
    assert muomni("recipes", "check", "omni")[1] == "omni: right\n"

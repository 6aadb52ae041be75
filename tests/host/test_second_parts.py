"""Names stay what they were: a plugin that brings a second part of every name takes nothing away."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, run

import pytest

from muomni_cli.core.files import write_json
from muomni_cli.recipe.names import Names, recorded_names
from muomni_cli.registry.loading import Plugin
from muomni_cli.registry.registry import Registered, built_in, get_registry, registered_parts

Muomni = Callable[..., "CompletedProcess[str]"]
DOUBLES = str(Path(__file__).with_name("doubles.py"))
RECIPE = """
[tokenizer]
use = "bpe"
vocab_size = 300
[thinker]
use = "transformer"
d_model = 16
n_layers = 1
n_heads = 1
d_ff = 16
ctx_len = 32
[[data.text]]
use = "tales"
count = 60
[train]
steps = 4
batch_size = 2
threads = 1
"""
MORE = '[callbacks.board]\nuse = "tensorboard"\n[[data.text]]\nuse = "text"\npath = "set:stories"\n'


def twice(one: Registered[object], name: str = "other") -> list[Registered[object]]:
    """A built-in declaration, and the same of another plugin."""
    other = Plugin(one.plugin).info
    second = type(other)(name, name, "1", f"{name}-dist", "loaded")
    return [one, Registered(second, one.part, f"{name}:{one.part.name}")]


ALL = [one for one in registered_parts(get_registry()) if one.plugin.origin == "built-in"]


@pytest.mark.parametrize("one", ALL, ids=lambda one: f"{one.part.kind}-{one.part.name}")
def test_what_a_name_means(one: Registered[object], tmp_path: Path) -> None:
    found, kind = twice(one), one.part.kind  # type: ignore[attr-defined]
    assert Names(tmp_path / "new.toml", lambda: None, tmp_path / "none").choose(kind, found) is None
    assert Names(tmp_path / "own.toml", lambda: "muomni", tmp_path / "none").choose(kind, found) is found[0]
    assert Names(tmp_path / "own.toml", lambda: "other", tmp_path / "none").choose(kind, found) is found[1]
    assert built_in(kind, found) is found[0]
    for made_of in found:
        made = tmp_path / made_of.plugin.name
        made.mkdir()
        write_json(made / "lock.json", {"plugins": {made_of.plugin.name: {}}})
        for file in (tmp_path / "new.toml", made / "recipe.toml"):
            assert Names(file, lambda: None, made).choose(kind, found) is made_of


def test_a_run_records_what_each_name_means(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(
        '[tokenizer]\nuse = "a:bpe"\n[encoders.image]\nuse = "b:vit"\n[callbacks.x]\nuse = "c:y"\n[[data.text]]\n'
        'use = "d:text"\npath = "set:e:stories/one.txt"\n[train]\ninit = "f:nano"\n[train.omni]\n'
        'init_encoders = { image = "g:nano" }\n'
    )
    assert recorded_names(tmp_path / "recipe.toml") == {
        ("tokenizer", "a:bpe"), ("encoder", "b:vit"), ("callback", "c:y"), ("dataset", "d:text"),
        ("public dataset", "e:stories"), ("model", "f:nano"), ("model", "g:nano"),
    }  # fmt: skip


def test_shipped_recipes_mean_the_built_in_parts(tmp_path: Path) -> None:
    code = (
        "import json; from muomni_cli.registry.loading import add_file\n"
        f"add_file({DOUBLES!r})\n"
        "from muomni_cli.recipe.load import load_recipe, shipped_recipes\n"
        "from muomni_cli.recipe.write import as_data\n"
        "names = [one.name for one in shipped_recipes()]\n"
        "print(json.dumps([names, [as_data(load_recipe(name)) for name in names if ':' not in name]]))"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    names, recipes = json.loads(done.stdout)
    assert names.count("tales") == 1
    assert "doubles:tales" in names
    assert '"doubles:' not in json.dumps(recipes)
    assert '"muomni_text:bpe"' in json.dumps(recipes)


@pytest.mark.slow
def test_a_run_goes_on_and_works_beside_second_parts(muomni: Muomni, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)

    def works(*words: str) -> str:
        done = muomni(*words, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    works("train", "tokenizer", "small.toml")
    both = ("--plugin", DOUBLES)
    works(*both, "train", "thinker", "small.toml")
    works(*both, "train", "thinker", "small.toml", "train.thinker.steps=6", "--resume")
    assert "doubles:bits_per_byte" in works(*both, "eval", "small")  # of the second metrics, beside the first
    works(*both, "export", "-m", "small", "-o", "bundle")
    works(*both, "chat", "-m", "bundle", "hello", "--max-tokens", "2")
    assert "the built-in one; for another, write doubles:nano" in works(*both, "models", "info", "nano")
    (tmp_path / "new.toml").write_text(RECIPE + MORE)
    done = muomni(*both, "recipes", "check", "new.toml")
    assert done.returncode == 2
    for name in ("bpe", "transformer", "tales", "text", "tensorboard"):
        assert f"{name}' is offered by" in done.stdout
    assert "say which: muomni_text:bpe or doubles:bpe" in done.stdout


def test_commands_keep_their_names(muomni: Muomni) -> None:
    listed = muomni("--plugin", DOUBLES, "--help").stdout
    assert {"doctor", "export", "doubles:doctor", "doubles:export"} <= {*listed.split()}
    assert muomni("--plugin", DOUBLES, "doubles:doctor").stdout == "the second one\n"
    assert muomni("--plugin", DOUBLES, "doctor").stdout != "the second one\n"


def test_a_command_of_two_plugins_is_told_apart(install: Callable[..., Path], muomni: Muomni) -> None:
    for name in ("one", "two"):
        install(
            name,
            "from muomni_cli.api import hookimpl\n@hookimpl\ndef register_commands(cli):\n"
            f"    cli.command('greet')(lambda: print('{name}'))\n",
        )
    assert muomni("two:greet").stdout == "two\n"
    done = muomni("greet")
    assert done.returncode == 2
    assert "say which: muomni one:greet or muomni two:greet" in done.stderr

"""What README.md and docs/ show: commands that are there, a recipe that is right, a plugin that works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from muomni_cli.commands.train import of_stage
from muomni_cli.commands.train_voice import VOICE, voice_request
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.registry import get_registry
from muomni_cli.training.own_voice import require_settings
from tests.docs.readme import commands, look_up

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.name: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    # The first calls no command, the others have tests of their own.
    if path.name not in ("cli.md", "plugins.md") and path.parent.name != "tutorials"
}
Muomni = Callable[..., "subprocess.CompletedProcess[str]"]


def block(language: str, holds: str) -> str:
    """The one fenced block of the README in ``language`` that holds these words."""
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if holds in text]
    assert len(found) == 1, holds
    return str(found[0])


def shown() -> list[tuple[str, list[str]]]:
    """Every command of every page, once."""
    pairs = [(name, words) for name, page in PAGES.items() for words in commands(page)]
    demo = re.findall(r"^ *(?:step )?(muomni .*)$", (ROOT / "docs/demo.sh").read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r'"\$\w+"', "demo", re.sub(r' "\$\{\w+\[@\]\}"', "", line)) for line in demo]
    pairs += [("demo.sh", commands(line)[0]) for line in plain]
    return [pair for number, pair in enumerate(pairs) if pair not in pairs[:number]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory such as the README's reader has: its recipe, some text, and the checkout's recipes."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(block("toml", "[thinker]"))
    Path("my_texts").mkdir()
    Path("my_texts/a.txt").write_text("".join(f"It was {n} o'clock, and all was well.\n\n" for n in range(200)))
    Path("recipes").symlink_to(ROOT / "recipes")
    return tmp_path


@pytest.fixture
def muomni(here: Path) -> Muomni:
    """``muomni("recipes", "list")`` in a process of its own that sees the checkout and what lies in ``installed``."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        variables = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{here / 'installed'}"}
        command = [sys.executable, "-m", "muomni_cli", *words]
        return subprocess.run(command, capture_output=True, text=True, env=variables, cwd=here, check=False)

    return run


def test_there_are_commands_on_the_pages() -> None:
    found = shown()
    assert len(found) > 20
    assert ("README.md", ["chat", "--image", "x.png", "--audio", "y.wav"]) in found
    assert ("performance.md", ["bench", "encode", "--vs-transformers", "--threads", "1", "--rounds", "9"]) in found


@pytest.mark.parametrize(
    ("page", "words"), shown(), ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_a_command_on_a_page_is_there(page: str, words: list[str], here: Path) -> None:  # noqa: ARG001
    named = look_up(words)
    recipe = named.get("recipe")
    if named.get("stage") == VOICE and named.get("init"):  # which takes a folder of clips in place of a recipe
        require_settings(voice_request("clips", named["init"], "", "", named.get("overrides") or []))
    elif recipe and not recipe.isupper():
        load_recipe(recipe, of_stage(named.get("overrides") or [], named.get("stage") or "all"))


def test_a_wrong_command_is_noticed() -> None:
    for wrong in (["tarin", "all", "stories"], ["train", "all", "stories", "--fast"], ["bench", "sing"]):
        with pytest.raises(typer.TyperException):
            look_up(wrong)


def test_the_recipe_on_the_page_is_right(muomni: Muomni) -> None:
    for words in (("recipes", "check"), ("data", "check")):
        done = muomni(*words, "mine.toml")
        assert done.returncode == 0, done.stderr
    assert len(load_recipe("mine.toml", ["thinker.n_layers=6"]).data.text) == 1


@pytest.mark.parametrize(
    "words",
    [
        "recipes list",
        "plugins list",
        "runs list --json",
        "doctor",
        "recipes show stories --resolved",
        "recipes schema",
        "--help",
    ],
)
def test_what_only_looks_runs(words: str, muomni: Muomni) -> None:
    done = muomni(*words.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_recipes_and_folders_of_the_tree_are_there() -> None:
    tree = README.split("## The tree")[1].split("## What")[0]
    named = tree[tree.index("recipes/") : tree.index("docs/")]
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.toml")}
    assert set(re.findall(r"[\w-]+", re.sub(r"\(.*?\)", "", named))) - {"recipes"} <= recipes
    for name in re.findall(r"^ {4}([\w/]+/) ", tree, re.MULTILINE) + re.findall(r"muomni_\w+(?= \(|,| *$)", tree):
        assert (ROOT / name).is_dir() or (ROOT / "plugins" / name).is_dir(), name
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert targets
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", README, re.MULTILINE)) <= set(targets[1].split())


def test_the_plugin_on_the_page_works(here: Path, muomni: Muomni) -> None:
    info = here / "installed" / "sums-0.1.dist-info"
    info.mkdir(parents=True)
    (here / "installed" / "muomni_sums.py").write_text(block("python", "register_datasets"))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sums\nVersion: 0.1\n")
    entry_points = tomllib.loads(block("toml", "entry-points"))["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in entry_points.items()
    ]
    (info / "entry_points.txt").write_text("".join(lines))
    listed = {plugin["name"]: plugin for plugin in json.loads(muomni("plugins", "list", "--json").stdout)}
    assert listed["sums"]["status"] == "loaded"
    use = 'use = "sums"'
    assert f"[[data.text]] {use}" in README
    recipe = re.sub(
        r"\[\[data.text\]\]\n.*?\n\n",
        f"[[data.text]]\n{use}\nlargest = 9\n\n",
        Path("mine.toml").read_text(),
        flags=re.DOTALL,
    )
    Path("mine.toml").write_text(recipe)
    checked = muomni("recipes", "check", "mine.toml")
    assert checked.returncode == 0, checked.stderr
    found = json.loads(muomni("data", "check", "mine.toml", "--json").stdout)
    assert sum(found["sources"][0]["stats"]["documents"].values()) == 100
    assert found["usable"]
    wrong = muomni("recipes", "check", "mine.toml", "data.text.0.largest=0")
    assert wrong.returncode == 2
    assert "largest" in wrong.stdout


def test_a_plugin_needs_nothing_but_the_api() -> None:
    modules = re.findall(r"^from (\S+) import|^import (\S+)", block("python", "register_datasets"), re.MULTILINE)
    ours = [one for pair in modules for one in pair if one.startswith("muomni")]
    assert ours == ["muomni_cli.api"]
    assert get_registry().all("dataset")

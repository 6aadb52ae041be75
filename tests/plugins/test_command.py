"""A stranger's commands, installed by pip: one of them by itself, two in a group."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.plugins.conftest import Site

RECIPE = """
name = "hens"

[tokenizer]
use = "bytes"

[[data.text]]
use = "text"
path = "text.txt"
task = "barn"
"""

HELP_WITHOUT_TORCH = """
import sys
from muomni_cli import app
try:
    app.main(sys.argv[1:])
except SystemExit as left:
    heavy = {"torch", "numpy", "tokenizers", "onnxruntime"} & sys.modules.keys()
    sys.exit(f"imported: {heavy}" if heavy else left.code)
"""


@pytest.fixture(scope="module")
def site(pip: Callable[..., Site]) -> Site:
    return pip("command")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "hens.toml").write_text(RECIPE)
    (tmp_path / "text.txt").write_text("One hen.\n\nTwo hens eat one\x1begg.\n")
    return tmp_path


def test_they_stand_beside_the_host_s_own_and_import_nothing_heavy(site: Site, here: Path) -> None:
    told = site.run(sys.executable, "-c", HELP_WITHOUT_TORCH, "--help", cwd=here).stdout
    lines = {line.split()[0]: line for line in told.splitlines() if line.startswith("  ") and line.strip()}
    assert {"train", "lengths", "words"} <= lines.keys()
    assert "how many texts of a recipe have how many tokens" in lines["lengths"]
    group = site.run(sys.executable, "-c", HELP_WITHOUT_TORCH, "words", "--help", cwd=here).stdout
    assert "common" in group
    assert "find" in group
    assert "counts" in site.muomni("plugins", "list", cwd=here).stdout


def test_lengths_are_those_of_the_recipe_s_tokenizer(site: Site, here: Path) -> None:
    told = site.muomni("lengths", "hens.toml", "--json", "--width", "10", cwd=here)
    (barn,) = json.loads(told.stdout)
    assert barn == {
        "source": "barn", "unit": "tokens", "width": 10, "counts": [1, 0, 1], "texts": 2, "total": 29, "longest": 21,
    }  # fmt: skip
    shown = site.muomni("lengths", "hens.toml", "tokenizer.use=bpe", "--width", "10", cwd=here)
    assert "20 - 29" in shown.stdout
    assert "lengths are in characters" in shown.stderr


def test_words_are_counted_and_found(site: Site, here: Path) -> None:
    told = json.loads(site.muomni("words", "common", "hens.toml", "--limit", "1", "--json", cwd=here).stdout)
    assert told == {"words": 7, "different": 6, "common": {"one": 2}}
    lines = site.muomni("words", "find", "EGG", "hens.toml", cwd=here).stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("barn")
    assert lines[1].endswith("Two hens eat oneegg.")  # what a terminal would obey is left out


@pytest.mark.parametrize(
    ("words", "code", "wrong", "fix"),
    [
        (["lengths", "none.toml"], 2, "there is no recipe 'none.toml'", "name a file"),
        (["lengths", "hens.toml", "--width", "-1"], 2, "--width is -1", "above 0"),
        (["words", "find", "pig", "hens.toml"], 1, "has the word 'pig'", "muomni words common"),
        (["words", "fly", "hens.toml"], 2, "no such command 'fly'", "muomni words --help"),
    ],
)
def test_mistakes_are_told_as_the_host_tells_them(
    site: Site, here: Path, words: list[str], code: int, wrong: str, fix: str
) -> None:
    told = site.muomni(*words, cwd=here, code=code)
    assert told.stdout == ""
    assert len(told.stderr.splitlines()) == 2
    assert wrong in told.stderr.splitlines()[0]
    assert fix in told.stderr.splitlines()[1]

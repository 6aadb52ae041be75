"""A plugin that is a single file, named on the command line: used like any other, and noted in the run's lock."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Muomni = Callable[..., "subprocess.CompletedProcess[str]"]

PEBBLES = '''
"""Counts stones."""
from muomni_cli.api import DatasetPart, Document, PartConfig, hookimpl


class Config(PartConfig):
    size: int = 3


class Pebbles:
    unreadable: dict[str, str] = {}

    def __init__(self, config):
        self.size = config.size

    def documents(self):
        return (Document(f"{n} stones", key=str(n), source="pebbles", split=None) for n in range(self.size))

    def files(self):
        return []


@hookimpl
def register_datasets():
    return [DatasetPart(name="stones", doc="small stones", config=Config, build=f"{__name__}:Pebbles")]


@hookimpl
def register_commands(cli):
    cli.command("stones")(lambda: print("o"))
'''
RECIPE = """
name = "beach"
[tokenizer]
use = "bpe"
vocab_size = 266
[[data.text]]
use = "stones"
size = 40
"""


@pytest.fixture
def beach(tmp_path: Path) -> Path:
    """A folder with the plugin and a recipe that needs it."""
    (tmp_path / "pebbles.py").write_text(PEBBLES)
    (tmp_path / "beach.toml").write_text(RECIPE)
    return tmp_path


def test_it_is_used_like_any_other_and_noted_in_the_lock(beach: Path, muomni: Muomni) -> None:
    plugin = beach / "pebbles.py"
    listed = json.loads(muomni("plugins", "list", "--json", "--plugin", str(plugin)).stdout)
    assert (listed[-1]["name"], listed[-1]["origin"], listed[-1]["status"]) == ("pebbles", str(plugin), "loaded")
    assert muomni(f"--plugin={plugin}", "stones").stdout == "o\n"
    done = muomni("train", "tokenizer", "beach.toml", "--plugin", "pebbles.py")
    assert done.returncode == 0, done.stderr
    lock = json.loads((beach / "runs" / "beach" / "lock.json").read_text())
    assert lock["plugins"]["pebbles"]["origin"] == str(plugin)
    assert lock["plugins"]["pebbles"]["sha256"] == hashlib.sha256(b"pebbles.py\0" + plugin.read_bytes()).hexdigest()


def test_without_it_the_recipe_says_what_is_missing(beach: Path, muomni: Muomni) -> None:
    done = muomni("data", "check", str(beach / "beach.toml"))
    assert done.returncode == 2
    assert "there is no dataset 'stones'" in done.stderr


@pytest.mark.parametrize(
    ("name", "source", "code", "said"),
    [
        ("absent.py", None, 2, "is not a Python file"),
        ("notes.txt", "x", 2, "is not a Python file"),
        ("json.py", PEBBLES, 2, "taken by another module"),
        ("torn.py", "import a_package_that_nobody_has", 0, "a_package_that_nobody_has"),
    ],
)
def test_what_cannot_be_loaded_says_why(
    tmp_path: Path, muomni: Muomni, name: str, source: str | None, code: int, said: str
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    if source is not None:
        (folder / name).write_text(source)
    done = muomni("plugins", "list", "--plugin", str(folder / name))
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == (2 if code else 1)

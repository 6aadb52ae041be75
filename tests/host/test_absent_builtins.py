"""A built-in folder that is taken away takes away what it offers, and nothing else."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.registry.loading import BUILTINS
from muomni_cli.registry.registry import get_registry

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [module.partition(".")[0] for module in BUILTINS]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))

PROGRAM = """
import contextlib, io, json, sys
from pathlib import Path
recipes, everything, packages = json.loads(sys.argv[1])
ours = {"muomni_cli", *packages}
sys.path[:] = ["."] + [entry for entry in sys.path if entry and not any(Path(entry, name).exists() for name in ours)]
from muomni_cli.app import main
from muomni_cli.core.errors import MuomniError
from muomni_cli.registry.hookspecs import KINDS, references_of
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.registry import get_registry, resolve

def run(*words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: main(words)
        except SystemExit as end: return end.code, out.getvalue(), err.getvalue()

found = {"list": run("plugins", "list", "--json"), "export": run("export", "--help"), "recipes": {}, "failed": []}
for recipe in recipes:
    try: load_recipe(recipe)
    except MuomniError as error: found["recipes"][Path(recipe).stem] = error.what
for offer in [offer for kind in KINDS for offer in get_registry().all(kind)] if everything else []:
    for field, reference in references_of(offer.part).items():
        if field.startswith("peers"): continue  # packages of others
        try: resolve(reference)
        except Exception as error: found["failed"].append(f"{offer.part.name} {field}: {error!r}")
print(json.dumps(found))
"""


def used_by(recipe: Recipe) -> set[str]:
    """The plugins that a recipe needs."""
    sources = [source for group in recipe.data.sources.values() for source in group]
    chosen = [*recipe.parts.values(), *recipe.encoders.values(), *sources, *recipe.callbacks.values()]
    return {one.registered.plugin.name for one in chosen}


@functools.cache
def without(package: str, *, everything: bool = False) -> Any:
    """What a checkout without the folder of ``package`` shows; with ``everything``, also which references fail."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "pyproject.toml", folder)
        shutil.copytree(ROOT / "muomni_cli", folder / "muomni_cli", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "recipes").symlink_to(ROOT / "recipes")
        for root in ("plugins", "exports"):
            (folder / root).mkdir()
            for present in (ROOT / root).iterdir():
                if present.name != package:
                    (folder / root / present.name).symlink_to(present)
        given = json.dumps([list(map(str, RECIPES)), everything, PACKAGES])
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, "-c", PROGRAM, given]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.mark.parametrize("package", PACKAGES)
def test_only_what_it_offers_is_gone(package: str) -> None:
    code, out, said = without(package)["list"]
    assert (code, said) == (0, "")
    assert [(one["name"], one["status"]) for one in json.loads(out)] == [
        (other, "loaded") for other in PACKAGES if other != package
    ]


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_all_that_the_others_declare_can_be_imported(package: str) -> None:
    assert without(package, everything=True)["failed"] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_recipes_that_need_it_say_so_and_others_load(package: str) -> None:
    needing = {path.stem for path in RECIPES if package in used_by(load_recipe(str(path)))}
    if package == "muomni_barista":  # no part, but the grammar that its recipe reads
        needing = {"barista"}
    told = without(package)["recipes"]
    assert told.keys() == needing
    for what in told.values():
        assert f"; the built-in plugin {package} is not installed" in what


def test_a_command_that_went_with_it_says_so() -> None:
    gone = [package for package in PACKAGES if without(package)["export"][0] != 0]
    assert len(gone) == 1
    code, _, said = without(gone[0])["export"]
    assert code == 2
    assert f"no such command 'export'; the built-in plugin {gone[0]} is not installed" in said


def test_something_is_taken_away_each_time() -> None:
    offered = {plugin.info.name for plugin in get_registry().plugins if plugin.parts or plugin.commands()}
    assert offered >= set(PACKAGES)

"""Pages that are written from the program are what it would write now; docs/recipes.md shows recipes that are right."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from muomni_cli import api
from muomni_cli.api import Capability
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.hookspecs import DECLARES, HookSpecs

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
RECIPES = (DOCS / "recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", RECIPES, re.DOTALL)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "hooks.md", "recipes.md", "nano.md", "../README.md"])
def test_a_page_is_what_the_program_says(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == generator().PAGES[name](), "run: make docs"


def test_every_hook_and_capability_is_on_the_page() -> None:
    page = (DOCS / "hooks.md").read_text(encoding="utf-8")
    hooks = {name for name in vars(HookSpecs) if name.startswith("register_")}
    assert set(re.findall(r"^\| `(register_\w+)` \|", page, re.MULTILINE)) == hooks
    assert set(re.findall(r"^## (register_\w+): ", page, re.MULTILINE)) == DECLARES.keys()
    for capability in Capability:
        assert f'{capability.name} = "{capability.value}"' in page
    for declared in DECLARES.values():
        assert declared.__name__ in api.__all__


def test_the_smallest_recipe_is_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(BLOCKS[0], encoding="utf-8")
    assert load_recipe(str(file)).name == "mine"
    assert load_recipe(str(file), ["thinker.n_layers=3", "train.steps=60"]).train_for("thinker").steps == 60


@pytest.mark.parametrize("block", BLOCKS[1:], ids=lambda block: block.splitlines()[0])
def test_every_other_block_can_be_added_to_it(block: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(BLOCKS[0] + block, encoding="utf-8")
    assert load_recipe(str(file)).name == "mine"

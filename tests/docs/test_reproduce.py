"""docs/reproduce.md names every public dataset that a shipped recipe needs, its size, and the recipes that use it."""

from __future__ import annotations

import re
from pathlib import Path

from muomni_cli.recipe.load import load_recipe, shipped_recipes
from muomni_cli.registry.registry import get_registry
from muomni_cli.registry.sets import references_in, set_file, size_text

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reproduce.md").read_text(encoding="utf-8")
ROWS = {
    name: (size, re.findall(r"`(\S+?)`", used))
    for name, size, used in re.findall(r"^\| `([a-z-]+)` \| (.*?) \| .*? \| (.*?) \|$", PAGE, re.MULTILINE)
}


def test_the_table_is_what_recipes_name() -> None:
    used: dict[str, set[str]] = {}
    for shipped in shipped_recipes():
        recipe = load_recipe(str(shipped.path))
        for sources in recipe.data.sources.values():
            for source in sources:
                for _, reference in references_in(source.config.model_dump(mode="json")):
                    used.setdefault(set_file(reference).use, set()).add(recipe.name)
    assert {name: set(recipes) for name, (_, recipes) in ROWS.items()} == used


def test_sizes_are_those_that_are_declared() -> None:
    for name, (size, _) in ROWS.items():
        download = get_registry().download(name).part
        assert size.startswith("none" if download.shipped else size_text(download.size))


def test_the_commands_name_datasets_and_recipes_that_there_are() -> None:
    recipes = {shipped.name for shipped in shipped_recipes()}
    for names in re.findall(r"muomni data get ([a-z][a-z -]*)$", PAGE, re.MULTILINE):
        assert all(get_registry().download(name) for name in names.split())
    told = re.findall(r"muomni (?:train \w+|eval) ([a-z-]+)", PAGE)
    assert told
    assert set(told) <= recipes

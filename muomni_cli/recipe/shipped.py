"""Where recipes lie: a path, a recipe shipped with muomni, or one that a plugin ships. Reads none of them.

``recipes/NAME.toml`` where there is no such file is the shipped recipe NAME, as it lies in a checkout.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.core.version import ROOT
from muomni_cli.registry.registry import get_registry, nearest


@dataclass(frozen=True, slots=True)
class Shipped:
    """A recipe that comes with muomni or with a plugin."""

    name: str
    doc: str
    origin: str
    path: Path


def shipped_recipes() -> list[Shipped]:
    """Every recipe that can be named without a path: muomni's own, then those of plugins."""
    own = [Shipped(path.stem, _doc(path), "muomni", path) for path in sorted(_folder().glob("*.toml"))]
    return own + [
        Shipped(offer.use, offer.part.doc, offer.plugin.name, offer.part.path) for offer in get_registry().recipes()
    ]


def find_recipe(path_or_name: str) -> Path:
    """The file of a recipe.

    Raises:
        RequestError: there is no such file, and no shipped recipe of that name.
    """
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path
    shipped = {recipe.name: recipe.path for recipe in shipped_recipes()}
    if path_or_name in shipped:
        return shipped[path_or_name]
    if path.parent == Path("recipes") and path.suffix == ".toml" and path.stem in shipped:
        _tell(path_or_name)
        return shipped[path.stem]
    if path.is_dir():
        raise RequestError(f"{path} is a folder, not a recipe", f"name one recipe, or a file: {path}/NAME.toml")
    near = path.stem if path.stem in shipped else nearest(path_or_name, list(shipped))
    listed = f"recipes that come with muomni: {', '.join(shipped)}"
    raise RequestError(
        f"there is no recipe {path_or_name!r}", f"did you mean {near!r}? {listed}" if near else f"name a file; {listed}"
    )


@cache
def _tell(path: str) -> None:
    """Once a process: a command may look up its recipe several times."""
    say(f"{path}: not here; using the recipe that comes with muomni")


@cache
def _folder() -> Path:
    """In a wheel the recipes are inside the package, in a checkout beside it."""
    inside = ROOT / "muomni_cli" / "_recipes"
    return inside if inside.is_dir() else inside.parent.parent / "recipes"


def _doc(path: Path) -> str:
    return str(tomllib.loads(path.read_text(encoding="utf-8")).get("doc", ""))

"""Implementation of ``muomni recipes``: show, copy with overrides, check and compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from muomni_cli.core.checksums import toml_text
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import write_text
from muomni_cli.recipe.load import find_recipe, load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.recipe.overrides import lay_over
from muomni_cli.recipe.problems import Mistake, RecipeMistakesError
from muomni_cli.recipe.toml import parse, read_text
from muomni_cli.recipe.write import as_data

ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class Change:
    """A key with its values in two recipes; :data:`ABSENT` where it is missing."""

    key: str
    left: Any
    right: Any


def diff(left: Recipe, right: Recipe) -> list[Change]:
    """Every key that differs, in the order of the first recipe."""
    a, b = dict(_flat(as_data(left))), dict(_flat(as_data(right)))
    return [Change(k, a.get(k, ABSENT), b.get(k, ABSENT)) for k in {**a, **b} if a.get(k, ABSENT) != b.get(k, ABSENT)]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and any(isinstance(element, dict) for element in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        yield path, value
        return
    for key, member in value.items():
        yield from _flat(member, f"{path}.{key}" if path else str(key))


@dataclass(frozen=True, slots=True)
class RecipeReport:
    """The result of checking a recipe: mistakes in it, problems that prevented reading it, or the recipe ``read``."""

    recipe: str
    mistakes: tuple[Mistake, ...] = ()
    problems: tuple[str, ...] = ()
    read: Recipe | None = None

    @property
    def right(self) -> bool:
        return not self.mistakes and not self.problems


def read_recipe(path_or_name: str, overrides: Sequence[str] = ()) -> str:
    """The text of a recipe with its comments and with ``key=value`` overrides applied. Raises RequestError: it cannot
    be read, or an override cannot be applied."""
    file = find_recipe(path_or_name)
    try:
        text = toml_text(file, read_text(file).encode())
        if not overrides:
            return text
        parse(text)
        document = tomlkit.parse(text)
    except (TOMLKitError, ValueError) as error:
        raise RequestError(f"{file} is not TOML: {error}", f"see muomni recipes check {file}") from error
    _, mistakes = lay_over(document, overrides)
    if mistakes:
        raise RecipeMistakesError(str(file), mistakes)
    return tomlkit.dumps(document)


def copy_recipe(path_or_name: str, words: Sequence[str] = (), *, force: bool) -> Path:
    """Write a recipe's text, comments included, to a file. ``words``: the target file or folder (default: the recipe's
    name) unless the first contains ``=``; then overrides. RequestError if the file exists and not ``force``, or the
    recipe cannot be read or has mistakes."""
    named = bool(words) and "=" not in words[0]
    overrides = words[1:] if named else words
    load_recipe(path_or_name, overrides)
    target = Path(words[0]) if named else Path(find_recipe(path_or_name).name)
    if target.is_dir():
        target = target / find_recipe(path_or_name).name
    if target.exists() and not force:
        raise RequestError(f"{target} is there already", "name another file, or replace it with --force")
    write_text(target, read_recipe(path_or_name, overrides))
    return target


def check_recipes(words: Sequence[str]) -> list[RecipeReport]:
    """Check every recipe among ``words``, with the ``key=value`` words as overrides."""
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    reports = []
    for recipe in (word for word in words if word not in overrides):
        try:
            reports.append(RecipeReport(recipe, read=load_recipe(recipe, overrides)))
        except RecipeMistakesError as error:
            reports.append(RecipeReport(recipe, tuple(error.mistakes), (f"{len(error.mistakes)} to fix",)))
        except RequestError as error:
            reports.append(RecipeReport(recipe, (), (f"{error.what}; {error.fix}",)))
    return reports

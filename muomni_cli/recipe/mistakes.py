"""What is wrong with a recipe, where, and what was probably meant. Knows no recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from muomni_cli.errors import RequestError
from muomni_cli.registry import nearest

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Args:
        key: dotted path of the key, as one would write it in an override.
        message: what is wrong with it, and the nearest right name where there is one.
        where: ``recipe.toml:12`` or ``override 'train.steps=x'``.
        line: in the file; 0 where it came from an override.
    """

    key: str
    message: str
    where: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.message}" if self.key else f"{self.where}: {self.message}"


class RecipeMistakesError(RequestError):
    """Every mistake of one recipe at once."""

    def __init__(self, recipe: str, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda mistake: (mistake.line, mistake.key))
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        lines = "".join(f"\n  {mistake}" for mistake in self.mistakes)
        super().__init__(
            f"{recipe} has {count}:{lines}",
            "mend them and look again: muomni recipes check; every key is explained by: muomni recipes show --resolved",
        )


def dotted(path: Path) -> str:
    """``("data", "text", 0, "path")`` -> ``data.text.0.path``."""
    return ".".join(str(step) for step in path)


def from_pydantic(error: ValidationError, model: type[BaseModel], at: Path) -> list[tuple[Path, str]]:
    """The mistakes of one validated table as (path, message), unknown keys with the nearest known one.

    Args:
        error: what validation raised.
        model: what was validated.
        at: where the table stands in the recipe.
    """
    found: list[tuple[Path, str]] = []
    for item in error.errors(include_url=False):
        location = tuple(step for step in item["loc"] if isinstance(step, str | int))
        found.append(((*at, *location), _message(dict(item), location, model)))
    return found


def _message(item: dict[str, Any], location: Path, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        names = [field.alias or name for name, field in model.model_fields.items()]
        return unknown(str(location[-1]), names, "key")
    if item["type"] == "string_pattern_mismatch":
        return f"{item['input']!r} is not {model.model_fields[str(location[0])].description}"
    if item["type"] == "literal_error":
        wanted = str(item["ctx"]["expected"])
        near = nearest(str(item["input"]), [option.strip(" '") for option in wanted.replace(" or ", ",").split(",")])
        return f"{item['input']!r} is not {wanted}" + (f"; did you mean {near!r}?" if near else "")
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = item.get("input")
    return f"{given!r}: {message}" if isinstance(given, str | int | float | bool) else message


def unknown(name: str, names: Sequence[str], what: str) -> str:
    """``unknown key 'n_layer'; did you mean 'n_layers'?``"""
    near = nearest(name, names)
    hint = f"did you mean {near!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return f"unknown {what} {name!r}; {hint}"

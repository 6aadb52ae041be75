"""What is wrong with a recipe, where, and what was probably meant. Knows no recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from muomni_cli.core.errors import RequestError
from muomni_cli.recipe.usual import note_on, usual
from muomni_cli.registry.registry import nearest

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
        owner, location = _owner(model, tuple(step for step in item["loc"] if isinstance(step, str | int)))
        found.append(((*at, *location), _message(dict(item), location, owner)))
    return found


def _owner(model: type[BaseModel], location: Path) -> tuple[type[BaseModel], Path]:
    """The settings class whose key ``location`` ends in, however deep in tables, and the location as a recipe has it:
    pydantic puts in between which member of a union it looked at."""
    owner, path, kind = model, list[str | int](), cast("Any", model)
    for step in location:
        while get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        members = [one for one in get_args(kind) if _is_settings(one)] if _is_union(kind) else []
        if len(members) > 1:
            kind = next((one for one in members if step in _tags(one)), None)
            continue
        path.append(step)
        kind = members[0] if members else kind
        if _is_settings(kind):
            owner = kind
            field = _fields(owner).get(str(step))
            kind = field.annotation if field else None
        else:
            arguments = get_args(kind)
            kind = arguments[isinstance(step, str)] if len(arguments) > isinstance(step, str) else None
    return owner, tuple(path)


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _tags(model: type[BaseModel]) -> set[Any]:
    """What its fields of one possible value say."""
    literal = [field.annotation for field in model.model_fields.values() if get_origin(field.annotation) is Literal]
    return {get_args(annotation)[0] for annotation in literal if len(get_args(annotation)) == 1}


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields by the names that a recipe has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _message(item: dict[str, Any], location: Path, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        return unknown(str(location[-1]), list(_fields(model)), "key")
    if item["type"] == "string_pattern_mismatch":
        key = next(step for step in reversed(location) if isinstance(step, str))
        return f"{item['input']!r} is not {_fields(model)[key].description}"
    if item["type"] == "union_tag_not_found":
        return f'needs {str(item["ctx"]["discriminator"]).strip(chr(39))} = "...", which says what else is in it'
    if item["type"] == "union_tag_invalid":
        tags = [tag.strip(" '") for tag in str(item["ctx"]["expected_tags"]).split(",")]
        return unknown(str(item["ctx"]["tag"]), tags, str(item["ctx"]["discriminator"]).strip("'"))
    if item["type"] == "literal_error":
        wanted = str(item["ctx"]["expected"])
        near = nearest(str(item["input"]), [option.strip(" '") for option in wanted.replace(" or ", ",").split(",")])
        return f"{item['input']!r} is not {wanted}" + (f"; did you mean {near!r}?" if near else "")
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    given = item.get("input")
    return f"{given!r}: {message}" if isinstance(given, str | int | float | bool) else message


def unknown(name: str, names: Sequence[str], what: str) -> str:
    """``unknown key 'n_layer'; did you mean 'n_layers'?``; names that other tools use are known."""
    near = usual(name, names) or nearest(name, names)
    hint = f"did you mean {near!r}?{note_on(name)}" if near else f"known: {', '.join(names) or 'none'}"
    return f"unknown {what} {name!r}; {hint}"

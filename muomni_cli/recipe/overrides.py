"""``key=value`` words after a recipe, laid over its tables. Knows no settings: what they mean is judged later."""

from __future__ import annotations

import tomllib
from collections.abc import MutableMapping, Sequence
from typing import Any

from muomni_cli.recipe.mistakes import Mistake, Path


def lay_over(tables: MutableMapping[str, Any], words: Sequence[str]) -> tuple[dict[Path, str], list[Mistake]]:
    """Put every ``key=value`` of ``words`` into ``tables``.

    Returns:
        the word that set each changed path, and what is wrong with words that could not be put in.
    """
    origins: dict[Path, str] = {}
    mistakes: list[Mistake] = []
    for word in words:
        key, equals, value = word.partition("=")
        names = [name.strip() for name in key.split(".")]
        try:
            if not equals or not all(names):
                raise ValueError("write it as key=value, such as train.steps=500")
            path = _put(tables, names, parse_value(value))
            origins[path] = word
        except ValueError as error:
            mistakes.append(Mistake(key.strip(), str(error), f"override {word!r}"))
    return origins, mistakes


def parse_value(text: str) -> Any:
    """A TOML value; a word that is none is a string, so that ``train.device=cpu`` needs no quotes in a shell."""
    try:
        parsed = tomllib.loads(f"value = {text}\n")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _put(tables: MutableMapping[str, Any], names: Sequence[str], value: Any) -> Path:
    """Set one value; gives its path, with numbers for elements of lists."""
    here: Any = tables
    path: Path = ()
    for place, name in enumerate(names):
        step = _step(here, name, path)
        path = (*path, step)
        last = place == len(names) - 1
        if isinstance(here, list):
            if step == len(here):
                here.append({})
            if last:
                here[int(step)] = value
        elif last:
            here[step] = value
        else:
            here.setdefault(step, {})
        here = here[step]
    return path


def _step(here: Any, name: str, path: Path) -> str | int:
    where = ".".join(map(str, path))
    if isinstance(here, dict):
        return name
    if not isinstance(here, list):
        raise ValueError(f"{where} is a value and has no key {name!r}")
    if not name.isdecimal() or int(name) > len(here):
        raise ValueError(f"{where} is a list of {len(here)}: give a number up to {len(here)}, not {name!r}")
    return int(name)

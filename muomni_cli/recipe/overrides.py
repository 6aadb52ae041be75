"""``key=value`` words after a recipe, laid over its tables. What the values mean is judged later.

``train.*.KEY=VALUE`` is for ``[train]`` and every ``[train.<stage>]`` there is; a word for one stage wins over it,
whatever the order.
"""

from __future__ import annotations

import tomllib
from collections.abc import MutableMapping, Sequence
from typing import Any

from muomni_cli.recipe.mistakes import Mistake, Path
from muomni_cli.recipe.shorten import stage_tables

EVERY_STAGE = "train.*"
"""Before the name of a setting: of all stages."""


def lay_over(tables: MutableMapping[str, Any], words: Sequence[str]) -> tuple[dict[Path, str], list[Mistake]]:
    """Put every ``key=value`` of ``words`` into ``tables``.

    Returns:
        the word that set each changed path, and what is wrong with words that could not be put in.
    """
    origins: dict[Path, str] = {}
    mistakes: list[Mistake] = []
    for word in sorted(words, key=lambda word: not word.strip().startswith(f"{EVERY_STAGE}.")):
        key, equals, value = word.partition("=")
        names = [name.strip() for name in key.split(".")]
        try:
            if not equals or not all(names):
                raise ValueError("write it as key=value, such as train.steps=500")
            for place in _places(tables, names):
                origins[_put(tables, place, parse_value(value))] = word
        except ValueError as error:
            mistakes.append(Mistake(key.strip(), str(error), f"override {word!r}"))
    return origins, mistakes


def _places(tables: MutableMapping[str, Any], names: list[str]) -> list[list[str]]:
    """The places that dotted ``names`` mean: one, but for :data:`EVERY_STAGE`."""
    if names[:2] != EVERY_STAGE.split("."):
        return [names]
    train = tables.get("train", {})
    stages = stage_tables(train) if isinstance(train, dict) else []
    return [["train", *names[2:]], *(["train", stage, *names[2:]] for stage in stages)]


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

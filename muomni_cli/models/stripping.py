"""Taking the folders of one machine out of what travels to others: of a path, only the file's name is left. Knows JSON
and TOML, no models."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import tomlkit

HOMES = frozenset({"home", "root", "Users", "mnt", "media", "Volumes", "data", "scratch", "tmp"})
"""First folders of paths on most machines. One that is none of these and not here either, as of the label ``/m/0dxb5``,
is taken for something else."""

PATH = re.compile(r"(?<![\w.~/)}\]])~?/(?:[^\s/\"',;:=]+/)*[^\s/\"',;:=]+")
"""A path within a text. What stands before it tells it from an address, a fraction and the end of a relative path."""


def stripped(value: Any) -> Any:
    """``value``, as JSON or TOML holds it, with every path that begins at the root or at home cut down to its last
    name."""
    if isinstance(value, dict):
        return {key: stripped(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [stripped(member) for member in value]
    return _text(value) if isinstance(value, str) else value


def stripped_toml(text: str) -> str:
    """A TOML document likewise; comments and layout stay."""
    document = tomlkit.parse(text)
    _strip(document)
    return tomlkit.dumps(document)


def _strip(container: Any) -> None:
    """In place, so that a table stays of the sort that it is."""
    places = list(container) if isinstance(container, MutableMapping) else range(len(container))
    for place in places:
        value = container[place]
        if isinstance(value, MutableMapping | list):
            _strip(value)
        elif (short := stripped(value)) != value:
            container[place] = short


def _text(text: str) -> str:
    if PureWindowsPath(text).drive and PureWindowsPath(text).is_absolute():
        return PureWindowsPath(text).name or text
    if "\n" not in text and _is_local(text):
        return PurePosixPath(text).name
    return PATH.sub(lambda match: PurePosixPath(match[0]).name if _is_local(match[0]) else match[0], text)


def _is_local(path: str) -> bool:
    """Whether it names a place on this machine, or on one like it."""
    parts = PurePosixPath(path).parts
    if len(parts) > 1 and parts[0] == "~":
        return True
    return len(parts) > 2 and parts[0] == "/" and (parts[1] in HOMES or Path("/", parts[1]).exists())

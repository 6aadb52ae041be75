"""Recipes as TOML with limits, so that reading one always ends soon: its size, how deep it is nested, and whole numbers
of 64 bits, as TOML itself demands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muomni_cli.core.checksums import toml_text
from muomni_cli.core.errors import RequestError

MAX_BYTES = 1 << 18
MAX_DEPTH = 32  # of tables and lists inside of each other
SMALLEST, LARGEST = -(2**63), 2**63 - 1
_LONG_NUMBER = re.compile(r"\d[\d_]{4000,}")  # Python converts at most 4,300 digits
KeyPath = tuple[str | int, ...]


class TomlLimitError(ValueError):
    """Text that is TOML, but beyond a limit. ``line``: from 1; 0 if unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def read_text(file: Path) -> str:
    """The text of a recipe, with Unix line ends. RequestError: it is not UTF-8, too large, or not as its checksum."""
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise RequestError(
            f"{file} is too large for a recipe: more than {MAX_BYTES >> 10} kB",
            "name a recipe; texts and examples belong in files that its [[data]] tables name",
        )
    try:
        toml_text(file, content)  # raises if it is damaged
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error


def parse(text: str) -> dict[str, Any]:
    """The tables of ``text``. Raises tomllib.TOMLDecodeError: not TOML; :class:`TomlLimitError`: nested too deeply, or
    a number with thousands of digits."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise TomlLimitError(f"nested too deeply: more than {MAX_DEPTH} levels") from None
    except ValueError as error:
        found = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else 0
        raise TomlLimitError(f"a number is too large: {error}".partition(":")[0], line) from None
    for path, _ in walk(tables):
        if len(path) > MAX_DEPTH:
            raise TomlLimitError(f"{path[0]} is nested too deeply: more than {MAX_DEPTH} levels")
    return tables


def walk(tables: Any) -> Iterator[tuple[KeyPath, Any]]:
    """Path and value of everything in nested tables and lists, in order, whatever their depth."""
    waiting: list[tuple[KeyPath, Any]] = [((), tables)]
    while waiting:
        path, value = waiting.pop()
        if path:
            yield path, value
        members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += [((*path, step), member) for step, member in reversed([*members])]


def out_of_range(tables: Any) -> Iterator[tuple[KeyPath, str]]:
    """Path of every whole number of more than 64 bits, and what is wrong with it."""
    for path, value in walk(tables):
        if isinstance(value, int) and not SMALLEST <= value <= LARGEST:
            yield path, f"is too {'large' if value > 0 else 'small'}: whole numbers are from -2^63 to 2^63 - 1"

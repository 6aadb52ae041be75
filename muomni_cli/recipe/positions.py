"""On which line of a TOML file each key stands, which tomllib does not tell.

Knows TOML's grammar only as far as finding keys needs it; the text must be one that tomllib has accepted.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_PLAIN = re.compile(r"[^,\]}#\n]*")
_STRINGS = {
    '"""': re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', re.DOTALL),
    "'''": re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL),
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    "'": re.compile(r"'[^'\n]*'"),
}


def key_lines(text: str) -> dict[Path, int]:
    """Path of every key, table and array element of ``text`` -> its line, from 1."""
    return _Scanner(text).scan()


class _Scanner:
    """One walk over the text. ``at`` is the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, int] = {}
        self.lengths: dict[Path, int] = {}  # arrays of tables: how many elements so far
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self.skip(_BLANK) and self.at < len(self.text):
            table = self.header() if self.text[self.at] == "[" else self.pair(table)
        return self.found

    def header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``; gives the path that the following keys belong to."""
        begin = self.at
        several = self.text.startswith("[[", self.at)
        self.at += 2 if several else 1
        names = self.key()
        self.at += 2 if several else 1
        path: Path = ()
        for place, (name, _) in enumerate(names):
            path = (*path, name)
            if several and place == len(names) - 1:
                self.lengths[path] = self.lengths.get(path, 0) + 1
                self.note(path, begin)
            if path in self.lengths:  # an array of tables stands for its last element
                path = (*path, self.lengths[path] - 1)
            self.note(path, begin)
        return path

    def pair(self, table: Path) -> Path:
        """``key = value``; gives the table back."""
        path = table
        for name, begin in self.key():
            path = (*path, name)
            self.note(path, begin)
        self.at += 1  # the equals sign
        self.skip(_SPACE)
        self.value(path)
        return table

    def key(self) -> list[tuple[str, int]]:
        """A dotted key as names and where they begin; stops at what follows it."""
        names: list[tuple[str, int]] = []
        while True:
            self.skip(_SPACE)
            begin = self.at
            quote = self.text[self.at]
            if quote in "\"'":
                self.skip(_STRINGS[quote])
                names.append((str(tomllib.loads(f"x = {self.text[begin : self.at]}")["x"]), begin))
            else:
                self.skip(_BARE)
                names.append((self.text[begin : self.at], begin))
            self.skip(_SPACE)
            if self.text[self.at] != ".":
                return names
            self.at += 1

    def value(self, path: Path) -> None:
        """Walk past a value, noting what is inside arrays and inline tables."""
        opening = self.text[self.at]
        if opening == "[":
            self.items(path)
        elif opening == "{":
            self.members(path)
        else:
            kind = next((kind for kind in _STRINGS if self.text.startswith(kind, self.at)), None)
            self.skip(_STRINGS[kind] if kind else _PLAIN)

    def items(self, path: Path) -> None:
        """``[value, value]``, over any number of lines."""
        self.at += 1
        index = 0
        while self.skip(_BLANK) and self.text[self.at] != "]":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.note((*path, index), self.at)
            self.value((*path, index))
            index += 1
        self.at += 1

    def members(self, path: Path) -> None:
        """``{key = value, key = value}``."""
        self.at += 1
        while self.skip(_BLANK) and self.text[self.at] != "}":
            if self.text[self.at] == ",":
                self.at += 1
            else:
                self.pair(path)
        self.at += 1

    def skip(self, pattern: re.Pattern[str]) -> bool:
        """Walk past a match of ``pattern``; always true, for conditions that begin with white space."""
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return True

    def note(self, path: Path, begin: int) -> None:
        self.found.setdefault(path, bisect_right(self.starts, begin))

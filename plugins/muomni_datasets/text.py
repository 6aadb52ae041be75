"""Plain text: files cut into documents at blank lines, at every line, at lines that match, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from muomni_cli.api import Document
from muomni_datasets.config import TextConfig
from muomni_datasets.holdout import Holdout
from muomni_datasets.reading import PIECE, Files, content_key

HEAD = 300
"""How many characters of a document ``holdout`` looks at."""


class TextFiles:
    """The documents of text files. One longer than ``PIECE`` is cut at line ends into pieces that share its key."""

    def __init__(self, config: TextConfig) -> None:
        self._config = config
        self._files = Files(config, (".txt", ".md"))
        self._holdout = Holdout(config.holdout, "document")

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    @property
    def remarks(self) -> list[str]:
        return self._holdout.remarks

    def files(self) -> list[Path]:
        return self._files.paths()

    def documents(self) -> Iterator[Document]:
        for path in self._files.paths():
            key: str | None = None
            split: Literal["val"] | None = None
            for text, begins in pieces(self._files.lines(path), self._config.split):
                if begins or key is None:
                    key = content_key(text)
                    split = "val" if self._holdout and self._holdout.finds(text[:HEAD]) else None
                yield Document(text=text, key=key, source=str(path), split=split)


def build(config: TextConfig) -> TextFiles:
    """A source of text files."""
    return TextFiles(config)


def pieces(lines: Iterator[str], split: str) -> Iterator[tuple[str, bool]]:
    """Texts of at most ``PIECE`` characters (or one line), each with whether it begins a document.

    Args:
        split: as in :class:`TextConfig`.
    """
    parts = _separator(split)
    held: list[str] = []
    size, begins = 0, True
    for line in lines:
        separates = parts(line)
        if held and (separates or size + len(line) > PIECE or split == "line"):
            yield from _joined(held, begins)
            begins = separates or (split == "line" and held[-1].endswith("\n"))
            held, size = [], 0
        if separates:
            begins = True
        else:
            held.append(line)
            size += len(line)
    yield from _joined(held, begins)


def _joined(lines: list[str], begins: bool) -> Iterator[tuple[str, bool]]:
    text = "".join(lines).removesuffix("\n")
    if text.strip():
        yield text, begins


def _separator(split: str) -> Callable[[str], bool]:
    """What tells whether a line stands between two documents (and belongs to neither)."""
    if split == "file":
        return lambda line: False  # noqa: ARG005
    if split in ("blank-line", "line"):
        return lambda line: not line.strip()
    expression = re.compile(split)
    return lambda line: expression.search(line) is not None

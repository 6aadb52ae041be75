"""JSON Lines: one document a line, in a field of the user's choice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muomni_cli.api import Document
from muomni_datasets.config import JsonLinesConfig
from muomni_datasets.reading import PIECE, Files, content_key, is_unicode

LONGEST = 1 << 26
"""Characters of the longest line that is read: a JSON object cannot be read in pieces."""


class JsonLines:
    """The documents of JSON Lines files."""

    def __init__(self, config: JsonLinesConfig) -> None:
        self._field = config.field
        self._files = Files(config, (".jsonl", ".ndjson"))

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    def files(self) -> list[Path]:
        return self._files.paths()

    def documents(self) -> Iterator[Document]:
        for path in self._files.paths():
            for number, record in records(self._files, path):
                text = _field(record, self._field)
                if not isinstance(text, str) or not is_unicode(text):
                    self._files.note(path, f"line {number} has no text in the field {self._field}")
                    continue
                key = content_key(text[:PIECE])
                for start in range(0, len(text), PIECE):
                    yield Document(text=text[start : start + PIECE], key=key, source=str(path))


def build(config: JsonLinesConfig) -> JsonLines:
    """A source of JSON Lines files."""
    return JsonLines(config)


def records(files: Files, path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers (from 1) and values of a JSON Lines file; a line that is not JSON is noted and left out."""
    for number, line in enumerate(files.lines(path, LONGEST), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            files.note(path, f"line {number} is not JSON ({error})")


def _field(record: Any, path: str) -> Any:
    """What lies at ``a.b.c``; None where the way ends early."""
    for name in path.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record

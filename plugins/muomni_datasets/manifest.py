"""Examples listed in JSON Lines: one a line, with the path of its file relative to the list.

    {"image": "cats/1.png", "text": "A cat on a mat.", "label": "cat", "key": "photographer 3", "split": "val"}
    {"audio": "1.wav", "text": "Good morning.", "voice": "anna"}

``text`` or ``label`` must be there. Without a ``key`` the path is the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muomni_cli.api import Example, FileMedia
from muomni_datasets.config import SIDES
from muomni_datasets.examples_config import ManifestConfig
from muomni_datasets.jsonl import records
from muomni_datasets.reading import Files, is_unicode

ENDINGS = (".jsonl", ".ndjson")


class Manifest:
    """The examples of JSON Lines files."""

    def __init__(self, config: ManifestConfig) -> None:
        self._config = config
        self._modality = config.modality
        self._files = Files(config, ENDINGS)

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    def files(self) -> list[Path]:
        lists = Files(self._config, ENDINGS)  # of its own: what documents() has noted stays
        found = dict.fromkeys(lists.paths())
        for path in list(found):
            for _, record in records(lists, path):
                named = record.get(self._modality) if isinstance(record, dict) else None
                if isinstance(named, str) and _is_file(path.parent / named):
                    found[path.parent / named] = None
        return list(found)

    def documents(self) -> Iterator[Example]:
        for path in self._files.paths():
            for number, record in records(self._files, path):
                example = self._example(path, record)
                if isinstance(example, str):
                    self._files.note(path, f"line {number} {example}")
                else:
                    yield example

    def _example(self, path: Path, record: Any) -> Example | str:
        """The example of one line, or what is wrong with it."""
        if not isinstance(record, dict):
            return "is no object"
        named = _text(record, self._modality)
        if not named:
            return f"names no file in the field {self._modality}"
        media = path.parent / named
        if not _is_file(media):
            return f"names a file that is not there: {named[:120]!r}"
        label = _text(record, "label")
        text = _text(record, "text")
        if text is None and label is None:
            return "has neither text nor label"
        side = _text(record, "split") or ""
        if side not in SIDES:
            return f"is for {side[:40]!r}; what is known are train and val"
        return Example(
            media=FileMedia(self._modality, media),
            text=text if text is not None else str(label).replace("_", " "),
            key=_text(record, "key") or named,
            label=label or None,
            source=str(path),
            split=SIDES[side],
            voice=_text(record, "voice") or "",
        )


def build(config: ManifestConfig) -> Manifest:
    """A source of examples listed in JSON Lines."""
    return Manifest(config)


def _text(record: dict[str, Any], field: str) -> str | None:
    """A field that holds text or a whole number, as text."""
    value = record.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and is_unicode(value) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False

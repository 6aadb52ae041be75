"""From the name of a file or member to an example: label, text, key and side of the split. Knows neither files nor tar.

What folders and archives have in common: names, captions listed in one place, and WebDataset's neighbours
(``stem.txt`` and ``stem.cls`` beside ``stem.png``).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import BinaryIO, Literal

from muomni_cli.api import Example, Media
from muomni_datasets.examples_config import NamedConfig
from muomni_datasets.holdout import Holdout
from muomni_datasets.reading import is_unicode

ENDINGS: Mapping[str, tuple[str, ...]] = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2"),
    "audio": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"),
}
"""What files of the modalities that everybody has are called."""

BESIDE = (".txt", ".cls", ".json", ".csv", ".tsv", ".md")
"""Endings of what stands beside examples and is none, where the modality is a stranger's."""

LONGEST = 1 << 16
"""Most bytes of a neighbour that are read."""

LARGEST = 1 << 28
"""Most bytes of captions that are read: they are held in memory."""

Beside = Callable[[str], str | None]
"""Name of a neighbour -> what it says; None where there is none."""


class Namer:
    """Makes examples as one table of a recipe says."""

    def __init__(self, config: NamedConfig) -> None:
        self._config = config
        self._name = re.compile(config.name)
        self._holdout = Holdout(config.holdout)
        self._exclude = [re.compile(expression) for expression in config.exclude]
        self._labels = frozenset(config.labels)

    @property
    def remarks(self) -> list[str]:
        """What is wrong with ``holdout``, after everything was read."""
        return self._holdout.remarks

    def modality(self, name: str) -> str | None:
        """What a file of this name holds; None if it is no example, or left out."""
        path = PurePosixPath(name)
        if any(part.startswith(".") for part in path.parts) or path.name == self._config.captions:
            return None
        if any(left_out.search(name) for left_out in self._exclude):
            return None
        ending, wanted = path.suffix.lower(), self._config.modality
        if wanted and wanted not in ENDINGS:
            return None if ending in BESIDE else wanted
        found = next((modality for modality, endings in ENDINGS.items() if ending in endings), None)
        return found if wanted in ("", found) else None

    def example(
        self, name: str, media: Media, source: str, captions: Mapping[str, str], beside: Beside
    ) -> Example | str | None:
        """The example of this name; why it cannot be one; or None for one that the recipe does not want.

        Args:
            name: relative to the folder or archive, with ``/``.
            captions: as :func:`read_captions` gives them.
            beside: reads neighbours.
        """
        found = self._name.search(name)
        said = {group: text for group, text in found.groupdict().items() if text} if found else {}
        stem = name.removesuffix(PurePosixPath(name).suffix)
        label = (beside(f"{stem}.cls") or "").strip() or said.get("label")
        label = self._config.names.get(label, label) if label else None
        if self._labels and label not in self._labels:
            return None
        text = _caption(name, stem, captions) or (beside(f"{stem}.txt") or "").strip() or said.get("text")
        if text is None or text == "":
            if label is None:
                return f"{name} has no label, text or caption"
            text = label.replace("_", " ")
        key = said.get("key", name)
        return Example(media=media, text=text, key=key, label=label, source=source, split=self._side(key))

    def _side(self, key: str) -> Literal["train", "val"] | None:
        if not self._holdout:
            return None
        return "val" if self._holdout.finds(key) else "train"


def _caption(name: str, stem: str, captions: Mapping[str, str]) -> str | None:
    """By the whole name or its last part, with its ending or without."""
    ways = (name, stem, PurePosixPath(name).name, PurePosixPath(stem).name)
    return next((captions[way] for way in ways if way in captions), None)


def read_captions(file: BinaryIO, note: Callable[[str], None]) -> dict[str, str]:
    """Name -> text, of lines of two or more columns parted by tabs, or by ``|`` where there is none.

    Args:
        note: told about what cannot be used.
    """
    found: dict[str, str] = {}
    column = -1
    text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        note(f"the captions are longer than {LARGEST:,} bytes")
        return {}
    try:
        lines = io.StringIO(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        note(f"the captions are not UTF-8 ({error.reason})")
        return {}
    for number, line in enumerate(lines, start=1):
        columns = [part.strip() for part in line.rstrip("\r\n").split("\t" if "\t" in line else "|")]
        titles = [title.lower() for title in columns]
        if number == 1 and len(columns) > 1 and ("text" in titles[1:] or "caption" in titles[1:]):
            column = titles.index("text" if "text" in titles[1:] else "caption", 1)
        elif len(columns) > max(column, 1) and columns[0] and columns[column]:
            found[columns[0]] = columns[column]
        elif line.strip():
            note(f"line {number} of the captions is not a name and a text")
    return found


def read_beside(file: BinaryIO) -> str | None:
    """What a neighbour says; None if it is too long, or no text."""
    content = file.read(LONGEST + 1)
    try:
        return content.decode("utf-8-sig") if len(content) <= LONGEST else None
    except UnicodeDecodeError:
        return None


def safe_name(name: str) -> str | None:
    """A member's name with ``/`` and without a leading ``./``; None if it leads out of the archive, or is no text."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or not is_unicode(name):
        return None
    return str(path) if name.isprintable() else None

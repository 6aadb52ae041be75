"""Sources of labeled files: files in folders, and files listed in JSON Lines.

Files in folders, at any depth, are labeled by their names (``class/file``), by a captions file, or by sidecar files
(``stem.txt`` and ``stem.cls`` beside ``stem.png``, as in WebDataset). A manifest has one example per line, with paths
relative to the manifest:

    {"image": "cats/1.png", "text": "A cat on a mat.", "label": "cat", "key": "photographer 3", "split": "val"}
    {"audio": "1.wav", "text": "Good morning.", "voice": "anna"}

``text`` or ``label`` is required. The default ``key`` is the path.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from muomni_cli.api import Example, FileMedia, RequestError, SliceMedia, expand_path, utf8_lines
from muomni_datasets import remote
from muomni_datasets.config import SIDES, FolderConfig, ManifestConfig, NamedConfig
from muomni_datasets.recordings import RecordedMedia
from muomni_datasets.text import (
    JSON_LINES,
    Files,
    FilesSource,
    Holdout,
    Notes,
    ending_of,
    is_hidden,
    is_unicode,
    records,
    walk,
)

ENDINGS: Mapping[str, tuple[str, ...]] = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2"),
    "audio": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"),
}
"""File name suffixes of the built-in modalities."""

BESIDE = (".txt", ".cls", ".json", ".csv", ".tsv", ".md")  # files that are not examples, for other modalities
LONGEST = 1 << 16  # maximum size of a sidecar file in bytes
LARGEST = 1 << 28  # maximum size of captions in bytes, since they are held in memory
Beside = Callable[[str], str | None]  # name of a sidecar file -> its content; None if it does not exist


class Namer:
    """Turns file names into examples, by one table of a recipe."""

    def __init__(self, config: NamedConfig) -> None:
        self._config = config
        self._name = re.compile(config.name)
        self.holdout = Holdout(config.holdout)
        self._exclude = [re.compile(expression) for expression in config.exclude]
        self._labels = frozenset(config.labels)
        self.left_out: Counter[str] = Counter()  # files that are no examples, by reason

    def modality(self, name: str) -> str | None:
        """Modality of a file; None if it is not an example, or excluded."""
        path = PurePosixPath(name)
        ending, wanted = path.suffix.lower(), self._config.modality
        if path.name == self._config.captions or ending in BESIDE[:2]:
            return None
        found: str | None = None if ending in BESIDE else wanted
        if wanted in ("", *ENDINGS):
            found = next((modality for modality, endings in ENDINGS.items() if ending in endings), None)
        if is_hidden(name):
            self.left_out["hidden"] += 1
        elif any(expression.search(name) for expression in self._exclude):
            self.left_out["excluded"] += 1
        elif found is None or wanted not in ("", found):
            self.left_out[ending_of(name)] += 1
        else:
            return found
        return None

    def _recorded(self, media: FileMedia | SliceMedia) -> FileMedia | SliceMedia | RecordedMedia:
        gain, seconds = self._config.gain, self._config.seconds
        if media.modality != "audio" or not (gain or seconds):
            return media
        return RecordedMedia(media.modality, media, gain, seconds)

    def example(
        self, name: str, media: FileMedia | SliceMedia, source: Path, captions: Mapping[str, str], beside: Beside
    ) -> Example | str | None:
        """The example of this name; a reason why it cannot be one; or None if it is none, or the recipe excludes it.

        Args:
            name: relative to the folder or archive, with ``/``.
            media: the file, whose modality is set here.
            captions: from :func:`read_captions`.
            beside: reads sidecar files.
        """
        modality = self.modality(name)
        if modality is None:
            return None
        if safe_name(name) is None:
            return "has a name that is not printable text"
        found = self._name.search(name)
        said = {group: text for group, text in found.groupdict().items() if text} if found else {}
        stem = name.removesuffix(PurePosixPath(name).suffix)
        label = _beside(stem, ".cls", beside) or said.get("label")
        label = self._config.names.get(label, label) if label else None
        if self._labels and label not in self._labels:
            self.left_out["with other labels"] += 1
            return None
        ways = (name, stem, PurePosixPath(name).name, PurePosixPath(stem).name)
        caption = next((captions[way] for way in ways if way in captions), None)
        text = caption or _beside(stem, ".txt", beside) or said.get("text")
        if not text:
            if label is None:
                return "has no label, text or caption"
            text = label.replace("_", " ")
        key = said.get("key", name)
        recorded = self._recorded(replace(media, modality=modality))
        return Example(recorded, text, key, label, str(source), self.holdout.side(key))


def _beside(stem: str, ending: str, beside: Beside) -> str:
    """What a sidecar file says; empty if there is none."""
    return (beside(stem + ending) or beside(stem + ending.upper()) or "").strip()


def read_captions(file: BinaryIO, note: Callable[[str, str], None]) -> dict[str, str]:
    """Name -> text, from lines of two or more columns separated by tabs or ``|``. ``note`` gets the problems, and
    where they are."""

    def told(reason: str, line: str) -> None:
        note(reason, f"{line} of the captions")

    text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        note(f"are longer than {LARGEST:,} bytes", "the captions")
        return {}
    found: dict[str, str] = {}
    column = -1
    for number, line in utf8_lines(io.BytesIO(text), told):
        columns = [part.strip() for part in line.rstrip("\r\n").split("\t" if "\t" in line else "|")]
        titles = [title.lower() for title in columns]
        if number == 1 and len(columns) > 1 and ("text" in titles[1:] or "caption" in titles[1:]):
            column = titles.index("text" if "text" in titles[1:] else "caption", 1)
        elif len(columns) > max(column, 1) and columns[0] and columns[column]:
            found[columns[0]] = columns[column]
        elif line.strip():
            told("has no name and text", f"line {number}")
    return found


def read_beside(file: BinaryIO, note: Callable[..., None]) -> str | None:
    """Content of a sidecar file, without lines that are not UTF-8; None if it is too long. ``note`` gets the problems,
    and where they are."""
    content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        note(f"is longer than {LONGEST:,} bytes")
        return None
    return "".join(text for _, text in utf8_lines(io.BytesIO(content), note))


def safe_name(name: str) -> str | None:
    """A member's name without a leading ``./``; None if it leads out of the archive or is not printable text."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or not is_unicode(name):
        return None
    return str(path) if name.isprintable() else None


class Folder:
    """The examples of one folder, sorted by name."""

    def __init__(self, config: FolderConfig) -> None:
        self._config = config
        self._namer = Namer(config)
        self._notes = Notes()
        self._left_out: Counter[str] = Counter()

    @property
    def unreadable(self) -> dict[str, str]:
        return self._notes.unreadable

    @property
    def remarks(self) -> list[str]:
        return self._namer.holdout.remarks

    @property
    def left_out(self) -> Mapping[str, int]:
        return +self._left_out + self._namer.left_out

    def files(self) -> list[Path]:
        return [self._root() / name for name in self._names(Counter())]

    def documents(self) -> Iterator[Example]:
        root = self._root()
        self._notes.forget(root)
        self._left_out, self._namer.left_out = Counter(), Counter()
        note = partial(self._notes.note, root)
        captions: Mapping[str, str] = {}
        if self._config.captions:
            with FileMedia("", root / self._config.captions).open() as file:
                captions = read_captions(file, note)

        def beside(name: str) -> str | None:
            if not (root / name).is_file():
                return None
            with (root / name).open("rb") as file:
                return read_beside(file, partial(self._notes.note, f"{name} in {root}"))

        for name in self._names(self._left_out):
            found = self._namer.example(name, FileMedia("", root / name), root, captions, beside)
            if isinstance(found, str):
                note(found, name if name.isprintable() else ascii(name))
            elif found is not None:
                yield found

    def _root(self) -> Path:
        if not self._config.path:
            raise RequestError("a folder source has no path", 'write path = "FOLDER" in its table')
        remote.refuse(self._config.path, "a folder of pictures or sounds")
        root = expand_path(self._config.path)
        if not root.is_dir():
            fix = "correct the path in the recipe; relative paths start where the command is run"
            raise RequestError(f"there is no folder {root}", fix)
        return root

    def _names(self, left_out: Counter[str]) -> Iterator[str]:
        """The files below the root that the pattern selects, and those beside them; others are counted."""
        for name in walk(self._root(), left_out):
            file = name.rpartition("/")[2].lower()
            if name == self._config.captions or file.endswith(BESIDE[:2]) or self._selects(file):
                yield name
            else:
                left_out["not named as in pattern"] += 1

    def _selects(self, file: str) -> bool:
        return fnmatchcase(file, self._config.pattern.lower())


class Manifest(FilesSource):
    """The examples of JSON Lines files."""

    def __init__(self, config: ManifestConfig) -> None:
        super().__init__(Files(config, JSON_LINES))
        self._config, self._modality = config, config.modality

    def files(self) -> list[Path]:
        remote.refuse(self._config.path, "a manifest")
        lists = Files(self._config, JSON_LINES)  # a new one, to keep the notes of documents()
        found = dict.fromkeys(lists.paths())
        for path in list(found):
            for _, record in records(lists, path):
                named = record.get(self._modality) if isinstance(record, dict) else None
                if isinstance(named, str) and is_file(path.parent / named):
                    found[path.parent / named] = None
        return list(found)

    def documents(self) -> Iterator[Example]:
        for path in self._files.paths():
            for number, record in records(self._files, path):
                example = self._example(path, record)
                if isinstance(example, str):
                    self._files.note(path, example, f"line {number}")
                else:
                    yield example

    def _example(self, path: Path, record: Any) -> Example | str:
        """The example of one line, or a reason why it is invalid."""
        if not isinstance(record, dict):
            return "is no object"
        named = _text(record, self._modality)
        if not named:
            return f"names no file in the field {self._modality}"
        media = path.parent / named
        if not is_file(media):
            return f"names a file that does not exist ({named[:120]!r})"
        label, text = _text(record, "label"), _text(record, "text")
        if text is None and label is None:
            return "has neither text nor label"
        side = _text(record, "split") or ""
        if side not in SIDES:
            return f'has a split that is not "train" or "val" ({side[:40]!r})'
        return Example(
            media=FileMedia(self._modality, media),
            text=text if text is not None else str(label).replace("_", " "),
            key=_text(record, "key") or named,
            label=label or None,
            source=str(path),
            split=SIDES[side],
            voice=_text(record, "voice") or "",
        )


def _text(record: dict[str, Any], field: str) -> str | None:
    """A field that holds text or an integer, as text."""
    value = record.get(field)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and is_unicode(value) else None


def is_file(path: Path) -> bool:
    """Whether there is such a file; names that no file can have are none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long or contains NUL
        return False

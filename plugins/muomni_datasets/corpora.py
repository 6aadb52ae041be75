"""Tables (CSV, TSV) and corpora whose lists name their files: LJSpeech, Common Voice, LibriSpeech and COCO captions.

The layouts are those of the published archives: <https://keithito.com/LJ-Speech-Dataset/>,
<https://commonvoice.mozilla.org/datasets>, <https://www.openslr.org/12/> and <https://cocodataset.org/#format-data>.
"""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from muomni_cli.api import Document, Example, FileMedia, RequestError, expand_path
from muomni_datasets.config import SIDES
from muomni_datasets.formats_config import (
    CocoCaptionsConfig,
    CommonVoiceConfig,
    CsvConfig,
    LibriSpeechConfig,
    LJSpeechConfig,
)
from muomni_datasets.labeled_files import ENDINGS, LARGEST, is_file
from muomni_datasets.text import Files, FilesSource, content_key, is_hidden

Side = Literal["train", "val"] | None
OTHER_SIDES: Mapping[str, Side] = {**SIDES, "validation": "val", "valid": "val", "dev": "val", "test": "val"}
FIELD = 1 << 20  # maximum characters of one value; the csv module's own limit is lower


class Listed(FilesSource, ABC):
    """Base of sources whose lists name files. Files beside those that a list names are counted as left out."""

    def __init__(self, files: Files) -> None:
        super().__init__(files)
        self._named: dict[Path, set[str]] = {}  # folder -> names of its files that a list names

    @abstractmethod
    def rows(self, path: Path) -> Iterator[tuple[str, Example | Document | str]]:
        """What each entry of a list gives, or why it cannot be used, with its place: ``line 3``."""

    @abstractmethod
    def again(self) -> Listed:
        """A new source with the same settings."""

    @property
    def left_out(self) -> Mapping[str, int]:
        unlisted = 0
        for folder, names in self._named.items():
            found = [one.name for one in folder.iterdir()] if folder.is_dir() else []
            media = [name for name in found if name.lower().endswith(ENDINGS["audio"] + ENDINGS["image"])]
            unlisted += sum(name not in names and not is_hidden(name) for name in media)
        return +Counter({"that no list names": unlisted})

    def files(self) -> list[Path]:
        source = self.again()  # keeps the notes of documents()
        found = dict.fromkeys(source.lists())
        for item in source.documents():
            if isinstance(item, Example) and isinstance(item.media, FileMedia):
                found[item.media.path] = None
        return list(found)

    def lists(self) -> list[Path]:
        return self._files.paths()

    def documents(self) -> Iterator[Example | Document]:
        named: dict[Path, set[str]] = {}
        for path in self.lists():
            self._files.forget(path)
            for place, item in self.rows(path):
                if isinstance(item, str):
                    self._files.note(path, item, place)
                    continue
                if isinstance(item, Example) and isinstance(item.media, FileMedia):
                    file = item.media.path
                    named.setdefault(file.parent, set()).add(file.name)
                    if not is_file(file):
                        self._files.note(path, f"names a file that does not exist ({str(file)[-120:]!r})", place)
                        continue
                yield item
        self._named = named


class Csv(Listed):
    """Texts or examples of tables."""

    def __init__(self, config: CsvConfig) -> None:
        super().__init__(Files(config, (".csv", ".tsv")))
        self._config = config

    def again(self) -> Csv:
        return Csv(self._config)

    @property
    def left_out(self) -> Mapping[str, int]:
        return super().left_out if self._config.modality else self._files.left_out

    def rows(self, path: Path) -> Iterator[tuple[str, Example | Document | str]]:
        config, columns = self._config, list(self._config.columns)
        if columns and (missing := self._missing(columns)):
            raise RequestError(f"columns names no {missing}", f'for example: columns = ["{missing}", ...]')
        delimiter = config.delimiter or ("\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else ",")
        for place, values in table_rows(self._files, path, delimiter, quotes=config.quotes):
            if not columns:
                columns = [name.strip() for name in values]
                if missing := self._missing(columns):
                    self._files.note(path, f"has no column {missing} (it has {', '.join(columns)[:200]})")
                    return
            elif len(values) != len(columns):
                yield place, f"has another number of values than {len(columns)} ({len(values)})"
            else:
                yield place, self._item(path, dict(zip(columns, values, strict=True)))

    def _missing(self, columns: Sequence[str]) -> str:
        """A column that the table should have: of the file, of the text if nothing else, and all that were named."""
        config = self._config
        wanted = {getattr(config, name) for name in ("text", "label", "key", "voice", "side", "file") if
                  name in config.model_fields_set and getattr(config, name)}  # fmt: skip
        if config.modality:
            wanted.add(config.file)
        if not config.modality or config.label not in columns:
            wanted.add(config.text)
        return next((name for name in sorted(wanted) if name not in columns), "")

    def _item(self, path: Path, row: Mapping[str, str]) -> Example | Document | str:
        config = self._config
        text, label, file = (row.get(name, "").strip() for name in (config.text, config.label, config.file))
        side = row.get(config.side, "").strip().lower()
        if side not in OTHER_SIDES:
            return f'has a split that is neither "train" nor "val" ({side[:40]!r})'
        if not text and not (config.modality and label):
            return "has neither text nor label" if config.modality else f"has no text in the column {config.text}"
        key = row.get(config.key, "").strip()
        if not config.modality:
            return Document(text, key or content_key(text), str(path), OTHER_SIDES[side])
        if not file:
            return f"names no file in the column {config.file}"
        media = FileMedia(config.modality, path.parent / file)
        voice = row.get(config.voice, "").strip()
        said = text or label.replace("_", " ")
        return Example(media, said, key or file, label or None, str(path), OTHER_SIDES[side], voice)


def table_rows(files: Files, path: Path, delimiter: str, *, quotes: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Places and values of the rows of a table; empty lines are skipped. Rows that are no CSV are noted in ``files``,
    as are lines that are not UTF-8."""
    at = 0

    def lines() -> Iterator[str]:
        nonlocal at
        for number, line in files.lines(path, FIELD):
            at = number
            yield line.replace("\0", "")

    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    csv.field_size_limit(max(FIELD, csv.field_size_limit()))
    reader = csv.reader(lines(), delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            files.note(path, f"is no row of a table ({error})", f"line {at}")
            continue
        if values is None:
            return
        if any(value.strip() for value in values):
            yield f"line {at}", values


class LJSpeech(Listed):
    """``metadata.csv``: name, text and normalized text, separated by ``|`` and without a first line of titles."""

    def __init__(self, config: LJSpeechConfig) -> None:
        super().__init__(Files(config, ("metadata.csv",)))
        self._config = config

    def again(self) -> LJSpeech:
        return LJSpeech(self._config)

    def rows(self, path: Path) -> Iterator[tuple[str, Example | Document | str]]:
        side = SIDES[self._config.split]
        for place, values in table_rows(self._files, path, "|"):
            if len(values) < 2:
                yield place, "is not NAME|TEXT"
                continue
            name, texts = values[0].strip(), [text.strip() for text in values[1:3]]
            text = texts[-1] if self._config.normalized and texts[-1] else texts[0]
            if not name or not text:
                yield place, "has no name or no text"
                continue
            media = FileMedia("audio", _with_ending(path.parent / "wavs" / name))
            yield place, Example(media, text, name, None, str(path), side, self._config.voice)


def ljspeech_settings(folder: Path) -> Mapping[str, Any] | None:
    """See ``DatasetPart.recordings``."""
    return {"path": str(folder)} if (folder / "metadata.csv").is_file() and (folder / "wavs").is_dir() else None


class CommonVoice(Listed):
    """``train.tsv``, ``dev.tsv`` and others: the speaker in ``client_id``, the file in ``path``, the text in
    ``sentence``, without quoting. A speaker is on one side of the split, as in the published lists."""

    def __init__(self, config: CommonVoiceConfig) -> None:
        super().__init__(Files(config, (".tsv",)))
        self._config = config

    def again(self) -> CommonVoice:
        return CommonVoice(self._config)

    def lists(self) -> list[Path]:
        found = self._files.paths()
        if expand_path(self._config.path).is_file():
            return found
        wanted = [f"{name}.tsv" for name in self._config.lists]
        chosen = [path for path in found if path.name in wanted]
        if missing := [name for name in wanted if name not in {path.name for path in chosen}]:
            what = f"{expand_path(self._config.path)} has no list {missing[0]}"
            there = ", ".join(sorted({f'"{path.stem}"' for path in found}))
            raise RequestError(what, f"choose from its lists: lists = [{there}]")
        return chosen

    def rows(self, path: Path) -> Iterator[tuple[str, Example | Document | str]]:
        side = OTHER_SIDES.get(path.stem)
        columns: list[str] = []
        for place, values in table_rows(self._files, path, "\t"):
            if not columns:
                columns = values
                if missing := [name for name in ("client_id", "path", "sentence") if name not in columns]:
                    self._files.note(path, f"has no column {missing[0]} (it has {', '.join(columns)[:200]})")
                    return
                continue
            row = dict(zip(columns, values, strict=False))
            speaker, file, text = (row.get(name, "").strip() for name in ("client_id", "path", "sentence"))
            if not speaker or not file or not text:
                yield place, "has no client_id, path or sentence"
                continue
            media = FileMedia("audio", _with_ending(path.parent / "clips" / file))
            yield place, Example(media, text, speaker, None, str(path), side, speaker)


def common_voice_settings(folder: Path) -> Mapping[str, Any] | None:
    """See ``DatasetPart.recordings``. All validated clips, or else those of the published split."""
    tables = {path.stem for path in folder.glob("*.tsv")} if (folder / "clips").is_dir() else set()
    lists = ["validated"] if "validated" in tables else [one for one in ("train", "dev", "test") if one in tables]
    return {"path": str(folder), "lists": lists} if lists else None


class LibriSpeech(Listed):
    """``reader-chapter.trans.txt``: lines of a name and its text; the sound of that name lies beside it."""

    def __init__(self, config: LibriSpeechConfig) -> None:
        super().__init__(Files(config, (".trans.txt",)))
        self._config = config

    def again(self) -> LibriSpeech:
        return LibriSpeech(self._config)

    def rows(self, path: Path) -> Iterator[tuple[str, Example | Document | str]]:
        for number, line in self._files.lines(path):
            name, _, text = line.strip().partition(" ")
            place = f"line {number}"
            if not line.strip():
                continue
            if not text.strip():
                yield place, "is not NAME TEXT"
                continue
            reader = name.partition("-")[0]
            media = FileMedia("audio", _with_ending(path.parent / name, ".flac"))
            said = text.strip().lower() if self._config.lower else text.strip()
            yield place, Example(media, said, reader, None, str(path), SIDES[self._config.split], reader)


class CocoCaptions(Listed):
    """Annotations: ``images`` with ``id`` and ``file_name``, ``annotations`` with ``image_id`` and ``caption``. Each
    caption is an example; those of one picture share a key."""

    def __init__(self, config: CocoCaptionsConfig) -> None:
        super().__init__(Files(config, (".json",)))
        self._config = config

    def again(self) -> CocoCaptions:
        return CocoCaptions(self._config)

    def rows(self, path: Path) -> Iterator[tuple[str, Example | Document | str]]:
        found = self._annotations(path)
        if found is None:
            return
        images, annotations = found
        folder = self._folder(path)
        names = {entry.get("id"): entry.get("file_name") for entry in images if isinstance(entry, dict)}
        for number, entry in enumerate(annotations, 1):
            place = f"annotation {number}"
            if not isinstance(entry, dict) or not isinstance(text := entry.get("caption"), str) or not text.strip():
                yield place, "has no caption"
                continue
            name = names.get(entry.get("image_id"))
            if not isinstance(name, str):
                yield place, "is about a picture that is not listed"
                continue
            media = FileMedia("image", folder / name)
            said = " ".join(text.split())
            yield place, Example(media, said, name, None, str(path), SIDES[self._config.split])

    def _annotations(self, path: Path) -> tuple[list[Any], list[Any]] | None:
        if path.stat().st_size > LARGEST:
            self._files.note(path, f"is longer than {LARGEST:,} bytes")
            return None
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            self._files.note(path, f"is not JSON ({error})")
            return None
        lists = [content.get(name) if isinstance(content, dict) else None for name in ("images", "annotations")]
        if not all(isinstance(one, list) for one in lists):
            self._files.note(path, "has no lists images and annotations")
            return None
        return lists[0] or [], lists[1] or []

    def _folder(self, path: Path) -> Path:
        if self._config.images:
            return expand_path(self._config.images)
        named = path.stem.removeprefix("captions_")
        ways = [path.parent.parent / named, path.parent.parent / "images" / named, path.parent / named]
        return next((way for way in ways if way.is_dir()), path.parent)


def _with_ending(path: Path, first: str = ".wav") -> Path:
    """The sound file of this name, with whichever ending it has; with ``first`` if there is none."""
    if path.suffix.lower() in ENDINGS["audio"]:
        return path
    ways = (path.with_name(path.name + ending) for ending in (first, *ENDINGS["audio"]))
    return next((way for way in ways if is_file(way)), path.with_name(path.name + first))

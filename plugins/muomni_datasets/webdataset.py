"""Shards of WebDataset: tar archives in which consecutive members whose names are equal up to the first dot are one
sample, and the rest of a name is the field. <https://github.com/webdataset/webdataset>

Shards are read in place: media are byte ranges of the archive.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from muomni_cli.api import Document, Example, RequestError, SliceMedia, expand_path
from muomni_datasets.archives import Archives
from muomni_datasets.formats_config import WebDatasetConfig
from muomni_datasets.labeled_files import ENDINGS, LONGEST
from muomni_datasets.text import Files, content_key, is_hidden, is_unicode

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST = 1_000_000  # shards of a range


class Shards(Files):
    """The shards of a source: :class:`Files`, or a range such as ``train-{000..012}.tar``."""

    def __init__(self, config: WebDatasetConfig) -> None:
        super().__init__(config, (".tar",))
        self._path = config.path

    def paths(self) -> list[Path]:
        if not RANGE.search(self._path):
            return super().paths()
        found = [expand_path(name) for name in ranged(self._path)]
        if missing := [path for path in found if not path.is_file()]:
            what = f"{len(missing):,} of {len(found):,} shards are missing: {missing[0]}"
            raise RequestError(what, "correct the range in the path, or write a glob for those that are there")
        return found


def ranged(path: str) -> list[str]:
    """``a-{08..10}.tar`` -> its names, with zeros as in the first number. Raises RequestError: it has too many."""
    match = RANGE.search(path)
    if match is None:
        return [path]
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < MOST:
        raise RequestError(f"{path} is a range of {last - first + 1:,} shards", f"at most {MOST:,}, in rising order")
    names = (f"{path[: match.start()]}{n:0{len(match[1])}}{path[match.end() :]}" for n in range(first, last + 1))
    return [name for one in names for name in ranged(one)]


class WebDataset(Archives):
    """The samples of shards, in the order of shards and members."""

    def __init__(self, config: WebDatasetConfig) -> None:
        super().__init__(Shards(config))
        self._config = config
        known = tuple(ending.removeprefix(".") for ending in ENDINGS.get(config.modality, ()))
        self._media = tuple(one.lower().removeprefix(".") for one in config.media) or known
        self._left_out: Counter[str] = Counter()

    @property
    def left_out(self) -> Mapping[str, int]:
        return self._files.left_out + self._left_out

    def documents(self) -> Iterator[Example | Document]:
        config = self._config
        if config.modality and not self._media:
            what = f"the files of {config.modality} in a sample have no known extension"
            raise RequestError(what, 'name it in the source: media = ["bin"]')
        left_out: Counter[str] = Counter()
        for path, index in self.archives():
            for name, members in groupby(index.items(), lambda entry: stem_of(entry[0])):
                if is_hidden(name):
                    left_out["hidden"] += 1
                    continue
                fields = {member[len(name) + 1 :].lower(): media for member, media in members}
                item = self._item(path, name, fields)
                if item is None:
                    left_out[f"samples without {config.modality}"] += 1
                elif isinstance(item, str):
                    self._files.note(path, item, name)
                else:
                    yield item
        self._left_out = left_out

    def _item(self, path: Path, name: str, fields: Mapping[str, SliceMedia]) -> Example | Document | str | None:
        """What one sample gives; why it cannot be used; or None if it has no media of the modality."""
        config = self._config
        read = partial(self._field, fields=fields, parsed=self._json(path, name, fields))
        text, label, voice = (_first(names, read) for names in (config.text, config.label, (config.voice,)))
        key = read(config.key) or name
        if not config.modality:
            return Document(text, key if config.key else content_key(text), str(path)) if text else "has no text"
        found = next((fields[one] for one in self._media if one in fields), None)
        if found is None:
            return None
        if label and config.classes:
            if not label.isdigit() or int(label) >= len(config.classes):
                return f"has a class that has no name ({label[:40]!r})"
            label = config.classes[int(label)]
        if not text and not label:
            return f"has neither text nor label (it has {', '.join(sorted(fields))})"
        media = SliceMedia(config.modality, found.path, found.offset, found.size, found.member)
        return Example(media, text or label.replace("_", " "), key, label or None, str(path), None, voice)

    def _json(self, path: Path, name: str, fields: Mapping[str, SliceMedia]) -> Any:
        content = _content(fields["json"]) if "json" in fields else None
        if content is None:
            return {}
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            self._files.note(path, f"is not JSON ({error})", f"{name}.json")
            return {}

    def _field(self, name: str, *, fields: Mapping[str, SliceMedia], parsed: Any) -> str:
        """A field's text, such as that of ``txt`` or ``json.caption``; empty if there is none."""
        if not name:
            return ""
        if name.startswith("json."):
            value = parsed
            for part in name.split(".")[1:]:
                value = value.get(part) if isinstance(value, dict) else None
            text = "" if value is None or isinstance(value, bool | dict | list) else str(value)
        else:
            content = _content(fields[name.lower()]) if name.lower() in fields else None
            text = (content or b"").decode("utf-8", "replace")
        return text.strip() if is_unicode(text) else ""


def _first(names: Sequence[str], read: Any) -> str:
    return next((text for name in names if (text := read(name))), "")


def _content(media: SliceMedia) -> bytes | None:
    """The bytes of a member, unless it is too long for text."""
    if media.size > LONGEST:
        return None
    with media.open() as file:
        return file.read()


def stem_of(name: str) -> str:
    """The name of the sample of a member: its path up to the first dot of the file's name."""
    path = PurePosixPath(name)
    stem = path.name.partition(".")[0] or path.name
    return str(path.with_name(stem))

"""Datasets of the package ``datasets`` (the extra ``datasets``): folders of ``save_to_disk``, folders of Parquet, JSON,
CSV or media files, and names on the hub, downloaded or streamed.

Media stay where they are: an example refers to a row, which is read when the example is decoded. A stream has no rows
to come back to, so its examples hold their bytes.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from muomni_cli.api import (
    Conversation,
    Document,
    Example,
    FileMedia,
    Item,
    Media,
    Message,
    RequestError,
    expand_path,
    files,
)
from muomni_datasets.config import SIDES
from muomni_datasets.corpora import Side
from muomni_datasets.formats_config import HuggingFaceConfig
from muomni_datasets.preferences import message_of, preference_of
from muomni_datasets.text import PIECE, Notes, content_key, is_unicode

SAVED = ("state.json", "dataset_dict.json")  # what save_to_disk writes
VALIDATION = ("validation", "valid", "val", "dev", "test")  # splits that validate, the best first
DATA = (".arrow", ".parquet", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".tar", ".zip")


@dataclass(frozen=True, slots=True)
class Address:
    """What names a dataset."""

    path: str  # a folder that exists, or a name on the hub
    subset: str
    revision: str

    @property
    def folder(self) -> Path | None:
        return Path(self.path) if Path(self.path).is_dir() else None


@dataclass(frozen=True, slots=True)
class RowMedia:
    """The media in one row of a dataset."""

    modality: str
    address: Address
    split: str
    row: int
    column: str

    @property
    def name(self) -> str:
        split = f", {self.split}" if self.split else ""
        return f"row {self.row} of {self.address.path}{split}"

    def open(self) -> BinaryIO:
        return _opened(opened(self.address)[self.split][self.row][self.column], self.name)


@dataclass(frozen=True, slots=True)
class StreamedMedia:
    """The media of one row of a stream."""

    modality: str
    name: str
    content: bytes = field(repr=False)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.content)


class HuggingFace:
    """The rows of a dataset as texts, conversations or examples."""

    def __init__(self, config: HuggingFaceConfig) -> None:
        self._config = config
        self._notes = Notes()
        self._left_out: Counter[str] = Counter()

    @property
    def unreadable(self) -> Mapping[str, str]:
        return self._notes.unreadable

    @property
    def left_out(self) -> Mapping[str, int]:
        return MappingProxyType(self._left_out)

    def files(self) -> list[Path]:
        folder = self._address().folder
        if folder is not None:
            return sorted(path for path in folder.rglob("*") if path.suffix in DATA[:2] and path.is_file())
        if self._config.streaming:
            return []
        return sorted({Path(one["filename"]) for data in self._datasets().values() for one in data.cache_files})

    def documents(self) -> Iterator[Item]:
        address, datasets = self._address(), self._datasets()
        left_out: Counter[str] = Counter()
        sides = self._sides(list(datasets), left_out)
        self._notes = Notes()
        for split, side in sides.items():
            data = datasets[split]
            names = self._class_names(data, split)
            for number, row in enumerate(data):
                item = self._item(
                    RowMedia(self._config.modality, address, split, number, self._media), row, names, side
                )
                if isinstance(item, str):
                    self._notes.note(f"{address.path} {split}".strip(), item, f"row {number}")
                elif isinstance(item, Document):
                    for start in range(0, len(item.text), PIECE):
                        yield Document(item.text[start : start + PIECE], item.key, item.source, item.split)
                else:
                    yield item
        self._left_out = left_out

    @property
    def _media(self) -> str:
        return self._config.media or self._config.modality

    def _address(self) -> Address:
        config = self._config
        if not config.path:
            raise RequestError("an hf source has no path", 'write path = "FOLDER" or path = "OWNER/NAME" in its table')
        folder = expand_path(config.path)
        looks_local = config.path.startswith((".", "/", "~", "$")) or config.path.count("/") > 1
        if looks_local and not folder.is_dir():
            fix = "correct the path in the recipe; relative paths start where the command is run"
            raise RequestError(f"there is no folder {folder}", fix)
        return Address(str(folder) if folder.is_dir() else config.path, config.subset, config.revision)

    def _datasets(self) -> Mapping[str, Any]:
        return opened(self._address(), streaming=self._config.streaming)

    def _sides(self, there: list[str], left_out: Counter[str]) -> dict[str, Side]:
        """The splits to read, with their side of ours."""
        chosen = self._config.splits
        if missing := [name for name in chosen if name not in there]:
            known = ", ".join(there) if there != [""] else "it has a single one, without a name"
            raise RequestError(f"the dataset has no split {missing[0]}", f"its splits: {known}")
        if chosen:
            return {name: SIDES[side] for name, side in chosen.items()}
        if len(there) == 1:
            return {there[0]: None}
        val = next((name for name in VALIDATION if name in there), "")
        found: dict[str, Side] = {"train": "train", val: "val"} if "train" in there and val else dict.fromkeys(there)
        for name in there:
            if name not in found:
                left_out[f"splits named {name}"] += 1
        return found

    def _class_names(self, data: Any, split: str) -> Any:
        """Names of classes, if the labels are numbers of classes. Raises RequestError: a column is missing."""
        config, features = self._config, data.features
        if features is None:  # a stream that says nothing about its columns
            return None
        wanted = [config.messages] if config.messages else [config.text] if not config.modality else []
        wanted = ["chosen", "rejected"] if config.preferences else wanted
        wanted += [self._media] if config.modality else []
        if config.modality and config.label not in features and not config.messages:
            wanted.append(config.text)
        fields = [name for name in ("text", "label", "key", "voice") if name in config.model_fields_set]
        wanted += [value for name in fields if (value := getattr(config, name))]
        if missing := [name for name in wanted if name not in features]:
            where = f"the split {split} of {config.path}" if split else config.path
            raise RequestError(f"{where} has no column {missing[0]}", f"its columns: {', '.join(features)}")
        return getattr(features.get(config.label), "names", None)

    def _item(self, media: RowMedia, row: Mapping[str, Any], names: Any, side: Side) -> Item | str:
        config, source = self._config, media.address.path
        text, voice, given = (_text(row.get(name)) for name in (config.text, config.voice, config.key))
        if config.preferences:
            named = {name: value for name, value in row.items() if value is not None}
            return preference_of(named | {"key": given or None, "split": side or ""}, source)
        if config.messages:
            return self._conversation(media, row, given, side)
        if not config.modality:
            if not text.strip():
                return f"has no text in the column {config.text}"
            return Document(text, given or content_key(text[:PIECE]), source, side)
        label = row.get(config.label)
        if names is not None and isinstance(label, int):
            label = names[label] if 0 <= label < len(names) else None
        label = _text(label)
        if row.get(media.column) is None:
            return f"has nothing in the column {media.column}"
        said = text.strip() or label.replace("_", " ")
        if not said:
            return "has neither text nor label"
        found = self._at(media, row[media.column])
        if isinstance(found, str):
            return found
        key = given or f"{media.split} {media.row}"
        return Example(found, said, key, label or None, source, side, voice)

    def _conversation(self, media: RowMedia, row: Mapping[str, Any], given: str, side: Side) -> Conversation | str:
        listed = row.get(self._config.messages)
        messages = [message_of(entry) for entry in listed] if isinstance(listed, list) else []
        if not messages or any(message is None for message in messages):
            return "is not a list of messages with role and content"
        valid = [message for message in messages if message is not None]
        if media.modality and row.get(media.column) is not None:
            shown = self._at(media, row[media.column])
            if isinstance(shown, str):
                return shown
            first = next((place for place, message in enumerate(valid) if message.role == "user"), None)
            if first is None:
                return "has media, and no message of a user"
            valid[first] = Message("user", valid[first].text, (shown,))
        key = given or content_key(*(message.text for message in valid))
        return Conversation(tuple(valid), key, media.address.path, side, self._config.learn)

    def _at(self, media: RowMedia, value: Any) -> Media | str:
        """The media of a row, or why there are none."""
        if isinstance(value, str):  # the name of a file
            folder = media.address.folder
            return FileMedia(media.modality, (folder / value) if folder is not None else Path(value))
        if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
            return f"has no media in the column {media.column}"
        if not self._config.streaming:
            return media
        with _opened(value, media.name) as file:
            return StreamedMedia(media.modality, media.name, file.read())


def _opened(value: Mapping[str, Any], name: str) -> BinaryIO:
    """The bytes of a value of the features Image or Audio, which holds them or names a file."""
    if value.get("bytes") is not None:
        return io.BytesIO(value["bytes"])
    if not value.get("path"):
        raise RequestError(f"{name} holds no media", "leave it out, or restore the dataset")
    return files.open_regular(Path(value["path"]))


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and is_unicode(value) else ""


def opened(address: Address, *, streaming: bool = False) -> Mapping[str, Any]:
    """The splits of a dataset by name ("" for one without), with media as bytes instead of decoded.

    Raises:
        RequestError: it cannot be opened.
    """
    folder = address.folder
    state = folder.stat().st_mtime_ns if folder is not None else 0
    return _open(address, streaming, state)


@lru_cache(maxsize=4)
def _open(address: Address, streaming: bool, state: int) -> Mapping[str, Any]:  # noqa: ARG001
    import datasets

    folder = address.folder
    cache = str(files.cache_folder() / "huggingface")
    shows = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        if folder is not None and any((folder / name).is_file() for name in SAVED):
            found = datasets.load_from_disk(address.path)
        else:
            found = datasets.load_dataset(
                address.path,
                address.subset or None,
                revision=address.revision or None,
                streaming=streaming,
                cache_dir=cache,
            )
    except Exception as error:  # of the package, of the network, of pyarrow: it names no class that covers them
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        fix = "see which splits and subsets it has" if folder is None else "write it again with save_to_disk"
        raise RequestError(f"{address.path} cannot be opened as a dataset: {reason}", fix) from error
    finally:
        if shows:
            datasets.enable_progress_bars()
    splits = dict(found) if isinstance(found, dict) else {"": found}
    return {name: _as_bytes(data) for name, data in splits.items()}


def _as_bytes(data: Any) -> Any:
    """The dataset, with columns of pictures and sounds as bytes and path."""
    import datasets

    for name, feature in (data.features or {}).items():
        if isinstance(feature, datasets.Image | datasets.Audio):
            data = data.cast_column(name, type(feature)(decode=False))
    return data

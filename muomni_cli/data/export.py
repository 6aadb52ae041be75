"""``muomni data export``: write examples of a recipe's data as files, including generated media and archive members,
with a list that the sources ``manifest`` and ``conversations`` can read, or as one Parquet file."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.contract.data import Conversation, Document, Example, Item, Media, Preference, SpeechPreference
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import write_bytes, write_text
from muomni_cli.data.sources import open_sources
from muomni_cli.data.split import Split, split_of

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe

LIST = "examples.jsonl"

ENDINGS: Sequence[tuple[int, bytes, str]] = (  # offset, magic bytes and suffix of known file formats
    (0, b"\x89PNG", "png"),
    (0, b"\xff\xd8\xff", "jpg"),
    (0, b"GIF8", "gif"),
    (0, b"BM", "bmp"),
    (8, b"WEBP", "webp"),
    (8, b"WAVE", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
)


@dataclass(frozen=True, slots=True)
class ExportedExample:
    files: tuple[Path, ...]
    text: str


def export_examples(
    recipe: Recipe, table: str, source: str, folder: Path, *, split: Split, count: int
) -> list[ExportedExample]:
    """Write the first ``count`` items of one source and split to ``folder`` (created if missing), with a list.
    ``source``: its task, or its number in ``[[data.<table>]]``; empty for the first.

    Raises:
        RequestError: no such table or source, or it has nothing for that split.
        MuomniError: the files cannot be written.
    """
    own = items_of(recipe, table, source, split, count)
    rows: list[dict[str, Any]] = []
    written: list[ExportedExample] = []
    for number, item in enumerate(own, start=1):
        row, files = _row(item, folder, str(number))
        rows.append({**row, "key": item.key, "split": split})
        written.append(ExportedExample(files, said(item)))
    write_text(folder / LIST, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    return written


def items_of(recipe: Recipe, table: str, source: str, split: Split, count: int) -> Iterator[Item]:
    """The first items of one source and side of the split. Raises RequestError: see :func:`export_examples`."""
    sources = open_sources(recipe, table)
    chosen = next((one for number, one in enumerate(sources) if source in ("", one.name, str(number))), None)
    if chosen is None:
        names = ", ".join(one.name for one in sources)
        raise RequestError(f"[[data.{table}]] has no source {source!r}", f"its sources: {names}")
    own = (item for item in chosen.dataset.documents() if split_of(item, recipe.data.val_fraction) == split)
    first = next(own, None)
    if first is None:
        raise RequestError(f"{chosen.name} in [[data.{table}]] has nothing for {split}", "use the other --split")
    return islice(chain([first], own), count)


def said(item: Item) -> str:
    """The texts of an item in one line."""
    if isinstance(item, Preference):
        lines = [*(message.text for message in item.prompt), item.chosen]
    else:
        lines = [message.text for message in item.messages] if isinstance(item, Conversation) else [item.text]
    return " -> ".join(" ".join(line.split()) for line in lines)


def _row(item: Item, folder: Path, name: str) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Save an item's media to ``folder``; returns its entry in the list, and the media files."""
    match item:
        case Document():
            return {"text": item.text}, ()
        case Example():
            path = _save(item.media, folder, name)
            more = {"label": item.label, "voice": item.voice or None}
            fields = {field: value for field, value in more.items() if value is not None}
            return {item.media.modality: path.name, "text": item.text, **fields}, (path,)
        case Conversation():
            messages: list[dict[str, Any]] = []
            files: list[Path] = []
            seen: Counter[str] = Counter()
            for message in item.messages:
                entry: dict[str, Any] = {"role": message.role, "content": message.text}
                for media in message.media:
                    seen[media.modality] += 1
                    again = f"-{seen[media.modality]}" if seen[media.modality] > 1 else ""
                    files.append(_save(media, folder, f"{name}{again}"))
                    entry.setdefault(media.modality, []).append(files[-1].name)
                messages.append(entry)
            about = {"about": list(item.about)} if item.about else {}
            return {"messages": messages, **about}, tuple(files)
        case Preference():
            prompt = [{"role": message.role, "content": message.text} for message in item.prompt]
            return {"prompt": prompt, "chosen": item.chosen, "rejected": item.rejected}, ()
        case SpeechPreference():
            return {"text": item.text, "voice": item.voice, "chosen": item.chosen, "rejected": item.rejected}, ()


def _save(media: Media, folder: Path, name: str) -> Path:
    """Save one input, with a suffix from its magic bytes, its own name, or its modality."""
    with media.open() as file:
        content = file.read()
    known = (ending for begin, magic, ending in ENDINGS if content[begin : begin + len(magic)] == magic)
    own = re.search(r"\w\.([a-z0-9]{1,5})$", media.name)
    path = folder / f"{name}.{next(known, own[1] if own else media.modality)}"
    write_bytes(path, content)
    return path

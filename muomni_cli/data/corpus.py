"""From sources to shards to :class:`TextData`: tokenised once, kept in the cache under a fingerprint.

The folder ``shards/<fingerprint>`` of the cache holds one stream for each source and side of the split, and
``corpus.json``. It is written under another name and renamed when whole; nothing larger than a batch is ever held.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from muomni_cli.contract.data import Conversation, Document
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.files import cached_folder, fingerprint_of
from muomni_cli.core.paths import cache_folder
from muomni_cli.data.prompt import Template, lay_out, turn_texts
from muomni_cli.data.shards import Stream, StreamWriter, open_stream, token_type
from muomni_cli.data.sides import cut_of, remarks_of, split_of
from muomni_cli.data.sources import SPLITS, Source, open_sources, state_of_files, text_items
from muomni_cli.data.split import Split
from muomni_cli.data.validating import Validating, empty_side
from muomni_cli.data.windows import Mixture

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe

FORMAT = 1
"""Raised when what is written for the same sources and tokenizer changes."""

BATCH = 4 << 20
"""Characters tokenised at a time: enough pieces to busy several cores, at about a hundred bytes each until written."""

Progress = Callable[[str], None]
"""Told a line of talk now and then."""


@dataclass(slots=True)
class SourceStats:
    """What one source gave: items, characters and tokens on each side, what it could not read, what it remarks, how
    many documents were cut to be on both sides, and what its items are."""

    name: str
    documents: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    characters: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    tokens: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    unreadable: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    cut: int = 0
    noun: str = ""

    def count(self, item: Document | Conversation, side: Split, tokens: int) -> None:
        """Add an item."""
        self.documents[side] += 1
        self.characters[side] += size_of(item)
        self.tokens[side] += tokens
        self.noun = type(item).__name__.lower()

    def validating(self, table: str) -> Validating:
        """How many of its items validate."""
        return Validating(table, self.name, self.documents, self.remarks, self.characters, self.cut, self.noun)


@dataclass(frozen=True, slots=True)
class TextData:
    """Tokenised text.

    Args:
        train: what to train on.
        val: the validation streams, one for each source that has some.
        stats: one entry a source.
        fingerprint: of sources, tokenizer, template and split; names the folder in the cache.
    """

    train: Mixture
    val: Sequence[Stream]
    stats: Sequence[SourceStats]
    fingerprint: str

    @property
    def validating(self) -> list[Validating]:
        """How many items of each source validate."""
        return [entry.validating("text") for entry in self.stats]


def open_text(recipe: Recipe, tokenizer: Tokenizer, progress: Progress) -> TextData:
    """The recipe's text as tokens: from the cache if nothing changed, tokenised now otherwise.

    Raises:
        RequestError: no text, or nothing of it on one side of the split.
        MuomniError: the cache cannot be written.
    """
    sources = open_sources(recipe)
    mark = fingerprint(recipe, sources, tokenizer)
    folder = cache_folder() / "shards" / mark
    written = cached_folder(
        folder,
        "corpus.json",
        "the tokens",
        lambda partial: [asdict(_write(recipe, source, tokenizer, partial, progress)) for source in sources],
    )
    stats = [SourceStats(**{**entry, "name": source.name}) for entry, source in zip(written, sources, strict=True)]
    for entry in stats:
        for path, reason in entry.unreadable.items():
            progress(f"warning: not all of {path} could be used: {reason}")
    return _open(folder, sources, stats, tokenizer, mark, recipe.data.val_fraction)


def fingerprint(recipe: Recipe, sources: Sequence[Source], tokenizer: Tokenizer) -> str:
    """24 hex digits that change when, and only when, the tokens might: text, tokenizer, layout, split or format."""
    identity = {
        "format": FORMAT,
        "template": recipe.chat.template,
        "val_fraction": recipe.data.val_fraction,
        "sources": [[source.identity, state_of_files(source)] for source in sources],
        "tokenizer": tokenizer_hash(tokenizer),
    }
    return fingerprint_of(identity)


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """A hash of all that the tokenizer saves."""
    digest = hashlib.blake2b()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                digest.update(path.relative_to(folder).as_posix().encode("utf-8") + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _write(recipe: Recipe, source: Source, tokenizer: Tokenizer, folder: Path, progress: Progress) -> SourceStats:
    """Tokenise one source into a stream for each side."""
    stats = SourceStats(source.name)
    dtype = token_type(tokenizer.vocab_size)
    began = told = time.monotonic()
    with ExitStack() as stack:
        writers = {
            side: stack.enter_context(StreamWriter(folder / f"{source.stem}-{side}.tokens", dtype)) for side in SPLITS
        }
        for batch in batches(text_items(source)):
            for item, (ids, mask) in zip(batch, encode_items(tokenizer, batch, recipe.chat.template), strict=True):
                side = split_of(item, recipe.data.val_fraction)
                writers[side].append(ids, mask)
                stats.count(item, side, len(ids))
            if time.monotonic() > told + 5:
                told = time.monotonic()
                millions = sum(stats.characters.values()) / 1e6
                progress(f"tokenising {source.name}: {millions:,.1f} M characters, {millions / (told - began):.1f} M/s")
    stats.unreadable = dict(source.dataset.unreadable)
    stats.remarks, stats.cut = remarks_of(source.dataset), cut_of(source.dataset)
    return stats


def size_of(item: Document | Conversation) -> int:
    """Characters of an item."""
    return len(item.text) if isinstance(item, Document) else sum(len(message.text) for message in item.messages)


def batches(items: Iterator[Document | Conversation]) -> Iterator[list[Document | Conversation]]:
    """Items in their order, in lists that end once they hold ``BATCH`` characters."""
    held: list[Document | Conversation] = []
    size = 0
    for item in items:
        held.append(item)
        size += size_of(item)
        if size >= BATCH:
            yield held
            held, size = [], 0
    if held:
        yield held


def encode_items(
    tokenizer: Tokenizer, items: Sequence[Document | Conversation], template: Template
) -> Iterator[tuple[list[int], Sequence[bool] | None]]:
    """Ids of each item, ``bos`` and ``eos`` included, and its mask (None: all of it is to be learned)."""
    texts = [[item.text] if isinstance(item, Document) else turn_texts(item.messages, template) for item in items]
    encoded = iter(tokenizer.encode_batch([text for own in texts for text in own]))
    bos, eos = tokenizer.specials["bos"], tokenizer.specials["eos"]
    for item in items:
        if isinstance(item, Document):
            yield [bos, *next(encoded), eos], None
        else:
            layout = lay_out(tokenizer, item.messages, islice(encoded, len(item.messages)), template)
            if template == "plain":  # nothing else says that a plain conversation is over
                layout.ids.append(eos)
                layout.answer.append(True)
            yield layout.ids, layout.answer if item.learn == "answers" else None


def _open(
    folder: Path,
    sources: Sequence[Source],
    stats: Sequence[SourceStats],
    tokenizer: Tokenizer,
    mark: str,
    val_fraction: float | None,
) -> TextData:
    dtype = token_type(tokenizer.vocab_size)
    streams: dict[Split, list[tuple[Stream, float]]] = {side: [] for side in SPLITS}
    for source in sources:
        for side in SPLITS:
            stream = open_stream(folder / f"{source.stem}-{side}.tokens", source.name, dtype)
            if len(stream) > 1:
                streams[side].append((stream, source.weight))
    documents = {side: sum(entry.documents[side] for entry in stats) for side in SPLITS}
    for side in SPLITS:
        if not streams[side]:
            shutil.rmtree(folder, ignore_errors=True)
            raise empty_side(side, "text", sources, sum(documents.values()), val_fraction)
    return TextData(
        train=Mixture([stream for stream, _ in streams["train"]], [weight for _, weight in streams["train"]]),
        val=[stream for stream, _ in streams["val"]],
        stats=stats,
        fingerprint=mark,
    )

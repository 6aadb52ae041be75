"""Text for training: train the tokenizer, tokenize every source once into the cache, and measure bits per byte on
held-out windows.

The cache folder ``shards/<fingerprint>`` has a token stream for each source and split, and ``corpus.json``. It is
renamed into place when complete; at most one batch is in memory.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import Conversation, Document
from muomni_cli.contract.declarations import Capability
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import cache_folder, cached_folder, fingerprint_of
from muomni_cli.data.batches import Mixture, StreamWriter, TokenStream, Window, open_stream, token_type
from muomni_cli.data.prompt import Template, chat_ids, start_ids, turn_texts
from muomni_cli.data.sources import (
    DataSource,
    Validating,
    empty_side,
    open_sources,
    problems,
    require_sides,
    texts_of,
    word_items,
)
from muomni_cli.data.split import SPLITS, Split, split_of
from muomni_cli.registry.registry import resolve

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe

FORMAT = 2  # incremented when the cached data for the same sources and tokenizer change
BATCH = 4 << 20  # characters to tokenize at a time: enough work for several cores, at about 100 bytes of memory each
Progress = Callable[[str], None]  # shows a line now and then


def train_tokenizer(recipe: Recipe, progress: Progress) -> Tokenizer:
    """Train the recipe's tokenizer on at most ``data.tokenizer_chars`` characters, taken evenly from all sources of
    ``[[data.text]]`` and ``[[data.omni]]`` (text only).

    Raises:
        RequestError: no tokenizer in the recipe, no text, or too little text for the vocabulary.
    """
    chosen = recipe.tokenizer
    if chosen is None:
        raise RequestError("the recipe names no tokenizer", 'add a table [tokenizer] with use = "bpe"')
    part = chosen.registered.part
    if part.objective is None:
        raise RequestError(f"the tokenizer {part.name} cannot be made from text", 'use another one, such as "bpe"')
    learn = resolve(part.objective, wanted_by=f"tokenizer {part.name}")
    tables = [table for table in ("text", "omni") if recipe.data.sources.get(table)] or ["text"]
    sources = [source for table in tables for source in open_sources(recipe, table)]
    progress(f"learning a tokenizer from up to {recipe.data.tokenizer_chars:,} characters")
    texts = training_texts(recipe, sources)
    first = next(texts, None)
    if first is None:
        raise empty_side("train", tables[0], [s for s in sources if s.table == tables[0]], 0, recipe.data.val_fraction)
    tokenizer: Tokenizer = learn(chosen.config, chain([first], texts))
    asked = getattr(chosen.config, "vocab_size", tokenizer.vocab_size)
    if tokenizer.vocab_size < asked:
        progress(f"the text yields {tokenizer.vocab_size:,} of the {asked:,} entries of tokenizer.vocab_size")
    return tokenizer


def training_texts(recipe: Recipe, sources: Sequence[DataSource]) -> Iterator[str]:
    """Texts of training items, up to ``data.tokenizer_chars`` characters. Each source has an even share; what it does
    not use is passed on to the next."""
    left = recipe.data.tokenizer_chars
    for index, source in enumerate(sources):
        share = left // (len(sources) - index)
        items = (item for item in word_items(source) if split_of(item, recipe.data.val_fraction) == "train")
        for text in chain.from_iterable(map(texts_of, items)):
            taken = text[:share]
            yield taken
            share -= len(taken)
            left -= len(taken)
            if not share:
                break


def known_tokenizer(recipe: Recipe, folder: Path) -> Tokenizer | None:
    """The tokenizer in ``folder``, or one that needs no training; None if it is not trained or no longer matches the
    recipe."""
    chosen = recipe.tokenizer
    if chosen is None:
        return None
    part = chosen.registered.part
    if Capability.TRAINABLE in part.capabilities and not folder.is_dir():
        return None
    try:
        tokenizer: Tokenizer = resolve(part.build, wanted_by=f"tokenizer {part.name}")(chosen.config, folder)
    except RequestError:
        return None
    return tokenizer


@dataclass(slots=True)
class SourceStats:
    """One source: items, characters, tokens and targets by side, unreadable files, remarks, number of documents that
    were cut, the name of an item, and what is left out by reason."""

    name: str
    documents: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    characters: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    tokens: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    targets: dict[Split, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    unreadable: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    cut: int = 0
    noun: str = ""
    left_out: dict[str, int] = field(default_factory=dict)

    def count(self, item: Document | Conversation, split: Split, tokens: int, targets: int = 0) -> None:
        self.documents[split] += 1
        self.characters[split] += size_of(item)
        self.tokens[split] += tokens
        self.targets[split] += targets
        self.noun = type(item).__name__.lower()

    def finish(self, source: DataSource) -> None:
        """Take over what the source says about itself after it was read."""
        self.unreadable, self.cut = dict(source.dataset.unreadable), source.dataset.cut
        self.remarks, self.left_out = source.dataset.remarks, source.dataset.left_out

    def validating(self, table: str) -> Validating:
        about = self.remarks, self.characters, self.cut, self.noun, self.left_out
        return Validating(table, self.name, self.documents, *about)


@dataclass(frozen=True, slots=True)
class TextData:
    """Tokenized text."""

    train: Mixture  # training streams
    val: Sequence[TokenStream]  # validation streams, one for each source that has some
    stats: Sequence[SourceStats]  # one entry per source
    fingerprint: str  # of sources, tokenizer, template and split; names the folder in the cache

    @property
    def validating(self) -> list[Validating]:
        return [entry.validating("text") for entry in self.stats]


def open_text(recipe: Recipe, tokenizer: Tokenizer, progress: Progress) -> TextData:
    """The recipe's text as tokens: from the cache, or tokenized now.

    Raises:
        RequestError: no text, or an empty side of the split.
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
    dtype = token_type(tokenizer.vocab_size)
    train: list[tuple[TokenStream, float]] = []  # with the weight of its source
    val: list[TokenStream] = []
    for source, entry in zip(sources, stats, strict=True):
        for line in problems(entry.unreadable):
            progress(f"warning: not used: {line}")
        streams = {split: open_stream(folder / f"{source.stem}-{split}.tokens", source.name, dtype) for split in SPLITS}
        if entry.targets["train"]:
            train.append((streams["train"], source.weight))
        if entry.targets["val"]:
            val.append(streams["val"])
    usable: dict[Split, int] = {
        "train": sum(entry.documents["train"] for entry in stats) if train else 0,
        "val": sum(entry.documents["val"] for entry in stats) if val else 0,
    }
    require_sides(folder, "text", sources, usable, recipe.data.val_fraction)
    return TextData(Mixture([stream for stream, _ in train], [weight for _, weight in train]), val, stats, mark)


def fingerprint(recipe: Recipe, sources: Sequence[DataSource], tokenizer: Tokenizer) -> str:
    """24 hex digits that identify everything that the tokens depend on: text, tokenizer, layout, split and format."""
    identity = {
        "format": FORMAT,
        "template": recipe.chat.template,
        "val_fraction": recipe.data.val_fraction,
        "sources": [[source.identity, source.state_of_files()] for source in sources],
        "tokenizer": tokenizer_hash(tokenizer),
    }
    return fingerprint_of(identity)


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """A hash of everything that the tokenizer saves."""
    digest = hashlib.blake2b()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                digest.update(path.relative_to(folder).as_posix().encode("utf-8") + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _write(recipe: Recipe, source: DataSource, tokenizer: Tokenizer, folder: Path, progress: Progress) -> SourceStats:
    stats = SourceStats(source.name)
    dtype = token_type(tokenizer.vocab_size)
    began = shown = time.monotonic()
    with ExitStack() as stack:
        paths = {split: folder / f"{source.stem}-{split}.tokens" for split in SPLITS}
        writers = {split: stack.enter_context(StreamWriter(path, dtype)) for split, path in paths.items()}
        for batch in batches(word_items(source)):
            for item, (ids, mask) in zip(batch, encode_items(tokenizer, batch, recipe.chat.template), strict=True):
                split = split_of(item, recipe.data.val_fraction)
                writers[split].append(ids, mask)
                stats.count(item, split, len(ids), len(ids) - 1 if mask is None else sum(mask))
            if time.monotonic() > shown + 5:
                shown = time.monotonic()
                size = sum(stats.characters.values()) / 1e6
                progress(f"tokenizing {source.name}: {size:,.1f} M characters, {size / (shown - began):.1f} M/s")
    stats.finish(source)
    return stats


def size_of(item: Document | Conversation) -> int:
    return len(item.text) if isinstance(item, Document) else sum(len(message.text) for message in item.messages)


def batches(items: Iterator[Document | Conversation]) -> Iterator[list[Document | Conversation]]:
    """Items in order, in lists of about ``BATCH`` characters."""
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
    """Ids of each item, including ``bos`` and ``eos``, and which of them to train on (None: all)."""
    texts = [[item.text] if isinstance(item, Document) else turn_texts(item.messages, template) for item in items]
    encoded = iter(tokenizer.encode_batch([text for own in texts for text in own]))
    start, eos = start_ids(tokenizer), tokenizer.specials["eos"]
    for item, own_texts in zip(items, texts, strict=True):
        if isinstance(item, Document):
            yield [*start, *next(encoded), eos], None
        else:
            own = islice(encoded, len(own_texts))
            layout = chat_ids(tokenizer, item.messages, template, encoded=own)
            yield layout.ids, layout.answer if item.learn == "answers" else None


@dataclass(frozen=True, slots=True)
class ValidationText:
    """Validation on every token of some streams, once and in order."""

    streams: Sequence[TokenStream]  # token streams
    tokenizer: Tokenizer  # the one that made them
    length: int  # of a window, in targets
    batch_size: int  # windows per batch
    batches: int = 0  # maximum number of batches; 0 for all

    def windows(self) -> Iterator[Window]:
        cut = Mixture(self.streams, [1.0] * len(self.streams)).windows(self.length)
        return islice(cut.batches(self.batch_size), self.batches or None)

    def measure(
        self,
        nats: Callable[[Window], Any],
        share: Callable[[Iterator[Window]], Iterator[Window]] = iter,
        totals: Callable[[Sequence[float]], Sequence[float]] = list,
    ) -> dict[str, float]:
        """``loss`` in nats per token, ``perplexity``, and ``bits_per_byte``.

        Args:
            nats: summed loss of a batch's targets, as a number or a device tensor (which is synced once, at the end).
            share: the batches that this process measures; all.
            totals: sums over the processes that measure the others.
        """
        # (V,) bytes of text per token; 0 for special tokens
        spelt = np.array([len(self.tokenizer.token_bytes(token)) for token in range(self.tokenizer.vocab_size)])
        total, tokens, size = 0.0, 0, 0
        for window in share(self.windows()):
            counted = window.mask.astype(bool)
            total = nats(window) + total
            tokens += int(counted.sum())
            size += int(spelt[window.tokens[:, 1:]][counted].sum())
        nats_of_all, targets, size_of_all = totals([float(total), tokens, size])
        if not targets:
            raise RequestError("the held-out text has no target", "see what is held out: muomni data check RECIPE")
        loss = nats_of_all / targets
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_byte": nats_of_all / math.log(2) / max(size_of_all, 1),
        }


def nats_of(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """(T,V) logits and (T,) targets -> (T,) cross-entropies."""
    scores = logits.astype(np.float64)
    peak = scores.max(1)
    chosen = scores[np.arange(len(targets)), targets]
    nats: NDArray[np.float64] = peak + np.log(np.exp(scores - peak[:, None]).sum(1)) - chosen
    return nats

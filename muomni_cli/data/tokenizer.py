"""The tokenizer stage: learn a tokenizer from the documents that are for training, and only from those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from muomni_cli.contract.declarations import Can
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.data.corpus import Progress
from muomni_cli.data.sides import split_of
from muomni_cli.data.sources import Source, open_sources, texts_of, word_items
from muomni_cli.registry.registry import resolve

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe


def train_tokenizer(recipe: Recipe, progress: Progress) -> Tokenizer:
    """Learn the recipe's tokenizer from at most ``data.tokenizer_chars`` characters, taken evenly from all sources of
    ``[[data.text]]``, and then of ``[[data.omni]]``: what is asked and answered there, without the media.

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
    try:
        first = next(texts)
    except StopIteration:
        raise RequestError(
            "there is no text to learn a tokenizer from", "see what is wrong: muomni data check RECIPE"
        ) from None
    tokenizer: Tokenizer = learn(chosen.config, chain([first], texts))
    asked = getattr(chosen.config, "vocab_size", tokenizer.vocab_size)
    if tokenizer.vocab_size < asked:
        progress(f"the text gives {tokenizer.vocab_size:,} of the {asked:,} entries that tokenizer.vocab_size asks for")
    return tokenizer


def training_texts(recipe: Recipe, sources: Sequence[Source]) -> Iterator[str]:
    """Texts of training items, cut off after ``data.tokenizer_chars`` characters; what a source does not use of its
    even share, the next ones may."""
    left = recipe.data.tokenizer_chars
    for index, source in enumerate(sources):
        share = left // (len(sources) - index)
        for text in _texts(source, recipe.data.val_fraction):
            taken = text[:share]
            yield taken
            share -= len(taken)
            left -= len(taken)
            if not share:
                break


def _texts(source: Source, val_fraction: float | None) -> Iterator[str]:
    for item in word_items(source):
        if split_of(item, val_fraction) == "train":
            yield from texts_of(item)


def known_tokenizer(recipe: Recipe, folder: Path) -> Tokenizer | None:
    """The tokenizer that training left in ``folder``, or one that needs no training; None where neither is there, or
    where the recipe was changed since."""
    chosen = recipe.tokenizer
    if chosen is None:
        return None
    part = chosen.registered.part
    if Can.TRAINABLE in part.can and not folder.is_dir():
        return None
    try:
        tokenizer: Tokenizer = resolve(part.build, wanted_by=f"tokenizer {part.name}")(chosen.config, folder)
    except RequestError:
        return None
    return tokenizer

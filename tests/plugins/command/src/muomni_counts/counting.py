"""Lengths and words of a recipe's texts, counted in bounded memory: a source may be larger than that."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from muomni_cli.api import Conversation, Dataset, MuomniError, OpenedRecipe, RequestError, open_recipe

ROWS = 10
"""About so many rows of a histogram, unless a width is asked for."""

AROUND = 30
"""Characters that are shown on either side of a word."""

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Histogram:
    """Of one source. ``counts``: texts of 0 to width - 1 ``unit``, of width to 2 * width - 1, and so on."""

    source: str
    unit: str
    width: int
    counts: list[int]
    texts: int
    total: int
    longest: int


@dataclass(frozen=True, slots=True)
class Line:
    """A text that has a word, what is around it, and what decides on which side of the split it is."""

    source: str
    key: str
    around: str


def opened(recipe: str, changes: Sequence[str], table: str) -> OpenedRecipe:
    """See :func:`muomni_cli.api.open_recipe`."""
    return open_recipe(recipe, changes, table)


def lengths(recipe: OpenedRecipe, width: int = 0) -> list[Histogram]:
    """One histogram a source. RequestError for a width below 0; 0 chooses one."""
    if width < 0:
        raise RequestError(f"--width is {width}", "give a number above 0, or leave it out")
    tokenizer = recipe.tokenizer
    made = []
    for name, source in recipe.sources.items():
        counts: Counter[int] = Counter()
        for _, text in texts_of(source):
            counts[len(text if tokenizer is None else tokenizer.encode(text))] += 1
        made.append(_histogram(name, "characters" if tokenizer is None else "tokens", counts, width))
    return made


def _histogram(name: str, unit: str, counts: Counter[int], width: int) -> Histogram:
    longest = max(counts, default=0)
    width = width or _even(longest / ROWS)
    rows = [0] * (longest // width + 1)
    for length, texts in counts.items():
        rows[length // width] += texts
    total = sum(length * texts for length, texts in counts.items())
    return Histogram(name, unit, width, rows, counts.total(), total, longest)


def _even(width: float) -> int:
    """The least of 1, 2, 5, 10, 20, 50 ... that is not below ``width``."""
    ten = 1
    while True:
        for one in (ten, 2 * ten, 5 * ten):
            if one >= width:
                return one
        ten *= 10


def words(recipe: OpenedRecipe) -> Counter[str]:
    """How often each word is there, in lower case. MuomniError if there is none at all."""
    counted: Counter[str] = Counter()
    for source in recipe.sources.values():
        for _, text in texts_of(source):
            counted.update(_WORD.findall(text.lower()))
    if not counted:
        raise MuomniError(f"recipe {recipe.name} has no words", "see what it reads: muomni data check RECIPE")
    return counted


def found(recipe: OpenedRecipe, word: str, limit: int) -> list[Line]:
    """The first ``limit`` texts that have ``word``.

    Raises:
        RequestError: it is no word.
        MuomniError: no text has it.
    """
    if not _WORD.fullmatch(word):
        raise RequestError(f"{word!r} is no word", "give one word of letters")
    sought = re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE)
    lines: list[Line] = []
    for name, source in recipe.sources.items():
        for key, text in texts_of(source):
            if match := sought.search(text):
                around = text[max(0, match.start() - AROUND) : match.end() + AROUND]
                lines.append(Line(name, key, " ".join(around.split())))
                if len(lines) == limit:
                    return lines
    if not lines:
        raise MuomniError(f"no text of recipe {recipe.name} has the word {word!r}", "see: muomni words common RECIPE")
    return lines


def texts_of(source: Dataset) -> Iterator[tuple[str, str]]:
    """Key and text of each item of a source; each message of a conversation is a text of its own."""
    for item in source.documents():
        if isinstance(item, Conversation):
            for message in item.messages:
                yield item.key, message.text
        else:
            yield item.key, item.text

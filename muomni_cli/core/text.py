"""Split text into sentences to read aloud, streaming: at most one paragraph is in memory.

Dashes become commas and quotation marks are removed. Sentences that are not read as written (numbers, capitals,
non-English letters) are dropped.
"""

# ruff: noqa: SIM905 (a list of words reads better as text)
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

WRAPPED = 100  # longest line that may be wrapped; a longer line is a paragraph
LONGEST = 1000  # maximum characters of a sentence
_PARAGRAPH = 100_000  # maximum characters of a paragraph; longer ones are split

_ABBREVIATED = frozenset(
    "mr mrs ms messrs dr prof rev hon st sr jr capt col gen lt sgt maj esq gov sen rep pres mt ft vol ch pp vs viz "
    "jan feb mar apr jun jul aug sept sep oct nov dec".split()
)
"""Abbreviations whose full stop does not end a sentence."""

_MARKS = str.maketrans({
    "\u2018": "\u2018", "\u201b": "\u2018", "\u2019": "'", "\u02bc": "'", "\u2032": "'", "`": "\u2018",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u201f": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2013": "--", "\u2014": "--", "\u2015": "--", "\u2212": "-", "\u2010": "-", "\u2011": "-",
    "\u2026": "...", "\u00a0": " ", "_": "", "*": "",
})  # fmt: skip

_QUOTATION = re.compile(
    r"\"|\u2018|(?<![^\s(\-])'(?!(?:tis|twas|em|twere|twill)\b)|(?<=[.,!?;:\-])'|'(?=[.,!?;:])", re.IGNORECASE
)
"""Quotation marks, but not apostrophes, which follow a letter."""

_DASH = re.compile(r"\s*-{2,}\s*|\s+-\s+")
_DOUBLED = re.compile(r"([.,!?;:])(?:\s*,)+")
_END = re.compile(r"[.!?]+[)]?(?=\s+\(?[A-Z])")
_SAID = re.compile(r"[A-Z][A-Za-z ,.;:!?'()\-]*[A-Za-z)][.!?]+[)]?")  # a sentence that is read as written
_CAPITALS = re.compile(r"\b[A-Z]{2,}")


def cut_sentences(lines: Iterable[str], min_words: int, max_words: int) -> Iterator[str]:
    """English sentences of ``min_words`` to ``max_words`` words that are read as written."""
    for paragraph in _paragraphs(lines):
        for sentence in _cut(_plain(paragraph)):
            if min_words <= len(sentence.split()) <= max_words and _is_said(sentence):
                yield sentence


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    held: list[str] = []
    size = 0
    for line in lines:
        text = line.strip()
        if not text or len(text) > WRAPPED or size > _PARAGRAPH:
            if held:
                yield " ".join(held)
            held, size = [], 0
        if len(text) > WRAPPED:
            yield text
        elif text:
            held.append(text)
            size += len(text)
    if held:
        yield " ".join(held)


def _plain(text: str) -> str:
    """Remove quotation marks, replace dashes with commas, normalize spaces."""
    text = _QUOTATION.sub("", text.translate(_MARKS))
    text = _DOUBLED.sub(r"\1", _DASH.sub(", ", text))
    return " ".join(text.split())


def _cut(paragraph: str) -> Iterator[str]:
    begin = 0
    for end in _END.finditer(paragraph):
        if not _is_abbreviated(paragraph[begin : end.start()], end.group()):
            yield paragraph[begin : end.end()]
            begin = end.end() + 1
    yield paragraph[begin:]


def _is_abbreviated(before: str, end: str) -> bool:
    """Whether the full stop belongs to an abbreviation or initial."""
    word = before.rsplit(None, 1)[-1] if before.strip() else ""
    word = word.lstrip("(")
    return end == "." and (word.lower() in _ABBREVIATED or (len(word) == 1 and word != "I") or "." in word)


def _is_said(sentence: str) -> bool:
    return len(sentence) <= LONGEST and bool(_SAID.fullmatch(sentence)) and not _CAPITALS.search(sentence)

"""Read the lines of UTF-8 files, and split text into sentences to read aloud, streaming: at most one paragraph is in
memory.

Dashes become commas and quotation marks are removed. Sentences that are not read as written (numbers, capitals,
non-English letters) are dropped.
"""

# ruff: noqa: SIM905 (a list of words reads better as text)
from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from typing import IO

WRAPPED = 100  # longest line that may be wrapped; a longer line is a paragraph
LONGEST = 1000  # maximum characters of a sentence
_PARAGRAPH = 100_000  # maximum characters of a paragraph; longer ones are split

_ABBREVIATED = frozenset(  # their full stop does not end a sentence
    "mr mrs ms messrs dr prof rev hon st sr jr capt col gen lt sgt maj esq gov sen rep pres mt ft vol ch pp vs viz "
    "jan feb mar apr jun jul aug sept sep oct nov dec".split()
)

_MARKS = str.maketrans({
    "\u2018": "\u2018", "\u201b": "\u2018", "\u2019": "'", "\u02bc": "'", "\u2032": "'", "`": "\u2018",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u201f": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2013": "--", "\u2014": "--", "\u2015": "--", "\u2212": "-", "\u2010": "-", "\u2011": "-",
    "\u2026": "...", "\u00a0": " ", "_": "", "*": "",
})  # fmt: skip

_QUOTATION = re.compile(  # quotation marks, but not apostrophes, which follow a letter
    r"\"|\u2018|(?<![^\s(\-])'(?!(?:tis|twas|em|twere|twill)\b)|(?<=[.,!?;:\-])'|'(?=[.,!?;:])", re.IGNORECASE
)
_DASH = re.compile(r"\s*-{2,}\s*|\s+-\s+")
_DOUBLED = re.compile(r"([.,!?;:])(?:\s*,)+")
_END = re.compile(r"[.!?]+[)]?(?=\s+\(?[A-Z])")
_SAID = re.compile(r"[A-Z][A-Za-z ,.;:!?'()\-]*[A-Za-z)][.!?]+[)]?")  # a sentence that is read as written
_CAPITALS = re.compile(r"\b[A-Z]{2,}")


def utf8_lines(file: IO[bytes], note: Callable[[str, str], None], longest: int = 1 << 26) -> Iterator[tuple[int, str]]:
    """Numbers (from 1) and texts of the lines of a UTF-8 file, with their line ends; one longer than ``longest`` bytes
    comes in pieces. A line that is not UTF-8 is left out, and ``note`` gets the reason and the line."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    number, begins, lost = 1, True, False
    while piece := file.readline(longest):
        ends = piece.endswith(b"\n")
        piece = piece.removeprefix(codecs.BOM_UTF8) if begins else piece
        begins = False
        try:
            if not lost and (text := decoder.decode(piece, final=ends or len(piece) < longest)):
                yield number, text
        except UnicodeDecodeError as error:
            note(f"is not UTF-8 ({error.reason})", f"line {number}")
            lost = True
        if ends:
            decoder.reset()
            number, lost = number + 1, False
    if not lost and decoder.getstate()[0]:
        note("is not UTF-8 (unexpected end of data)", f"line {number}")


def cut_sentences(lines: Iterable[str], min_words: int, max_words: int) -> Iterator[str]:
    """English sentences of ``min_words`` to ``max_words`` words that are read as written."""
    for paragraph in _paragraphs(lines):
        text = _QUOTATION.sub("", paragraph.translate(_MARKS))
        text = _DOUBLED.sub(r"\1", _DASH.sub(", ", text))
        for sentence in _cut(" ".join(text.split())):
            as_written = len(sentence) <= LONGEST and _SAID.fullmatch(sentence) and not _CAPITALS.search(sentence)
            if as_written and min_words <= len(sentence.split()) <= max_words:
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


def _cut(paragraph: str) -> Iterator[str]:
    begin = 0
    for end in _END.finditer(paragraph):
        before = paragraph[begin : end.start()].rsplit(None, 1)
        word = before[-1].lstrip("(") if before else ""
        abbreviated = word.lower() in _ABBREVIATED or (len(word) == 1 and word != "I") or "." in word
        if not (end.group() == "." and abbreviated):
            yield paragraph[begin : end.end()]
            begin = end.end() + 1
    yield paragraph[begin:]

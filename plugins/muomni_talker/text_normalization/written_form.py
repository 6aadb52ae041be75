# ruff: noqa: RUF001 (ambiguous characters are intended)

"""Splits text into written words of plain characters with their punctuation; the alphabet of the Talkers and its
symbol numbers."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MARKS = ".,?!;:-"

ALPHABET = LETTERS + "' " + MARKS
"""All characters of normalized text."""

_KEPT = "€£¥₹¢°µ×÷±≈≤≥≠π∞§→—–"
_FRACTIONS = dict(zip("½¼¾⅓⅔⅛⅜⅝⅞", ["1/2", "1/4", "3/4", "1/3", "2/3", "1/8", "3/8", "5/8", "7/8"], strict=True))

# Characters that compatibility decomposition (NFKD) does not handle as needed.
_FOLDED = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‘’‚‛′ʼ´", "'"),
        **dict.fromkeys("‐‑‒−﹣－", "-"),
        **dict.fromkeys("―", "—"),
        **dict.fromkeys("™®©ª", ""),
        **dict.fromkeys("μ", "µ"),
        **{"²": "^2", "³": "^3", "º": "°", "№": "#", "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"},
        **{"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH"},
        **{"ı": "i"},
        **{"∙": "×", "⋅": "×", "∕": "/", "⁄": "/", "∗": "*", "•": "-", "·": "-"},
    }
)
_VULGAR = re.compile(f"(\\d?)([{''.join(_FRACTIONS)}])")

# Word boundaries without a space: at dashes, and after a period or comma with a missing space.
_CUTS = re.compile(
    r"(—|--+|(?<!\d)–|–(?!\d))|(?<=\.\.)(?=[A-Za-z])|(?<=[a-z]{2}[.!?])(?=[A-Z][a-z])|(?<=[A-Za-z]{2}[,;])(?=[A-Za-z])"
)
_FEET = re.compile(r"(\d+'\d+\")(.*)")
_LEAD = re.compile(r"^(?:[\"(\[{*_`|]|'(?!\d\ds))+")
_TAIL = re.compile(r"[\"')\]}*_`|.,;:!?]+$")

PAD, START, END = 0, 1, 2
"""Padding; the silence before a sentence; the silence after it."""

COUNT = 3 + len(ALPHABET)
_NUMBERS = {character: 3 + place for place, character in enumerate(ALPHABET)}


@dataclass(frozen=True, slots=True)
class WrittenWord:
    """A written word: opening marks, the word, closing marks, and the number of line breaks before it."""

    lead: str
    core: str
    tail: str
    breaks: int = 0

    @property
    def mark(self) -> str:
        """The most important mark of the tail; empty if it has none."""
        for mark in "?!.;:,":
            if mark in self.tail:
                return mark
        return "," if any(closing in self.tail for closing in ")]}") else ""

    @property
    def upper(self) -> bool:
        """Whether it begins with a capital letter."""
        return self.core[:1].isupper()


def fold(raw: str) -> str:
    """Map characters to ASCII and a few symbols of the same look or meaning; drop the rest."""
    raw = _VULGAR.sub(lambda hit: hit[1] + ("_" if hit[1] else "") + _FRACTIONS[hit[2]], raw.translate(_FOLDED))
    if raw.isascii():
        return "".join(character for character in raw if " " < character < "\x7f")
    shown = unicodedata.normalize("NFKD", raw).translate(_FOLDED)
    return "".join(character for character in shown if " " < character < "\x7f" or character in _KEPT)


def cut(raw: str, breaks: int) -> list[WrittenWord]:
    """The written words of a run of characters without a space, after ``breaks`` line breaks."""
    parts: list[WrittenWord] = []
    for part in _CUTS.split(fold(raw)):
        if part:
            word = _set_apart("—" if part.startswith("--") else part)
            parts.append(WrittenWord(*word, breaks=0 if parts else breaks))
    return parts


def _set_apart(word: str) -> tuple[str, str, str]:
    if (feet := _FEET.fullmatch(word)) is not None:
        return "", feet[1], feet[2]
    lead = _LEAD.match(word)
    begin = lead.end() if lead else 0
    # A regular expression search would take quadratic time for a million periods.
    end = len(word)
    while end > begin and _TAIL.fullmatch(word[end - 1]):
        end -= 1
    return word[:begin], word[begin:end], word[end:]


def numbers(text: str) -> list[int]:
    """The symbols of normalized text."""
    return [_NUMBERS[character] for character in text]

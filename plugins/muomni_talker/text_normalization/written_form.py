# ruff: noqa: RUF001 (characters that look like others are the matter here)

"""Text cut into written words: folded to plain characters, with the marks around them set apart; the alphabet that
the Talkers read, and its characters as numbers.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LETTERS = "abcdefghijklmnopqrstuvwxyz"

MARKS = ".,?!;:-"

ALPHABET = LETTERS + "' " + MARKS
"""Every character that a text to be spoken can hold."""

_KEPT = "€£¥₹¢°µ×÷±≈≤≥≠π∞§→—–"

_FRACTIONS = {
    "½": "1/2",
    "¼": "1/4",
    "¾": "3/4",
    "⅓": "1/3",
    "⅔": "2/3",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
    "⅞": "7/8",
}

# What compatibility decomposition does not give, or gives wrongly.
_FOLDED = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‘’‚‛′ʼ´", "'"),
        **dict.fromkeys("‐‑‒−﹣－", "-"),
        **dict.fromkeys("―", "—"),
        **dict.fromkeys("™®©ª", ""),
        **dict.fromkeys("μ", "µ"),
        **{"²": "^2", "³": "^3", "º": "°", "№": "#", "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"},
        **{
            "ø": "o",
            "Ø": "O",
            "ł": "l",
            "Ł": "L",
            "đ": "d",
            "Đ": "D",
            "ð": "d",
            "Ð": "D",
            "þ": "th",
            "Þ": "TH",
            "ı": "i",
        },
        **{"∙": "×", "⋅": "×", "∕": "/", "⁄": "/", "∗": "*", "•": "-", "·": "-"},
    }
)

_VULGAR = re.compile(f"(\\d?)([{''.join(_FRACTIONS)}])")

# Where a run of characters without a space is still more than one written word: at dashes, after a full stop or a
# comma that somebody forgot a space behind.
_CUTS = re.compile(
    r"(—|--+|(?<!\d)–|–(?!\d))|(?<=\.\.)(?=[A-Za-z])|(?<=[a-z]{2}[.!?])(?=[A-Z][a-z])|(?<=[A-Za-z]{2}[,;])(?=[A-Za-z])"
)

_FEET = re.compile(r"(\d+'\d+\")(.*)")

_LEAD = re.compile(r"^(?:[\"(\[{*_`|]|'(?!\d\ds))+")

_TAIL = re.compile(r"[\"')\]}*_`|.,;:!?]+$")

PAD, START, END = 0, 1, 2
"""Nothing; the silence before a sentence; the silence after it."""

COUNT = 3 + len(ALPHABET)

_NUMBERS = {character: 3 + place for place, character in enumerate(ALPHABET)}


@dataclass(frozen=True, slots=True)
class WrittenWord:
    """A written word: what opens before it, itself, what closes after it, and the line breaks before it."""

    lead: str
    core: str
    tail: str
    breaks: int = 0

    @property
    def mark(self) -> str:
        """The mark of :data:`MARKS` that the tail comes to; empty if it has none."""
        for mark in "?!.":
            if mark in self.tail:
                return mark
        for mark in ";:,":
            if mark in self.tail:
                return mark
        return "," if any(closing in self.tail for closing in ")]}") else ""

    @property
    def upper(self) -> bool:
        """It begins with a capital letter."""
        return self.core[:1].isupper()


def fold(raw: str) -> str:
    """ASCII and a few symbols in place of anything that looks or means the same; the rest is dropped."""
    raw = _VULGAR.sub(lambda hit: hit[1] + ("_" if hit[1] else "") + _FRACTIONS[hit[2]], raw.translate(_FOLDED))
    if raw.isascii():
        return "".join(character for character in raw if " " < character < "\x7f")
    shown = unicodedata.normalize("NFKD", raw).translate(_FOLDED)
    return "".join(character for character in shown if " " < character < "\x7f" or character in _KEPT)


def cut(raw: str, breaks: int) -> list[WrittenWord]:
    """The written words of a run of characters without a space; ``breaks`` line breaks lie before it."""
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
    # Not by a search for the end: that takes quadratic time for a million full stops.
    end = len(word)
    while end > begin and _TAIL.fullmatch(word[end - 1]):
        end -= 1
    return word[:begin], word[begin:end], word[end:]


def numbers(text: str) -> list[int]:
    """The symbols of normalised text."""
    return [_NUMBERS[character] for character in text]

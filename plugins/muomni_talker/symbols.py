"""Characters as numbers: what the Talkers read. Knows no torch."""

from __future__ import annotations

from muomni_talker.spelling.written import ALPHABET

PAD, START, END = 0, 1, 2
"""Nothing; the silence before a sentence; the silence after it."""

COUNT = 3 + len(ALPHABET)

_NUMBERS = {character: 3 + place for place, character in enumerate(ALPHABET)}


def numbers(text: str) -> list[int]:
    """The symbols of normalised text."""
    return [_NUMBERS[character] for character in text]

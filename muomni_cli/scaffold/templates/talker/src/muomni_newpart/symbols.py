"""Characters as numbers, and sentences as they come. Knows no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from muomni_cli.api import TextChunk

ALPHABET = "abcdefghijklmnopqrstuvwxyz' .,?!"
PAD, START, END = 0, 1, 2
"""Nothing; the silence before a sentence; the silence after it."""

COUNT = 3 + len(ALPHABET)
STOPS = re.compile(r"(?<=[.?!])\s")
"""Where a sentence ends."""


def normalize(text: str) -> str:
    """What is spoken of a written text: small letters, a few marks, spaces for all else; empty if nothing is left."""
    kept = "".join(letter if letter in ALPHABET else " " for letter in text.lower())
    plain = " ".join(kept.split())
    return plain if any(letter.isalpha() for letter in plain) else ""


def numbers(text: str) -> list[int]:
    """Symbols of normalised text, with the silences around it."""
    return [START, *(3 + ALPHABET.index(letter) for letter in text), END]


def sentences(text: Iterable[TextChunk]) -> Iterator[str]:
    """Normalised sentences, each as soon as it is whole; how the text is cut into pieces changes nothing."""
    held = ""
    for piece in text:
        held += piece.text
        *whole, held = STOPS.split(held)
        yield from filter(None, map(normalize, whole))
    if last := normalize(held):
        yield last

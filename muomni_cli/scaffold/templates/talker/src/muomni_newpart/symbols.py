"""Text normalization, sentences from streamed text, and symbol numbers; must not import torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from muomni_cli.api import TextChunk

ALPHABET = "abcdefghijklmnopqrstuvwxyz' .,?!"
PAD, START, END = 0, 1, 2
"""Padding; the silence before a sentence; the silence after it."""

COUNT = 3 + len(ALPHABET)
STOPS = re.compile(r"(?<=[.?!])\s")
"""Ends of sentences."""


def normalize(text: str) -> str:
    """Lower case, a few punctuation marks, and spaces for other characters; empty if there are no letters."""
    kept = "".join(letter if letter in ALPHABET else " " for letter in text.lower())
    plain = " ".join(kept.split())
    return plain if any(letter.isalpha() for letter in plain) else ""


def numbers(text: str) -> list[int]:
    """Symbols of normalized text, with silences before and after."""
    return [START, *(3 + ALPHABET.index(letter) for letter in text), END]


def sentences(text: Iterable[TextChunk]) -> Iterator[str]:
    """Normalized sentences, each as soon as it is complete; independent of how the text is split into pieces."""
    held = ""
    for piece in text:
        held += piece.text
        *whole, held = STOPS.split(held)
        yield from filter(None, map(normalize, whole))
    if last := normalize(held):
        yield last

"""When flite says each word: its own phones with their ends, shared out to words by what each word is made of alone."""

from __future__ import annotations

import subprocess
from functools import cache
from itertools import pairwise
from pathlib import Path

VOICE = "slt"


def _flite(text: str, *options: str, sound: Path | None = None) -> list[str]:
    out = "none" if sound is None else str(sound)
    command = ["flite", "-voice", VOICE, *options, "-t", text, "-o", out]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@cache
def _phones(word: str) -> int:
    return sum(phone != "pau" for phone in _flite(word, "-ps"))


def word_times(text: str, sound: Path) -> list[tuple[float, float]] | None:
    """Writes ``text`` as ``sound``; begin and end of each of its words in seconds. None where the words together have
    more or fewer phones than each alone."""
    told = [(phone, float(end)) for phone, end in (one.split(":") for one in _flite(text, "-psdur", sound=sound))]
    spans = [(before, end) for (_, before), (phone, end) in pairwise([("", 0.0), *told]) if phone != "pau"]
    counts = [_phones(word) for word in text.split()]
    if sum(counts) != len(spans):
        return None
    found, place = [], 0
    for count in counts:
        found.append((spans[place][0], spans[place + count - 1][1]))
        place += count
    return found

"""Transcripts on their way out: a line a file whose words appear as they are heard, JSON, or subtitles.

Knows words and a function that writes text, no models and no files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from muomni_cli.contract.models import Word
from muomni_cli.core.console import terminal_safe
from muomni_cli.listening.subtitles import subtitles

Write = Callable[[str], object]
Heard = Sequence[tuple[str, Iterable[Word]]]
"""Name of each file, and its words, heard when they are asked for."""


def write_lines(heard: Heard, write: Write) -> None:
    """One line of text a file, with its name before it where there are several."""
    for name, words in heard:
        if len(heard) > 1:
            write(f"{terminal_safe(name)}: ")
        for number, word in enumerate(words):
            write(f" {word.text}" if number else word.text)
        write("\n")


def write_subtitles(heard: Heard, write: Write) -> None:
    """A block after the other, as soon as each is whole."""
    for _, words in heard:
        for block in subtitles(words):
            write(block)


def write_json(heard: Heard, write: Write) -> None:
    """A list with ``file``, ``text`` and ``words`` (``text``, ``begin`` and ``end`` in seconds) of each file."""
    write(json.dumps([_as_data(name, words) for name, words in heard], indent=2) + "\n")


def _as_data(name: str, words: Iterable[Word]) -> dict[str, Any]:
    found = list(words)
    return {
        "file": name,
        "text": " ".join(word.text for word in found),
        "words": [{"text": word.text, "begin": word.begin, "end": word.end} for word in found],
    }

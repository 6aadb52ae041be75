"""Words with their times as text, JSON or SubRip subtitles: those of ``muomni listen``, written while they are
recognized, and those of ``muomni tts``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from muomni_cli.contract.models import Word
from muomni_cli.core.console import terminal_safe

MOST_WORDS, MOST_SECONDS = 7, 3.0  # of a subtitle block
PAUSE = 0.7  # a subtitle block ends before a silence of this many seconds

Write = Callable[[str], object]
Heard = Sequence[tuple[str, Iterable[Word]]]  # name of each file and its words, recognized lazily


def blocks(words: Iterable[Word]) -> Iterator[list[Word]]:
    """Group words into subtitle blocks: a block ends before a pause, or when it is full or too long."""
    block: list[Word] = []
    for word in words:
        if block and (
            len(block) == MOST_WORDS or word.end - block[0].start > MOST_SECONDS or word.start - block[-1].end >= PAUSE
        ):
            yield block
            block = []
        block.append(word)
    if block:
        yield block


def subtitles(words: Iterable[Word]) -> Iterator[str]:
    """Numbered subtitle blocks, each with its terminating empty line."""
    for number, block in enumerate(blocks(words), start=1):
        text = " ".join(word.text for word in block)
        yield f"{number}\n{clock(block[0].start)} --> {clock(block[-1].end)}\n{text}\n\n"


def clock(seconds: float) -> str:
    """``01:02:03,456``."""
    minutes, thousandths = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{thousandths // 1000:02},{thousandths % 1000:03}"


def write_lines(heard: Heard, write: Write) -> None:
    """One line of text per file; with several files, its name comes first."""
    for name, words in heard:
        if len(heard) > 1:
            write(f"{terminal_safe(name)}: ")
        for number, word in enumerate(words):
            write(f" {word.text}" if number else word.text)
        write("\n")


def write_subtitles(heard: Heard, write: Write) -> None:
    """Subtitle blocks, each as soon as it is complete."""
    for _, words in heard:
        for block in subtitles(words):
            write(block)


def timed(words: Iterable[Word]) -> list[dict[str, str | float]]:
    """Words as JSON has them: ``text``, ``start`` and ``end`` in seconds."""
    return [{"text": word.text, "start": word.start, "end": word.end} for word in words]


def write_json(heard: Heard, write: Write) -> None:
    """A list with ``file``, ``text`` and ``words`` (``text``, ``start`` and ``end`` in seconds) of each file."""
    transcripts = []
    for name, words in heard:
        found = list(words)
        transcripts.append({"file": name, "text": " ".join(word.text for word in found), "words": timed(found)})
    write(json.dumps(transcripts, indent=2) + "\n")

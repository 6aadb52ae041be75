"""Words to subtitles in SubRip's format. Knows words and times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from muomni_cli.contract.models import Word

MOST_WORDS = 7
MOST_SECONDS = 3.0
PAUSE = 0.7
"""A silence of so many seconds ends a block."""


def blocks(words: Iterable[Word]) -> Iterator[list[Word]]:
    """What is shown together: a block ends before a pause, or when it is full or would stay too long."""
    block: list[Word] = []
    for word in words:
        if block and (
            len(block) == MOST_WORDS or word.end - block[0].begin > MOST_SECONDS or word.begin - block[-1].end >= PAUSE
        ):
            yield block
            block = []
        block.append(word)
    if block:
        yield block


def subtitles(words: Iterable[Word]) -> Iterator[str]:
    """One numbered block after the other, each with the empty line that ends it."""
    for number, block in enumerate(blocks(words), start=1):
        text = " ".join(word.text for word in block)
        yield f"{number}\n{clock(block[0].begin)} --> {clock(block[-1].end)}\n{text}\n\n"


def clock(seconds: float) -> str:
    """``01:02:03,456``."""
    minutes, thousandths = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{thousandths // 1000:02},{thousandths % 1000:03}"

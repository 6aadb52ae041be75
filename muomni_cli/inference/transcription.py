"""``muomni listen``: transcripts as text, JSON or SubRip subtitles, written while words are recognized."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from muomni_cli.contract.models import Word
from muomni_cli.core.console import say, terminal_safe
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import replacing
from muomni_cli.data.media import media_at, require_one_stdin
from muomni_cli.inference.model import Model
from muomni_cli.models.engines import CAN_TRANSCRIBE, open_engine, transcribing

MOST_WORDS = 7

MOST_SECONDS = 3.0

PAUSE = 0.7
"""A subtitle block ends before a silence of this many seconds."""

Write = Callable[[str], object]

Heard = Sequence[tuple[str, Iterable[Word]]]
"""Name of each file and its words, recognized lazily."""

Format = Literal["text", "json", "srt"]


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


def write_json(heard: Heard, write: Write) -> None:
    """A list with ``file``, ``text`` and ``words`` (``text``, ``start`` and ``end`` in seconds) of each file."""
    write(json.dumps([_as_data(name, words) for name, words in heard], indent=2) + "\n")


def _as_data(name: str, words: Iterable[Word]) -> dict[str, Any]:
    found = list(words)
    return {
        "file": name,
        "text": " ".join(word.text for word in found),
        "words": [{"text": word.text, "start": word.start, "end": word.end} for word in found],
    }


WRITERS = {"text": write_lines, "json": write_json, "srt": write_subtitles}


def listen(
    files: Sequence[str],
    model: str | None,
    *,
    kind: Format,
    beam: int,
    max_seconds: float,
    device: str,
    threads: int | None,
    output: Path | None,
) -> None:
    """Transcribe ``files``; the parameters are the options of ``muomni listen``. All files are opened once before the
    first
    is transcribed, and ``output`` is written atomically.

    Raises:
        RequestError: a file cannot be read, or is not audio.
    """
    if kind == "srt" and len(files) > 1:
        raise RequestError("subtitles are written for one file at a time", "name one file with --srt")
    require_one_stdin(files)
    with Model(open_engine(model, CAN_TRANSCRIBE, device=device, threads=threads)) as opened:
        part, _ = transcribing(opened.engine)
        media = [media_at(part.modality, path) for path in files]
        for one in media:
            one.open().close()
        say(f"listening with {opened.engine.source(part.modality)}")
        heard = [(one.name, opened.words_of(one, beam=beam, max_seconds=max_seconds)) for one in media]
        with _written(output) as write:
            WRITERS[kind](heard, write)
    if output is not None:
        say(f"wrote {output}")


@contextmanager
def _written(output: Path | None) -> Iterator[Write]:
    if output is None:
        yield _show
        return
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file.write


def _show(text: str) -> None:
    print(text, end="", flush=True)

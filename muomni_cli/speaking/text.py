"""The text to be spoken: an argument, a file, or stdin as it comes."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from muomni_cli.api import RequestError, Said, open_regular

AT_ONCE = 1 << 16
"""Bytes read at a time, at most."""


def read_pieces(argument: str | None, file: Path | None) -> Iterator[Said]:
    """Pieces of the text, lazily.

    Args:
        argument: the text itself; ``-`` is stdin, as is None without a file where stdin is no terminal.
        file: a file with it, UTF-8; ``-`` is stdin.

    Raises:
        RequestError: there is none, there are two, it is empty, or the file cannot be read.
    """
    if argument not in (None, "-") and file is not None:
        raise RequestError("there are two texts, an argument and a file", "give one of them")
    if argument not in (None, "-"):
        if not argument.strip():
            raise RequestError("the text is empty", 'give some: muomni tts "Hello." -o hello.wav')
        return iter([Said(argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))])
    if file is not None and file != Path("-"):
        with open_regular(file) as opened:
            return iter([Said(opened.read().decode("utf-8-sig", "replace"))])
    if sys.stdin is None or (argument is None and file is None and sys.stdin.isatty()):
        raise RequestError("there is no text to speak", 'give some: muomni tts "Hello." -o hello.wav, or -i FILE')
    return _decoded(sys.stdin.buffer)


def _decoded(file: BinaryIO) -> Iterator[Said]:
    """What comes, as soon as it comes; characters are never split."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    read = getattr(file, "read1", file.read)
    while data := read(AT_ONCE):
        if text := decoder.decode(data):
            yield Said(text)
    if text := decoder.decode(b"", True):
        yield Said(text)

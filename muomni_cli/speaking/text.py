"""The text to be spoken: an argument, a file, or stdin as it comes."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from muomni_cli.contract.speech import Said
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import open_regular
from muomni_cli.data.given import refuse_url

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
        refuse_url(str(file))
        with open_regular(file) as opened:
            content = opened.read()
        _require_text(content, str(file))
        return iter([Said(content.decode("utf-8-sig", "replace"))])
    if sys.stdin is None or (argument is None and file is None and sys.stdin.isatty()):
        raise RequestError("there is no text to speak", 'give some: muomni tts "Hello." -o hello.wav, or -i FILE')
    return _decoded(sys.stdin.buffer)


def _require_text(content: bytes, name: str) -> None:
    """RequestError for what is no text: it holds a NUL, or more than a tenth of it is not UTF-8."""
    if b"\0" in content or 10 * content.decode("utf-8", "replace").count("\ufffd") > max(len(content), 20):
        raise RequestError(f"{name} is not a text file", "give a file of UTF-8 text")


def _decoded(file: BinaryIO) -> Iterator[Said]:
    """What comes, as soon as it comes; characters are never split."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    read = getattr(file, "read1", file.read)
    while data := read(AT_ONCE):
        _require_text(data, "stdin")
        if text := decoder.decode(data):
            yield Said(text)
    if text := decoder.decode(b"", True):
        yield Said(text)

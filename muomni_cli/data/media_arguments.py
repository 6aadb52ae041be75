"""Files on the command line: paths, pipes, ``-``, and media such as ``--image x.png`` or ``--attach motion=walk.csv``.
URLs are refused.
"""

from __future__ import annotations

import io
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from muomni_cli.contract.data import FileMedia, Media
from muomni_cli.core.errors import RequestError
from muomni_cli.data.modality import Modality
from muomni_cli.registry.registry import did_you_mean

STDIN = "-"
MOST_BYTES = 1 << 30  # maximum bytes to read from a pipe; they are held in memory
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_DESCRIPTOR = re.compile(r"/dev/stdin|/dev/fd/\d+|/proc/\w+/fd/\d+")
"""Open files of a process: what a shell passes for ``<(command)``."""


@dataclass(frozen=True, slots=True)
class PipedMedia:
    """Contents of a pipe. Implements :class:`muomni_cli.api.Media`."""

    modality: str
    name: str
    content: bytes = field(repr=False)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.content)


def media_at(modality: str, word: str) -> Media:
    """The media that a command-line argument refers to. Pipes are read at once, files when opened. Raises RequestError:
    a URL, or a pipe that is empty, too long, or a terminal."""
    refuse_url(word)
    if word == STDIN:
        return _from_stdin(modality)
    if not _is_open_pipe(word):
        return FileMedia(modality, Path(word).expanduser())
    with Path(word).open("rb") as file:
        return _read(modality, word, file)


def require_one_stdin(words: Sequence[str]) -> None:
    """RequestError if ``-`` occurs twice among ``words`` (FILE or NAME=FILE)."""
    if sum(word.rpartition("=")[2] == STDIN for word in words) > 1:
        raise RequestError("stdin can be read once, and - was given more than once", "name a file for the others")


def refuse_url(word: str) -> None:
    """RequestError if ``word`` is a URL."""
    if _URL.match(word):
        raise RequestError(f"URLs are not fetched: {word}", "download it first, then name the file")


def _from_stdin(modality: str) -> Media:
    if sys.stdin is None or sys.stdin.isatty():
        raise RequestError("there is nothing on stdin", f"pipe {modality} into it, or name a file")
    return _read(modality, "stdin", sys.stdin.buffer)


def _read(modality: str, name: str, file: BinaryIO) -> Media:
    content = file.read(MOST_BYTES + 1)
    if not content:
        raise RequestError(f"{name} is empty (0 bytes)", "give a file that holds something")
    if len(content) > MOST_BYTES:
        raise RequestError(f"{name} holds more than {MOST_BYTES >> 20:,} MiB", "save it to a file and name that")
    return PipedMedia(modality, name, content)


def _is_open_pipe(word: str) -> bool:
    """Whether it is a pipe with a writer; opening a named pipe could block forever."""
    if not _DESCRIPTOR.fullmatch(word):
        return False
    try:
        mode = Path(word).stat().st_mode
    except OSError:  # reported when it is opened
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def attachment(modality: str, path: str, modalities: Mapping[str, Modality]) -> Media:
    """One file for a model with ``modalities``. Raises RequestError: not NAME=PATH, a URL, or the model has no such
    modality."""
    if not modality or not path:
        raise RequestError(f"{modality or path!r} is not NAME=PATH", "for example: --attach image=cat.png")
    if modality not in modalities:
        listed = f"it takes {' and '.join(modalities)}" if modalities else "it takes text alone: train the stage omni"
        raise RequestError(
            f"this model has no encoder for {modality}", did_you_mean(modality, list(modalities), listed)
        )
    return media_at(modality, path)


def check_words(words: Sequence[str]) -> None:
    """Check ``NAME=PATH`` words before a model is opened. RequestError for a URL, or stdin twice."""
    require_one_stdin(words)
    for word in words:
        refuse_url(word.partition("=")[2])


def attachments(words: Sequence[str], modalities: Mapping[str, Modality]) -> list[Media]:
    """``NAME=PATH`` words as media; errors as in :func:`attachment`."""
    require_one_stdin(words)
    pairs = [word.partition("=") for word in words]
    return [attachment(modality, path, modalities) for modality, _, path in pairs]

"""Pictures, sounds and the like as sources name them: small records that open as bytes. Knows files, no format.

A record is hashable and can be pickled, so it travels to the worker processes that decode it.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from muomni_cli.errors import RequestError


class Media(Hashable, Protocol):
    """One picture, sound, or input of another modality. Equal records open as equal bytes."""

    @property
    def modality(self) -> str:
        """Which encoder reads it: ``image``, ``audio``, or a stranger's."""
        ...

    @property
    def name(self) -> str:
        """What to call it in a message: a path, or ``MEMBER in ARCHIVE``."""
        ...

    def open(self) -> BinaryIO:
        """Its bytes, as a file that can seek.

        Raises:
            RequestError: it is not there, or cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileMedia:
    """A file of its own."""

    modality: str
    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def open(self) -> BinaryIO:
        """See :class:`Media`."""
        return open_regular(self.path)


@dataclass(frozen=True, slots=True)
class SliceMedia:
    """``size`` bytes of a file from ``offset`` on: a member of a tar archive, read in place."""

    modality: str
    path: Path
    offset: int
    size: int
    member: str

    @property
    def name(self) -> str:
        """The member and its archive."""
        return f"{self.member} in {self.path}"

    def open(self) -> BinaryIO:
        """See :class:`Media`."""
        with open_regular(self.path) as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise RequestError(f"{self.path} ends inside of {self.member}", "restore the archive")
        return io.BytesIO(content)


def open_regular(path: Path) -> BinaryIO:
    """A regular file that is not empty. A pipe or a device could keep the reader waiting for ever.

    Raises:
        RequestError: it is something else, is not there, or may not be read.
    """
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size:
            return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RequestError(f"cannot read {os.fspath(path)}: {reason}", "check the path and its permissions") from error
    if stat.S_ISDIR(status.st_mode):
        raise RequestError(f"{path} is a folder, not a file", "name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise RequestError(f"{path} is a pipe or a device, not a file", "save it to a file and name that")
    raise RequestError(f"{path} is empty (0 bytes)", "give a file that holds something")

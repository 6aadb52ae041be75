"""Pictures, sounds and the like as sources name them: small records that open as bytes. Knows files, no format.

A record is hashable and can be pickled, so it travels to the worker processes that decode it.
"""

from __future__ import annotations

import io
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import open_regular


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

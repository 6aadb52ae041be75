"""Checksums of files: CRC-32 against damage, inside the files that muomni writes; SHA-256 of what is handed on.

A sealed file holds ``crc32:`` and eight hexadecimal digits near its beginning: the CRC-32 of all of its bytes, with
zeros in place of those digits. CRC-32 takes a third of the time of SHA-256 and needs no further package.
"""

from __future__ import annotations

import functools
import hashlib
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from muomni_cli.core.errors import RequestError

BLANK = "crc32:00000000"
"""Where :func:`sealed` writes the checksum."""
COMMENT = f"# {BLANK} checksum of this file; remove this line if you change anything of what is below it\n"
"""First line of a sealed TOML file. What follows the digits is longer than what is usually lost at once."""
BLOCK = 1 << 20  # bytes read at a time
_SEAL = re.compile(rb"crc32:([0-9a-f]{8})")


def sealed(content: bytes) -> bytes:
    """``content`` with its checksum in place of the first :data:`BLANK`."""
    return content.replace(BLANK.encode(), b"crc32:%08x" % zlib.crc32(content), 1)


def is_whole(content: bytes) -> bool | None:
    """Whether sealed content is what was sealed; None if it holds no checksum."""
    found = _SEAL.search(content)
    if found is None:
        return None
    blank = content[: found.start()] + BLANK.encode() + content[found.end() :]
    return zlib.crc32(blank) == int(found[1], 16)


def require_whole(path: Path, content: bytes, fix: str, excused: Callable[[], bool] = lambda: False) -> None:
    """RequestError if ``content`` of ``path`` is not what was sealed, or has no checksum and is not ``excused``."""
    whole = is_whole(content)
    if whole is None and not excused():
        raise RequestError(f"{path} has no checksum: it is damaged, or not of this version of muomni", fix)
    if whole is False:
        raise RequestError(f"{path} is damaged: it does not match its checksum", fix)


def toml_text(path: Path, content: bytes) -> str:
    """The text of a TOML file without the comment with its checksum. RequestError if it has one that does not match;
    UnicodeDecodeError."""
    mark = COMMENT[: COMMENT.index(":") + 1].encode()
    if not content.startswith(mark):
        return content.decode("utf-8-sig")
    require_whole(path, content, f"restore it; if you changed it yourself, remove its first line: {mark.decode()}...")
    return content.partition(b"\n")[2].decode()


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits; computed once per process unless the file changes."""
    return _once("sha256", path, *_state(path))


def crc32(path: Path) -> str:
    """CRC-32 of a file in hexadecimal digits; computed once per process unless the file changes."""
    return _once("crc32", path, *_state(path))


def _state(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@functools.lru_cache(maxsize=4096)
def _once(kind: str, path: Path, *state: int) -> str:  # noqa: ARG001 - the state of the file, for the cache
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if kind == "sha256" else f"{rest_crc32(file):08x}"


def rest_crc32(file: BinaryIO) -> int:
    """CRC-32 of the rest of an open file."""
    found = 0
    while block := file.read(BLOCK):
        found = zlib.crc32(block, found)
    return found

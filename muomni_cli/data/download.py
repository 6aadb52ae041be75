"""Download one file: resumed after an interruption, verified, and renamed into place.

pooch verifies and renames. Its own downloader restarts after an interruption; :class:`Resuming` replaces it, keeps
incomplete data in ``NAME.part`` and requests the rest with an HTTP Range header.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pooch  # type: ignore[import-untyped]
import requests
import urllib3

from muomni_cli.contract.declarations import RemoteFile
from muomni_cli.core.errors import MuomniError, RequestError

if TYPE_CHECKING:
    from requests import Response

TIMEOUT = 30  # seconds without an answer until a download fails
CHUNK = 1 << 16  # bytes to write at a time
Progress = Callable[[int], None]  # gets the number of bytes received so far


def download(file: RemoteFile, target: Path, progress: Progress) -> None:
    """Download ``file`` to ``target``, unless it exists with the right checksum.

    Raises:
        MuomniError: no connection, an unusable response, or an unexpected size or checksum. A file with a wrong
            checksum is removed; an incomplete one is kept and resumed by the next call.
        RequestError: another process downloads the same file.
    """
    pooch.get_logger().setLevel(logging.ERROR)
    known = f"sha256:{file.sha256}" if file.sha256 else None
    resuming = Resuming(file, target, progress)
    try:
        pooch.retrieve(file.url, known, fname=target.name, path=target.parent, downloader=resuming)
    except ValueError as error:  # what pooch raises for a wrong checksum
        raise MuomniError(
            f"wrong checksum: {file.url} is not the file that was declared (SHA-256 {file.sha256})",
            "the file was removed; run the command again, and report it if it fails again",
        ) from error


def partial(target: Path) -> Path:
    """Path of an incomplete ``target``."""
    return target.with_name(f"{target.name}.part")


class Resuming:
    """A downloader for pooch that resumes incomplete files. Files without a checksum are restarted, because a change on
    the server would not be noticed."""

    def __init__(self, file: RemoteFile, target: Path, progress: Progress) -> None:
        self._file, self._part, self._progress = file, partial(target), progress

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:  # noqa: ARG002
        """Download ``url`` to ``output_file``; the signature is pooch's."""
        try:
            with self._part.open("ab") as part, _locked(part), _explained(url):
                if not self._file.sha256 or part.seek(0, 2) > self._file.size:
                    part.truncate(0)
                held = part.seek(0, 2)
                if held < self._file.size:
                    self._receive(url, part, held)
        finally:
            if self._part.is_file() and not self._part.stat().st_size:
                self._part.unlink()
        self._part.replace(output_file)

    def _receive(self, url: str, part: BinaryIO, held: int) -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={held}-"} if held else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            start, total = _extent(response)
            if start != held:
                part.truncate(start)
                held = part.seek(0, 2)
                if held != start:
                    raise _unusable(url, f"it sent bytes from {start:,} on, but {held:,} are present")
            if total is not None and total != self._file.size and self._file.sha256:
                raise _unusable(url, f"it has {total:,} bytes, but {self._file.size:,} were declared")
            total = total or self._file.size
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                part.write(chunk)
                held += len(chunk)
                self._progress(held)
        if held < total:  # older versions of urllib3 do not report a closed connection
            raise urllib3.exceptions.ProtocolError("incomplete")


def _extent(response: Response) -> tuple[int, int | None]:
    """First byte of a response, and the size of the whole file if known."""
    if response.status_code == requests.codes.partial_content:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match:
            return int(match[1]), None if match[2] == "*" else int(match[2])
    if response.status_code != requests.codes.ok:
        raise _unusable(response.url, f"the server answered {response.status_code} {response.reason}")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _unusable(url: str, reason: str) -> MuomniError:
    return MuomniError(
        f"cannot download {url}: {reason}", "the file may have moved: look for it on the dataset's own page"
    )


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn exceptions of requests and urllib3 into MuomniError."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        reasons: dict[str, tuple[type[Exception], ...]] = {
            "the proxy cannot be reached": (requests.exceptions.ProxyError,),
            "its certificate is not valid": (requests.exceptions.SSLError, urllib3.exceptions.SSLError),
            f"no answer within {TIMEOUT} s": (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError),
            "the connection was cut": (urllib3.exceptions.ProtocolError,),
            "no connection": (requests.exceptions.ConnectionError,),
        }
        found = (reason for reason, kinds in reasons.items() if isinstance(error, kinds))
        raise MuomniError(
            f"cannot download {url}: {next(found, type(error).__name__)}",
            "check the network and the proxy (HTTPS_PROXY), then run the command again: it continues where it stopped",
        ) from error


@contextmanager
def _locked(part: BinaryIO) -> Iterator[None]:
    """Prevent other processes from appending to the same file, if the system supports such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        fcntl.flock(part.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RequestError(
            f"another command is downloading {Path(part.name).name}", "wait until it is done, or stop it"
        ) from error
    except OSError:  # a file system without locks
        pass
    yield

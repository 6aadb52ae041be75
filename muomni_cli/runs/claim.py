"""One process trains a run at a time. The claim lies on the run's folder itself and dies with its process.

Knows folders, nothing of training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from muomni_cli.errors import RequestError

CLAIMS = os.name == "posix"
"""Elsewhere two trainings of one run are the user's to avoid."""


@contextmanager
def claimed(root: Path) -> Iterator[None]:
    """``root`` belongs to this process meanwhile; it is made for that, and removed again if nothing was put into it.

    Raises:
        RequestError: another process has it.
    """
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    root.mkdir(parents=True, exist_ok=True)
    try:
        if not CLAIMS:
            yield
            return
        descriptor = os.open(root, os.O_RDONLY)
        try:
            _lock(descriptor, root)
            yield
        finally:
            os.close(descriptor)
    finally:
        with suppress(OSError):  # one that is not empty stays, and with it all above
            for folder in missing:
                folder.rmdir()


def _lock(descriptor: int, root: Path) -> None:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RequestError(
            f"another process is training into {root}",
            "wait for it or stop it (Ctrl-C saves), or train another run with --run NAME",
        ) from error
    except OSError:  # a file system that knows no claims
        return

"""Who trains what: a run belongs to one process at a time, or each of its stages to one. Claims lie on the folders
themselves and die with their process.

Knows folders, nothing of training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from muomni_cli.core.errors import RequestError

CLAIMS = os.name == "posix"
"""Elsewhere two trainings of one run are the user's to avoid."""


@contextmanager
def claimed(root: Path, stage: str = "") -> Iterator[None]:
    """``root``, or of it only the folder ``stage``, belongs to this process meanwhile; what is not there is made for
    that, and removed again if nothing was put into it.

    Raises:
        RequestError: another process has it, or a part of it, or all of it.
    """
    folder = root / stage
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _held(root, shared=bool(stage)), _held(folder) if stage else nullcontext():
            yield
    finally:
        with suppress(OSError):  # one that is not empty stays, and with it all above
            for one in missing:
                one.rmdir()


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """For the moment that it takes to change what describes ``root``: others that want to are kept waiting."""
    above = root.resolve().parent
    with suppress(OSError):  # whoever writes there says what is wrong
        above.mkdir(parents=True, exist_ok=True)
    if not (CLAIMS and above.is_dir()):
        yield
        return
    with _locked(above, shared=False, wait=True):  # not on the run's own folder: a claim lies there
        yield


@contextmanager
def _held(folder: Path, *, shared: bool = False) -> Iterator[None]:
    if not CLAIMS:
        yield
        return
    with _locked(folder, shared=shared, wait=False):
        yield


@contextmanager
def _locked(folder: Path, *, shared: bool, wait: bool) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder, shared=shared, wait=wait)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, *, shared: bool, wait: bool) -> None:
    import fcntl

    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RequestError(
            f"another process is training into {folder}",
            "wait for it or stop it (Ctrl-C saves), or train another run with --run NAME",
        ) from error
    except OSError:  # a file system that knows no claims
        return

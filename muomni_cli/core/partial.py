"""Folders that are still being written: each is locked by its process, so that those of dead processes are known."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from muomni_cli.core.stopping import unfinished

UNLOCKED = 3600.0  # seconds


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside ``folder``, which is to be renamed to it; what is not is removed."""
    with ExitStack() as stack:
        with _locked(folder.parent, wait=True):  # a new folder is not swept before it is locked itself
            partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            stack.enter_context(_locked(partial))
            stack.callback(unfinished.discard, str(partial))
            stack.callback(shutil.rmtree, partial, ignore_errors=True)
            unfinished.add(str(partial))
        yield partial


def sweep(parent: Path) -> None:
    """Remove the partial folders in ``parent`` whose processes are gone, however they ended."""
    if not any(parent.glob(".*-*")):
        return
    with _locked(parent, wait=True):
        for partial in parent.glob(".*-*"):
            if partial.is_dir() and not partial.is_symlink() and is_abandoned(partial):
                shutil.rmtree(partial, ignore_errors=True)


def is_abandoned(partial: Path) -> bool:
    """Whether the process that wrote a partial folder is gone; without locks, whether that was an hour ago."""
    if os.name != "posix":
        return time.time() - partial.stat().st_mtime > UNLOCKED
    with _locked(partial) as free:
        return free


@contextmanager
def _locked(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether ``folder`` is locked for this process while in the context."""
    lock = _lock(folder, wait=wait)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, *, wait: bool) -> int | None:
    """A descriptor that holds a lock on ``folder``; None if another process has it, or there are no locks."""
    if os.name != "posix":
        return None
    import fcntl

    lock = None
    try:
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process has it or has removed it, or a file system without locks
        if lock is not None:
            os.close(lock)
        return None
    return lock


def sweep_files(folder: Path) -> None:
    """Remove the temporary files in ``folder``, which no other process may be writing to."""
    for path in folder.glob(".*.tmp"):
        remove_temporary(path)


def remove_temporary(path: Path) -> None:
    """Remove a temporary file with the folder that it lies in, or a file without one. A link is left as it is."""
    if path.is_symlink():
        return
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

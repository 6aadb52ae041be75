"""Files and folders: cache, data and configuration folders, atomic writes, JSON and TOML."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO

from muomni_cli.core.errors import MuomniError, RequestError


def config_folder() -> Path:
    """``$MUOMNI_CONFIG``, else ``muomni`` in ``$XDG_CONFIG_HOME`` or ``~/.config``. It may not exist yet."""
    return _folder("MUOMNI_CONFIG", "XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path:
    """``$MUOMNI_CACHE``, else ``muomni`` in ``$XDG_CACHE_HOME`` or ``~/.cache``. It may not exist yet."""
    return _folder("MUOMNI_CACHE", "XDG_CACHE_HOME", ".cache")


def data_folder() -> Path:
    """Where public datasets lie: ``$MUOMNI_DATA``, else the platform's folder for data. It may not exist yet."""
    if named := os.environ.get("MUOMNI_DATA"):
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_data_path("muomni", appauthor=False)


def _folder(own: str, base: str, fallback: str) -> Path:
    if named := os.environ.get(own):
        return Path(named).expanduser()
    return Path(os.environ.get(base) or Path.home() / fallback) / "muomni"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what was written there takes the place of ``path`` at the end.

    Raises:
        MuomniError: if the disk is full or the folder cannot be written; ``path`` is then as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # some libraries make files that only their owner can read
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise MuomniError(
            f"could not write {path}: {error.strerror or error}",
            "free some space or check the folder's permissions; the file that was there before is untouched",
        ) from error
    finally:
        with suppress(OSError):  # it was never made, and could not be
            temporary.unlink()


@contextmanager
def new_folder(root: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``root`` that takes its place at the end, if nothing is raised.

    Args:
        root: where to.
        replace: in place of a folder that is there; until the end, that stays as it was.

    Raises:
        RequestError: something is there already, and is not to be replaced.
    """
    if occupied(root) and not (replace and root.is_dir()):
        raise RequestError(f"{root} is there already", "name another folder with -o, or remove it first")
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        with _aside(root) if occupied(root) else nullcontext():
            temporary.replace(root)
    except OSError as error:
        raise MuomniError(
            f"could not write {root}: {error.strerror or error}", "free some space or name another folder with -o"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fingerprint_of(identity: Any) -> str:
    """24 hex digits that stand for JSON data: the name of a folder that is made of it."""
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode("utf-8"), digest_size=12).hexdigest()


def cached_folder(folder: Path, index: str, what: str, make: Callable[[Path], Any]) -> Any:
    """The JSON data in the file ``index`` of a folder in the cache, which is made now if it is not there.

    The folder is written under another name and renamed when complete. If another process has made it meanwhile, that
    one is kept.

    Args:
        folder: named by a fingerprint of all that it depends on.
        index: file name; the folder is complete if it holds this file.
        what: is kept there, for an error: ``the tokens``.
        make: fills an empty folder and returns the data for ``index``.

    Raises:
        MuomniError: the cache cannot be written.
    """
    if not (folder / index).exists():
        try:
            _make_folder(folder, index, make)
        except OSError as error:
            raise MuomniError(
                f"{what} cannot be written to {folder.parent}: {error.strerror or error}",
                "free some space, or set MUOMNI_CACHE to a folder on another disk",
            ) from error
    return json.loads((folder / index).read_text("utf-8"))


def _make_folder(folder: Path, index: str, make: Callable[[Path], Any]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        content = make(partial)
        (partial / index).write_text(json.dumps(content), "utf-8")
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / index).exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def occupied(root: Path) -> bool:
    """Whether something is at ``root`` that is no empty folder."""
    return root.exists() and (not root.is_dir() or any(root.iterdir()))


@contextmanager
def _aside(root: Path) -> Iterator[None]:
    """``root`` out of the way; gone at the end, or back in its place if something is raised."""
    old = Path(tempfile.mkdtemp(prefix=f".{root.name}.old.", dir=root.parent))
    try:
        root.replace(old)
        try:
            yield
        except BaseException:
            old.replace(root)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file by rename."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file by rename."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON by rename."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file that we wrote.

    Raises:
        RequestError: if it is not there or not whole.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror or error}", "is this a run folder?") from error
    except ValueError as error:
        raise RequestError(f"{path} is not valid JSON ({error})", "restore it, or train the run again") from error
    if not isinstance(content, dict):
        raise RequestError(f"{path} does not hold a JSON object", "restore it, or train the run again")
    return content


def _sync(path: Path) -> None:
    """Make sure that a file or a folder's entries have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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

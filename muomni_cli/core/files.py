"""Files and folders: cache, data and configuration folders, atomic writes, JSON and TOML."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from muomni_cli.core.errors import MuomniError, RequestError

RUNS = Path("runs")  # default folder of runs, relative to the working directory


def config_folder() -> Path:
    """``$MUOMNI_CONFIG``, else ``muomni`` in ``$XDG_CONFIG_HOME`` or ``~/.config``. May not exist."""
    return _folder("MUOMNI_CONFIG", "XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path:
    """``$MUOMNI_CACHE``, else ``muomni`` in ``$XDG_CACHE_HOME`` or ``~/.cache``. May not exist."""
    return _folder("MUOMNI_CACHE", "XDG_CACHE_HOME", ".cache")


def data_folder() -> Path:
    """Folder of public datasets: ``$MUOMNI_DATA``, else the platform's data folder. May not exist."""
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
    """Yield a temporary path beside ``path`` that atomically replaces ``path`` at the end. Raises MuomniError: the disk
    is full or the folder not writable; ``path`` is then unchanged."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # some libraries create files that only their owner can read
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise MuomniError(
            f"could not write {path}: {error.strerror or error}",
            "free some space or check the folder's permissions; the file that was there before is untouched",
        ) from error
    finally:
        with suppress(OSError):  # it may not have been created
            temporary.unlink()


@contextmanager
def new_folder(root: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``root`` that becomes ``root`` at the end, unless an exception is raised.
    ``replace``: replace an existing folder, which is unchanged until the end. Raises RequestError: ``root`` exists and
    is not to be replaced."""
    if occupied(root) and not (replace and root.is_dir()):
        raise RequestError(f"{root} is there already", "name another folder with -o, or remove it first")
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        temporary.chmod(0o755)
        yield temporary
        try:
            if occupied(root):
                old.mkdir()
                root.replace(old)
            temporary.replace(root)
        except BaseException:
            if occupied(old):
                old.replace(root)
            raise
    except OSError as error:
        raise MuomniError(
            f"could not write {root}: {error.strerror or error}", "free some space or name another folder with -o"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def fingerprint_of(identity: Any) -> str:
    """24 hex digits that identify JSON data, for folder names in the cache."""
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode("utf-8"), digest_size=12).hexdigest()


def cached_folder(folder: Path, index: str, what: str, make: Callable[[Path], Any]) -> Any:
    """JSON data in the file ``index`` of a cached folder, which is created if missing.

    The folder is written under a temporary name and renamed. If another process has created it meanwhile, that one is
    kept.

    Args:
        folder: named by a fingerprint of everything that it depends on.
        index: file name; the folder is complete if it contains this file.
        what: the content, for errors: ``the tokens``.
        make: fills an empty folder and returns the data for ``index``.

    Raises:
        MuomniError: the cache cannot be written.
    """
    if (folder / index).exists():
        return json.loads((folder / index).read_text("utf-8"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            content = make(partial)
            (partial / index).write_text(json.dumps(content), "utf-8")
            partial.rename(folder)
        except OSError:
            if not (folder / index).exists():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise MuomniError(
            f"{what} cannot be written to {folder.parent}: {error.strerror or error}",
            "free some space, or set MUOMNI_CACHE to a folder on another disk",
        ) from error
    return json.loads((folder / index).read_text("utf-8"))


def occupied(root: Path) -> bool:
    """Whether ``root`` exists and is not an empty folder."""
    return root.exists() and (not root.is_dir() or any(root.iterdir()))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 file atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file that muomni wrote. Raises RequestError: it is missing or invalid."""
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
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file that is not empty. Pipes and devices are refused: they could block forever. Raises
    RequestError: it is something else, missing or unreadable."""
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

"""Files and folders: cache, data and configuration folders, atomic writes, JSON and TOML."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from muomni_cli.core.checksums import BLANK, crc32, require_whole, sealed
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.partial import partial_folder, remove_temporary, sweep
from muomni_cli.core.stopping import unfinished

KEY = "checksum"  # of the checksum of a JSON file, in the file
LAYOUT = 2  # of folders in the cache; incremented when it changes
_DESCRIPTOR = re.compile("/dev/(std|fd/)|/proc/")  # what a shell has opened, which may be a file
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{16}\.tmp", re.DOTALL)

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
    """Yield a temporary path whose file takes the place of ``path`` at the end, atomically.

    The temporary file lies in a new folder of its own, whose name cannot be guessed; so what a library writes beside
    it is removed as well. A symbolic link is followed: it stays, and the file it names is replaced. Into a device or
    a pipe the content is written instead.

    Raises:
        RequestError: ``path`` is a folder, or a link that leads nowhere.
        MuomniError: the disk is full or the folder not writable; ``path`` is then unchanged.
    """
    if is_stream(path):
        with _streaming(path) as temporary:
            yield temporary
        return
    target = behind_links(path)
    if target.is_dir():
        raise RequestError(f"{path} is a folder", "name a file, in it or elsewhere")
    folder = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.tmp")
    temporary = folder / target.name
    unfinished.add(str(folder))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        folder.mkdir(0o700)
        temporary.touch(exist_ok=False)
        mode = (target if target.exists() else temporary).stat().st_mode & 0o777
        yield temporary
        temporary.chmod(mode)  # some libraries create files that only their owner can read
        _sync(temporary)
        os.replace(temporary, target)
        _sync(target.parent)
    except OSError as error:
        raise MuomniError(
            f"could not write {path}: {error.strerror or error}",
            "free some space or check the folder's permissions; the file that was there before is untouched",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.discard(str(folder))


def is_stream(path: Path) -> bool:
    """Whether it is a device or a pipe, or a link to one: what is written into, never replaced."""
    with suppress(OSError):
        mode = path.stat().st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or bool(_DESCRIPTOR.match(os.fspath(path)))
    return False


def behind_links(path: Path) -> Path:
    """The path that ``path`` names, which need not exist. RequestError for links that lead in a circle."""
    try:
        return path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError) as error:  # RuntimeError: before Python 3.13
        raise RequestError(f"{path} is a link that leads nowhere", "remove it, or name another file") from error


@contextmanager
def _streaming(path: Path) -> Iterator[Path]:
    """A temporary file that is copied into a device or a pipe at the end. MuomniError if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / path.name
        temporary.touch()
        yield temporary
        try:
            with temporary.open("rb") as content, path.open("wb") as out:
                shutil.copyfileobj(content, out)
        except OSError as error:
            raise MuomniError(
                f"could not write {path}: {error.strerror or error}", "check what reads it, or name a file"
            ) from error


@functools.cache
def _sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left in ``folder`` over an hour ago."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            path = Path(entry.path)
            if _TEMPORARY.fullmatch(entry.name) and _last_written(path) < time.time() - 3600:
                remove_temporary(path)


def _last_written(temporary: Path) -> float:
    """Time of the last change of a temporary folder and what lies in it."""
    return max(path.lstat().st_mtime for path in (temporary, *temporary.glob("*")))


@contextmanager
def new_folder(root: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``root`` that becomes ``root`` at the end, unless an exception is raised. A link
    is followed. ``replace``: replace an existing folder, which is unchanged until the end. Raises RequestError:
    ``root`` exists and is not to be replaced."""
    if occupied(root) and not (replace and root.is_dir()):
        raise RequestError(f"{root} is there already", "name another folder with -o, or remove it first")
    root = behind_links(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    old = temporary.with_name(f"{temporary.name}.old")
    unfinished.add(str(temporary))
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
        unfinished.discard(str(temporary))


def fingerprint_of(identity: Any) -> str:
    """24 hex digits that identify JSON data and the layout of cached folders, for folder names in the cache."""
    text = json.dumps([LAYOUT, identity], sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=12).hexdigest()


def cached_folder(folder: Path, index: str, what: str, make: Callable[[Path], Any]) -> Any:
    """JSON data in the file ``index`` of a cached folder, which is created if missing.

    The folder is written under a temporary name and renamed. If another process has created it meanwhile, that one is
    kept. The index holds the checksums of all files, which are compared when the folder is opened. What killed
    processes left unfinished beside it is removed.

    Args:
        folder: named by a fingerprint of everything that it depends on.
        index: file name; the folder is complete if it contains this file.
        what: the content, for errors: ``the tokens``.
        make: fills an empty folder and returns the data for ``index``.

    Raises:
        RequestError: a file of the folder is damaged.
        MuomniError: the cache cannot be written.
    """
    sweep(folder.parent)
    found = folder.is_dir()
    if (folder / index).exists():
        return _cached(folder, index, what)
    if found:  # folders appear with their index, so this one has lost it
        shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with partial_folder(folder) as partial:
            content = make(partial)
            files = {name.relative_to(partial).as_posix(): crc32(name) for name in partial.rglob("*") if name.is_file()}
            text = json.dumps({KEY: BLANK, "files": files, "content": content})
            (partial / index).write_bytes(sealed(text.encode()))
            try:
                partial.rename(folder)
            except OSError:
                if not (folder / index).exists():
                    raise
            else:
                return json.loads(text)["content"]  # as a later call returns it
    except OSError as error:
        raise MuomniError(
            f"{what} cannot be written to {folder.parent}: {error.strerror or error}",
            "free some space, or set MUOMNI_CACHE to a folder on another disk",
        ) from error
    return _cached(folder, index, what)


def _cached(folder: Path, index: str, what: str) -> Any:
    """The data in the index of a cached folder. RequestError if a file of the folder is damaged or missing."""
    fix = f"remove it, so that {what} are made again: muomni cache clean"
    about = read_sealed_json(folder / index, fix)
    for name, digits in about["files"].items():
        try:
            same = crc32(folder / name) == digits
        except OSError as error:
            raise RequestError(f"cannot read {folder / name}: {error.strerror or error}", fix) from error
        if not same:
            raise RequestError(f"{folder / name} is damaged: it does not match its checksum", fix)
    return about["content"]


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


def write_sealed_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON atomically, with a checksum."""
    rest = {key: value for key, value in content.items() if key != KEY}
    text = json.dumps({KEY: BLANK, **rest}, indent=2, ensure_ascii=False, default=str)
    write_bytes(path, sealed(f"{text}\n".encode()))


def read_sealed_json(path: Path, fix: str, excused: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """The object that :func:`write_sealed_json` wrote. RequestError if it is missing, invalid or damaged; ``fix`` and
    ``excused`` as of :func:`require_whole`."""
    raw = read_bytes(path)
    content = parse_json(path, raw, fix)
    require_whole(path, raw, fix, excused)
    content.pop(KEY, None)
    return content


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file that muomni wrote. Raises RequestError: it is missing or invalid."""
    return parse_json(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """A whole file of a run. Raises RequestError: it is missing or unreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror or error}", "is this a run folder?") from error


def parse_json(path: Path, raw: bytes, fix: str = "restore it, or train the run again") -> dict[str, Any]:
    """The object in the content of a JSON file. Raises RequestError: it is invalid."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path} is not valid JSON ({error})", fix) from error
    if not isinstance(content, dict):
        raise RequestError(f"{path} does not hold a JSON object", fix)
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

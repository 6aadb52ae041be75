"""Files of sources in an object store or on a web server: fetched once, several at a time, and kept in the cache.

Whatever fsspec reads can be named: ``s3://``, ``gs://``, ``https://`` (the extra ``data``; for s3 and gs the packages
s3fs and gcsfs, which find credentials where the stores' own programs do). A file is fetched again when its checksum,
time or size at the store changes. Its modification time in the cache stands for that state: data that was prepared from
a file stays valid when the same file is fetched again.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from muomni_cli.api import MuomniError, RequestError, console, files

AT_ONCE = 4  # files that are fetched together
MARKS = ("ETag", "etag", "Content-MD5", "md5Hash", "generation", "LastModified", "Last-Modified", "mtime", "created")
"""What stores say about the state of a file, the most exact first."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_MAGIC = re.compile(r"[*\[]")  # of a glob; a question mark begins the query of a URL
_SECONDS = 700_000_000  # modification times are even seconds, which every file system holds
Infos = dict[str, dict[str, Any]]  # path at the store -> what it says about the file


def is_url(path: str) -> bool:
    return _URL.match(path) is not None


def refuse(path: str, what: str) -> None:
    """RequestError if ``path`` is a URL; ``what`` names files beside itself: ``a manifest``."""
    if is_url(path):
        raise RequestError(
            f"{what} is read from disk, not from {path}",
            'pack its files into tar archives, which can be fetched whole: use = "tar"',
        )


def fetch(url: str, suffixes: Sequence[str], pattern: str, hidden: Any) -> tuple[list[Path], Counter[str]]:
    """The files that ``url`` names, in the cache and sorted by name, and how many of its folder are left out, by
    reason.

    Args:
        url: a file, a folder (searched through; of a web server: with a slash at the end), or a glob.
        suffixes: of the files of a folder, before ``.gz``.
        pattern: glob that the names of a folder's files match.
        hidden: tells by its name whether a folder's file is left out.

    Raises:
        RequestError: there are no such files, or a package for this kind of URL is missing.
        MuomniError: a file could not be fetched whole, or the cache cannot be written.
    """
    store, root, found, searched = _listed(url)
    chosen: Infos = {}
    left_out: Counter[str] = Counter()
    for path, info in found.items():
        name = path.removeprefix(root).lstrip("/")
        ending = PurePosixPath(name).suffix.lower()
        if info.get("type") == "directory" or not name or ".." in PurePosixPath(name).parts:
            continue
        if searched and hidden(name):
            left_out["hidden"] += 1
        elif searched and not name.lower().removesuffix(".gz").endswith(tuple(suffixes)):
            left_out[f"with the ending {ending}" if ending else "without an ending"] += 1
        elif searched and not fnmatchcase(name.rpartition("/")[2].lower(), pattern.lower()):
            left_out["not named as in pattern"] += 1
        else:
            chosen[name] = info
    if not chosen:
        raise RequestError(
            f"{url} names no {' or '.join(suffixes)} file",
            "correct the path in the recipe; a folder of a web server ends with a slash",
        )
    digest = hashlib.blake2b(f"{url.partition('://')[0]}://{root}".encode(), digest_size=12)
    folder = files.cache_folder() / "remote" / digest.hexdigest()
    return _kept(url, store, folder, chosen), left_out


def _listed(url: str) -> tuple[Any, str, Infos, bool]:
    """The file system of a URL, the path below which names count, the files there, and whether it is a folder that was
    searched through."""
    try:
        from fsspec.core import url_to_fs

        store, path = url_to_fs(os.path.expandvars(url))
        store.invalidate_cache()
        web = url.startswith(("http://", "https://"))
        magic = _MAGIC.search(path)
        if magic:
            return store, path[: magic.start()].rpartition("/")[0], store.glob(path, detail=True), False
        if url.endswith("/") or (not web and store.isdir(path)):
            return store, path.rstrip("/"), store.find(path, detail=True), True
        return store, path.rpartition("/")[0], {path: store.info(path)}, False
    except ImportError as error:
        reason = str(error).partition("\n")[0]
        raise RequestError(f"{url} cannot be read: {reason}", "pip install 'muomni[data]' and that package") from error
    except Exception as error:  # of whichever client: each store has its own
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        raise RequestError(
            f"{url} cannot be read: {reason}", "correct the path, or see to network and rights"
        ) from error


def _kept(url: str, store: Any, folder: Path, chosen: Infos) -> list[Path]:
    """The chosen files in ``folder``; those that are missing or have changed are fetched."""
    states = {}
    try:
        for name, info in sorted(chosen.items()):
            whole = info if info.get("size") is not None else {**store.info(info["name"]), "name": info["name"]}
            states[name] = whole
        missing = [name for name, info in states.items() if not _is_current(folder / name, info)]
        if missing:
            amount = console.size(sum(int(states[name].get("size") or 0) for name in missing))
            console.say(f"fetching {len(missing)} of {len(states)} files ({amount}) from {url}")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: _get(store, states[name], folder / name), missing))
    except MuomniError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        raise MuomniError(
            f"{url} cannot be fetched: {reason}", "see to the network, then run the command again: it keeps what it has"
        ) from error
    return [folder / name for name in states]


def _get(store: Any, info: Mapping[str, Any], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(target) as temporary:
        store.get_file(info["name"], str(temporary))
        held, told = temporary.stat().st_size, info.get("size")
        if told is not None and held != told:
            raise MuomniError(
                f"{info['name']} ended after {held:,} of {told:,} bytes", "run the command again: it keeps what it has"
            )
        os.utime(temporary, ns=(_time_of(info), _time_of(info)))


def _is_current(path: Path, info: Mapping[str, Any]) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    return state.st_mtime_ns == _time_of(info) and state.st_size == (info.get("size") or state.st_size)


def _time_of(info: Mapping[str, Any]) -> int:
    """A modification time (ns) that stands for the state of a file at the store."""
    mark = next((f"{name}={info[name]}" for name in MARKS if info.get(name)), "")
    digest = hashlib.blake2b(f"{mark} {info.get('size')}".encode(), digest_size=8)
    return 2_000_000_000 * (int.from_bytes(digest.digest()) % _SECONDS)

"""What shows that the files of a run are as they were written: the checksums inside them, or ``digests.json``.

Training seals ``model.json``, ``lock.json``, ``recipe.toml`` and checkpoints as :mod:`muomni_cli.core.checksums` says.
A run that is handed on has the SHA-256 of every file in ``digests.json``; a file without a checksum is accepted only
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muomni_cli.core.checksums import require_whole, rest_crc32, sealed, sha256
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json, write_json

DIGESTS = "digests.json"
FORMAT = 1  # of this file
AGAIN = "install the package again, or pack the model again"
TENSORS = "tensors"  # key, in the header of a checkpoint, of the checksum of what follows the header
BLANK = "crc32=00000000"  # its place, before it is known


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in ``folder``, except :data:`DIGESTS`, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / DIGESTS)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def write_digests(folder: Path) -> None:
    """Cover every file in ``folder`` as it is now."""
    write_json(folder / DIGESTS, {"format": FORMAT, "files": digests_of(folder)})


def read_digests(folder: Path) -> dict[str, str]:
    """What :func:`write_digests` wrote; empty if there is none. RequestError if it is damaged."""
    if not (folder / DIGESTS).is_file():
        return {}
    held = read_json(folder / DIGESTS)
    files = held.get("files")
    if held.get("format") != FORMAT or not isinstance(files, dict):
        raise RequestError(f"{folder / DIGESTS} is damaged, or of a newer muomni", AGAIN)
    return files


def verify(folder: Path) -> int:
    """Check every file in ``folder`` against its digest; returns their number. RequestError if any file or digest
    differs."""
    if not (folder / DIGESTS).is_file():
        raise RequestError(f"{folder} has no {DIGESTS}, so its files cannot be verified", AGAIN)
    wanted, there = read_digests(folder), digests_of(folder)
    for name in sorted(wanted.keys() | there.keys()):
        if name not in there:
            raise RequestError(f"{folder} is incomplete: {name} is missing", AGAIN)
        if name not in wanted:
            raise RequestError(f"{folder} has a file that does not belong there: {name}", "remove it")
        if there[name] != wanted[name]:
            raise RequestError(f"{folder / name} has changed since it was packed", AGAIN)
    return len(wanted)


def covered(path: Path, root: Path) -> bool:
    """Whether ``digests.json`` in the folder ``root`` of a run has the digest of ``path``. RequestError if the file
    differs."""
    digest = _listed(path, root)
    if digest is not None and sha256(path) != digest:
        raise RequestError(f"{path} has changed since it was packed", AGAIN)
    return digest is not None


def _listed(path: Path, root: Path) -> str | None:
    return read_digests(root).get(path.relative_to(root).as_posix()) if path.is_relative_to(root) else None


def _in_run(checkpoint: Path) -> tuple[Path, Path]:
    """The checkpoint, and the folder of its run."""
    path = checkpoint.absolute()
    return path, path.parent.parent


def seal_checkpoint(path: Path) -> None:
    """Fill in the checksums of a safetensors file whose header holds their places."""
    with path.open("r+b") as file:
        start = file.read(8)
        header = file.read(int.from_bytes(start, "little"))
        header = header.replace(BLANK.encode(), b"crc32=%08x" % rest_crc32(file), 1)
        file.seek(0)
        file.write(sealed(start + header))


def require_header(path: Path) -> None:
    """RequestError if the header of a checkpoint is damaged, or has no checksum and no digest."""
    with path.open("rb") as file:
        start = file.read(8)
        header = file.read(int.from_bytes(start, "little"))
    require_whole(path, start + header, way_back(path), lambda: _listed(*_in_run(path)) is not None)


def require_tensors(path: Path, header: Mapping[str, Any]) -> None:
    """RequestError if what follows ``header`` in a checkpoint is damaged, or has no checksum and no digest. Reads the
    file once, and not if its digest has been checked."""
    if covered(*_in_run(path)):
        return
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        if f"crc32={rest_crc32(file):08x}" != header.get(TENSORS):
            raise RequestError(f"{path} is damaged: it does not match its checksum", way_back(path))


def way_back(path: Path) -> str:
    """What to do about a damaged checkpoint."""
    others = sorted(other for other in path.parent.glob("*.safetensors") if other.stem in ("best", "last"))
    other = next((other for other in others if other != path), None)
    return f"name {other or 'another checkpoint'} with -m, or train the stage again with --force"

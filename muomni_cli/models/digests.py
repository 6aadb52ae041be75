"""Whether a run that a package carries is as it was packed: ``digests.json``, written and read. Knows files alone."""

from __future__ import annotations

from pathlib import Path

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json, write_json
from muomni_cli.runs.lock import fingerprint

DIGESTS = "digests.json"
FORMAT = 1
AGAIN = "install the package again, or pack the model again"


def seal(folder: Path) -> None:
    """Write the SHA-256 of every file in ``folder`` beside them."""
    files = {path.relative_to(folder).as_posix(): fingerprint(path) for path in _files(folder)}
    write_json(folder / DIGESTS, {"format": FORMAT, "files": files})


def verify(folder: Path) -> int:
    """Compare every file in ``folder`` with what was sealed; how many there are.

    Raises:
        RequestError: one is missing, changed or more, or it never was sealed.
    """
    if not (folder / DIGESTS).is_file():
        raise RequestError(f"{folder} has no {DIGESTS}, so nothing says that it is whole", AGAIN)
    held = read_json(folder / DIGESTS)
    wanted = held.get("files")
    if held.get("format") != FORMAT or not isinstance(wanted, dict):
        raise RequestError(f"{folder / DIGESTS} is damaged, or of a newer muomni", AGAIN)
    there = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    for name in sorted(wanted.keys() | there.keys()):
        if name not in there:
            raise RequestError(f"{folder} is not whole: {name} is missing", AGAIN)
        if name not in wanted:
            raise RequestError(f"{folder} has a file that does not belong there: {name}", "remove it")
        if fingerprint(there[name]) != wanted[name]:
            raise RequestError(f"{there[name]} is not what was packed", AGAIN)
    return len(wanted)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / DIGESTS)

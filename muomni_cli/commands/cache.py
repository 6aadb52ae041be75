"""``muomni cache``: prepared data that trainings keep for the next one."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.commands.options import JsonOption
from muomni_cli.core.console import print_json, print_table, say, size
from muomni_cli.core.errors import MuomniError
from muomni_cli.core.files import cache_folder
from muomni_cli.core.partial import is_abandoned

app = typer.Typer(no_args_is_help=True, help="Show and remove prepared data. Training prepares it again when needed.")

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder of prepared data."""

    kind: str  # shards, examples, conversations, speech
    path: Path
    bytes: int
    age: float  # seconds since it was written
    finished: bool  # False: an interrupted command left it, or a running one is writing it


def entries() -> list[Entry]:
    """What lies in the cache, by kind, newest first."""
    folders = [path for path in cache_folder().glob("*/*") if path.is_dir() and not path.is_symlink()]
    return sorted(map(_entry, folders), key=lambda entry: (entry.kind, entry.age))


def _entry(folder: Path) -> Entry:
    files = [path.lstat() for path in folder.rglob("*") if not path.is_dir()]
    written = max((status.st_mtime for status in files), default=folder.stat().st_mtime)
    held = sum(status.st_size for status in files)
    return Entry(folder.parent.name, folder, held, max(time.time() - written, 0), not folder.name.startswith("."))


@app.command("list")
def show(json: JsonOption = False) -> None:
    """List the prepared data by kind and age."""
    found = entries()
    if json:
        print_json([asdict(entry) | {"path": str(entry.path)} for entry in found])
        return
    if found:
        print_table(
            ("KIND", "FOLDER", "SIZE", "DAYS", ""),
            [
                (e.kind, e.path.name, size(e.bytes), f"{e.age / DAY:.1f}", "" if e.finished else "unfinished")
                for e in found
            ],
        )
    say(f"{cache_folder()}: {_sum(found)}")


def _sum(found: list[Entry]) -> str:
    return f"{len(found)} folder{'s' * (len(found) != 1)}, {size(sum(entry.bytes for entry in found))}"


@app.command()
def clean(
    older: Annotated[float, typer.Option(metavar="DAYS", min=0, help="Keep what is newer than this.")] = 0,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Remove only what interrupted commands left behind.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
) -> None:
    """Remove prepared data. Folders that a running command is writing stay."""
    found = [
        entry
        for entry in entries()
        if entry.age >= older * DAY and (not unfinished if entry.finished else is_abandoned(entry.path))
    ]
    if not dry_run:
        for entry in found:
            _remove(entry.path)
    say(f"{'would remove' if dry_run else 'removed'} {_sum(found)}")


def _remove(folder: Path) -> None:
    """Under a hidden name first: a training that starts now prepares the data again instead of reading half of them."""
    gone = folder.with_name(f".{folder.name.lstrip('.')}-removed")
    try:
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise MuomniError(
            f"cannot remove {folder}: {error.strerror or error}", "change its permissions, or remove it by hand"
        ) from error

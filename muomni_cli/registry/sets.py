"""Public datasets, and the paths of recipes that name them: variables, ``~`` and ``set:NAME``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from muomni_cli.contract.declarations import Download
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import data_folder
from muomni_cli.registry.registry import did_you_mean, get_registry

_NAME = r"[a-z0-9][a-z0-9_-]*"
REFERENCE = re.compile(rf"set:(?P<name>(?:{_NAME}:)?{_NAME})(?:/(?P<file>\S.*))?")  # in place of a path in a recipe
Keys = tuple[str | int, ...]  # path to a value in nested tables and lists
_VARIABLE = re.compile(r"\$(?:(?P<name>\w+)|\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\})")


@dataclass(frozen=True, slots=True)
class SetFile:
    """One file of a public dataset: the dataset's unique name ``use``, its declaration, and the file's ``path``
    relative to the data folder."""

    use: str
    download: Download
    path: str

    def places(self) -> Iterator[Path]:
        """Possible locations, in search order."""
        yield data_folder() / self.path
        yield from (Path(folder) / PurePosixPath(self.path).name for folder in self.download.system)
        if self.download.shipped:
            yield self.download.shipped

    def find(self) -> Path | None:
        """The first of :meth:`places` that exists."""
        return next((place for place in self.places() if place.is_file()), None)


def set_file(reference: str) -> SetFile:
    """The file that ``set:NAME`` or ``set:NAME/FILE`` refers to, present or not. Raises RequestError: unknown dataset,
    or no such file in it (with the nearest name)."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise RequestError(f"{reference!r} does not name a public dataset", "write set:NAME or set:NAME/FILE")
    registered = get_registry().download(match["name"])
    file, paths = match["file"], registered.part.paths
    if file is None and len(paths) == 1:
        return SetFile(registered.use, registered.part, paths[0])
    found = [path for path in paths if file and f"/{path}".endswith(f"/{file}")]
    if len(found) == 1:
        return SetFile(registered.use, registered.part, found[0])
    names = [PurePosixPath(path).name for path in paths]
    listed = f"one of: {', '.join(f'set:{registered.use}/{name}' for name in names)}"
    if file is None:
        raise RequestError(f"set:{registered.use} has {len(paths)} files", f"name {listed}")
    raise RequestError(f"the public dataset {registered.use} has no file {file!r}", did_you_mean(file, names, listed))


def references_in(value: Any, above: Keys = ()) -> Iterator[tuple[Keys, str]]:
    """Every ``set:...`` in nested tables and lists, with its path."""
    if isinstance(value, str):
        if REFERENCE.fullmatch(value):
            yield above, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from references_in(inner, (*above, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from references_in(inner, (*above, index))


def missing_error(missing: dict[str, Download]) -> RequestError:
    """``missing: speech-commands (2.4 GB), fsdd (12 MB)``."""
    listed = ", ".join(f"{use} ({size_text(download.size)})" for use, download in missing.items())
    return RequestError(f"missing: {listed}", get_command(missing))


def get_command(missing: Iterable[str]) -> str:
    return f"muomni data get {' '.join(missing)}"


def size_text(size: float) -> str:
    """Human-readable bytes: ``29 kB``, ``12 MB``, ``2.4 GB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale * 0.9995:
            value = size / scale
            return f"{value:.1f} {unit}" if value < 10 and unit != "kB" else f"{value:.0f} {unit}"
    return f"{size:.0f} bytes"


def expand_path(text: str) -> Path:
    """Expand a recipe's path: ``~``, ``$NAME``, ``${NAME}``, ``${NAME:-default}``, and ``set:NAME`` or
    ``set:NAME/FILE`` for a file of a public dataset. ``MUOMNI_DATA`` defaults to
    :func:`muomni_cli.core.files.data_folder`. RequestError: an unset variable without a default, or a dataset that is
    unknown or not downloaded; the fix is the command that downloads it."""
    if text.startswith("set:"):
        file = set_file(text)
        path = file.find()
        if path is None:
            raise missing_error({file.use: file.download})
        return path

    def value(match: re.Match[str]) -> str:
        name, default = match["name"] or match["braced"], match["default"]
        found = os.environ.get(name) or default
        if found is None and name == "MUOMNI_DATA":
            return str(data_folder())
        if found is None:
            raise RequestError(
                f"{text!r} needs the environment variable {name}, which is not set",
                f"set {name}, or write a default: ${{{name}:-DEFAULT}}",
            )
        return found

    return Path(_VARIABLE.sub(value, text)).expanduser()

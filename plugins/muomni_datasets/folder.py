"""Files in folders, at any depth: ``class/file``, or as the names and captions of the recipe's table say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from muomni_cli.api import Example, FileMedia, RequestError, expand_path
from muomni_datasets.examples_config import FolderConfig
from muomni_datasets.naming import Namer, read_beside, read_captions, safe_name
from muomni_datasets.reading import Notes


class Folder:
    """The examples of one folder, in the order of their names."""

    def __init__(self, config: FolderConfig) -> None:
        self._config = config
        self._namer = Namer(config)
        self._notes = Notes()

    @property
    def unreadable(self) -> dict[str, str]:
        return self._notes.unreadable

    @property
    def remarks(self) -> list[str]:
        return self._namer.remarks

    def files(self) -> list[Path]:
        return [self._root() / name for name in self._names()]

    def documents(self) -> Iterator[Example]:
        root = self._root()
        self._notes.forget(root)
        captions = self._captions(root)
        for name in self._names():
            modality = self._namer.modality(name)
            if modality is None:
                continue
            if safe_name(name) is None:
                self._notes.note(root, f"{name!r} is no name of printable text")
                continue
            media = FileMedia(modality, root / name)
            found = self._namer.example(name, media, str(root), captions, lambda beside: _read(root / beside))
            if isinstance(found, str):
                self._notes.note(root, found)
            elif found is not None:
                yield found

    def _root(self) -> Path:
        if not self._config.path:
            raise RequestError("a source of folders has no path", 'write path = "FOLDER" in its table')
        root = expand_path(self._config.path)
        if not root.is_dir():
            raise RequestError(
                f"there is no folder {root}", "correct the path in the recipe; relative paths start where you are"
            )
        return root

    def _names(self) -> Iterator[str]:
        """Every file below the root that is not hidden, relative to it. Links to folders are not followed: they may go
        round in circles."""
        root = self._root()
        for folder, below, names in os.walk(root):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for file in sorted(names):
                name = (Path(folder) / file).relative_to(root).as_posix()
                if file.startswith(".") or not (fnmatch(file, self._config.pattern) or self._is_aside(name)):
                    continue
                if (root / name).is_file():
                    yield name

    def _is_aside(self, name: str) -> bool:
        return name == self._config.captions or name.endswith((".txt", ".cls"))

    def _captions(self, root: Path) -> dict[str, str]:
        if not self._config.captions:
            return {}
        with FileMedia("", root / self._config.captions).open() as file:
            return read_captions(file, lambda reason: self._notes.note(root, reason))


def build(config: FolderConfig) -> Folder:
    """A source of files in folders."""
    return Folder(config)


def _read(path: Path) -> str | None:
    """A neighbour's text; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return read_beside(file)

"""Find and read files (folders, globs, gzip, text that is not UTF-8), and select validation data by expressions.

A file that cannot be read to its end is not fatal: what was read is used, and :attr:`Files.unreadable` reports the
reason, for ``muomni data check`` and for the log of a run.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from muomni_cli.api import RequestError, expand_path
from muomni_datasets.config import FilesConfig

PIECE = 1 << 20
"""Maximum characters of a piece of a document, which bounds memory."""


class Notes:
    """Problems per file: the first one, and their number."""

    def __init__(self) -> None:
        self._notes: dict[str, tuple[str, int]] = {}

    @property
    def unreadable(self) -> dict[str, str]:
        """Files that were not used completely, and why."""
        return {
            path: reason if count == 1 else f"{reason}, and {count - 1:,} more"
            for path, (reason, count) in self._notes.items()
        }

    def note(self, path: Path, reason: str) -> None:
        """Record that (part of) a file cannot be used."""
        first, count = self._notes.get(str(path), (reason, 0))
        self._notes[str(path)] = first, count + 1

    def forget(self, path: Path) -> None:
        """Clear the notes of a file before it is read again."""
        self._notes.pop(str(path), None)


class Files(Notes):
    """The files of one source. ``suffixes`` (before ``.gz``) select files in a folder; a file or glob in the config is
    used regardless of its suffix."""

    def __init__(self, config: FilesConfig, suffixes: tuple[str, ...]) -> None:
        super().__init__()
        self._config = config
        self._suffixes = suffixes

    def paths(self) -> list[Path]:
        """The files, sorted by name.

        Raises:
            RequestError: there are none.
        """
        if not self._config.path:
            raise RequestError("a source of files has no path", 'write path = "FILE, FOLDER or GLOB" in its table')
        path = expand_path(self._config.path)
        if path.is_file():
            return [path]
        if path.is_dir():
            found = [file for file in path.rglob(self._config.pattern) if file.is_file() and self._counts(file)]
            what = f"the folder {path} has no {' or '.join(self._suffixes)} file named {self._config.pattern}"
        else:
            found = [Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]
            what = f"there is no file, folder or glob {path}"
        if not found:
            raise RequestError(what, "correct the path in the recipe; relative paths start where the command is run")
        return sorted(found)

    def _counts(self, file: Path) -> bool:
        return not file.name.startswith(".") and file.name.removesuffix(".gz").endswith(self._suffixes)

    def lines(self, path: Path, longest: int = PIECE) -> Iterator[str]:
        """Lines of a UTF-8 file with their line ends; one longer than ``longest`` characters comes in pieces."""
        self.forget(path)
        try:
            # newline="\n" preserves carriage returns.
            with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n") as text:
                while line := text.readline(longest):
                    yield line
        except UnicodeDecodeError as error:
            self.note(path, f"not UTF-8 ({error.reason})")
        except (OSError, EOFError, zlib.error) as error:
            self.note(path, str(error) or type(error).__name__)


class FilesSource:
    """Base of sources that read :class:`Files`."""

    def __init__(self, files: Files, holdout: Holdout | None = None) -> None:
        self._files, self._holdout = files, holdout or Holdout(())

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    @property
    def remarks(self) -> list[str]:
        return self._holdout.remarks

    def files(self) -> list[Path]:
        return self._files.paths()


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def content_key(*texts: str) -> str:
    """A key for a document without a name: equal texts get equal keys and so land on the same side of the split."""
    digest = hashlib.blake2b(digest_size=12)
    for text in texts:
        digest.update(text.encode("utf-8") + b"\0")
    return digest.hexdigest()


def is_unicode(text: str) -> bool:
    """Whether it can be encoded as UTF-8; JSON may contain lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Holdout:
    """The regular expressions ``holdout`` of a source; ``of``, ``key`` or ``document``, names what they match in
    remarks."""

    def __init__(self, expressions: Sequence[str], of: str = "key") -> None:
        self._expressions = [re.compile(expression) for expression in expressions]
        self._unmatched = {expression.pattern: None for expression in self._expressions}
        self._of = of
        self._kept = self._held = 0

    def __bool__(self) -> bool:
        return bool(self._expressions)

    def finds(self, text: str) -> bool:
        """Whether one of the expressions matches ``text``."""
        found = [one.pattern for one in self._expressions if one.search(text)]
        for pattern in found:
            self._unmatched.pop(pattern, None)
        self._held += bool(found)
        self._kept += not found
        return bool(found)

    @property
    def remarks(self) -> list[str]:
        """Problems with the expressions, known after everything was read."""
        if self._held and not self._kept:
            every = ", ".join(repr(one.pattern) for one in self._expressions)
            return [f"holdout {every} matches every {self._of}, which leaves nothing to train on"]
        if not self._held and not self._kept:
            return []
        return [f"holdout {pattern!r} matches no {self._of}" for pattern in self._unmatched]

"""Questions and answers from a tab-separated file, or generated sums. Streams, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from muomni_cli.api import Conversation, Message, RequestError, expand_path, utf8_lines
from muomni_newpart.config import NewpartConfig


class Pairs:
    """A :class:`muomni_cli.api.Dataset` of conversations."""

    def __init__(self, config: NewpartConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        """The files that are read; muomni detects when they change."""
        if not self._config.path:
            return []
        path = expand_path(self._config.path)
        if not path.is_file():
            raise RequestError(f"there is no file {path}", "give path = a file of lines: question, tab, answer")
        return [path]

    def documents(self) -> Iterator[Conversation]:
        """One conversation per pair. Items with the same key stay on the same side of the split."""
        for question, answer in self._lines() if self._config.path else self._sums():
            yield Conversation((Message("user", question), Message("assistant", answer)), question, "newpart")

    def _lines(self) -> Iterator[tuple[str, str]]:
        (path,) = self.files()
        problems: list[str] = []

        def note(reason: str, line: str) -> None:
            problems.append(f"{line} {reason}")
            self.unreadable[str(path)] = f"{problems[0]} ({len(problems)} in all)"

        with path.open("rb") as file:
            for number, line in utf8_lines(file, note):  # a bad byte costs its line, not the file
                question, tab, answer = line.rstrip("\n").partition("\t")
                if tab and question and answer:
                    yield question, answer
                else:
                    note("is not: question, tab, answer", f"line {number}")

    def _sums(self) -> Iterator[tuple[str, str]]:
        numbers = range(self._config.largest + 1)
        yield from ((f"{one}+{other}?", str(one + other)) for one in numbers for other in numbers)


def sample(folder: Path) -> Mapping[str, Any]:
    """Write a sample file for `muomni plugins check`, and return the settings that read it."""
    path = folder / "pairs.tsv"
    path.write_text("".join(f"Who laid egg {n}?\tHen {n}.\n" for n in range(6)), encoding="utf-8")
    return {"path": str(path)}

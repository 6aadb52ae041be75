"""Tokenizers, sources, callbacks and runtimes that are wrong in one way each."""

# ruff: noqa: ARG001, ARG002 - the signatures are those of the protocols

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from muomni_cli.api import Document, PartConfig, RequestError
from muomni_text.byte_level import ByteTokenizer


class LosesCapitals(ByteTokenizer):
    """Reads everything in lower case."""

    def encode(self, text: str) -> list[int]:
        return super().encode(text.lower())


class OtherInABatch(ByteTokenizer):
    """Strips what it is given with others."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return super().encode_batch([text.strip() for text in texts])


class TakesSpecials(ByteTokenizer):
    """Text can end itself."""

    def encode(self, text: str) -> list[int]:
        pieces = [super(TakesSpecials, self).encode(piece) for piece in text.split("<|bos|>")]
        return list(itertools.chain.from_iterable([*([1, *piece] if n else piece)] for n, piece in enumerate(pieces)))


class LiesAboutBytes(ByteTokenizer):
    """All tokens are a question mark."""

    def token_bytes(self, token: int) -> bytes:
        return b"?" if super().token_bytes(token) else b""


def made(kind: type[ByteTokenizer]) -> Any:
    """What learns nothing and what opens it."""

    def make(config: PartConfig, given: Any) -> ByteTokenizer:
        return kind()

    return make


loses_capitals, other_in_a_batch = made(LosesCapitals), made(OtherInABatch)
takes_specials, lies_about_bytes = made(TakesSpecials), made(LiesAboutBytes)


def opens_another(config: PartConfig, folder: Path) -> ByteTokenizer:
    """Not the one that was saved."""
    return LosesCapitals()


def reads_a_text(config: PartConfig, texts: Iterator[str]) -> ByteTokenizer:
    """And learns nothing of it."""
    next(texts)
    return ByteTokenizer()


class Source:
    """Five documents."""

    unreadable: Mapping[str, str] = {}

    def __init__(self, config: PartConfig) -> None:
        self.begun = 0

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Document]:
        self.begun += 1
        yield from self.these()

    def these(self) -> Iterator[Document]:
        for number in range(5):
            yield Document(text=f"number {number}", key=str(number))


class OthersEachTime(Source):
    """Numbers go on."""

    def these(self) -> Iterator[Document]:
        for number in range(5):
            yield Document(text=f"number {number + self.begun}", key=str(number))


class OneReader(Source):
    """Two readers share one place."""

    def documents(self) -> Iterator[Document]:
        self.place = 0
        return self.these()

    def these(self) -> Iterator[Document]:
        while self.place < 5:
            yield Document(text=f"number {self.place}", key=str(self.place))
            self.place += 1


class NoKeys(Source):
    """Nothing tells sides apart."""

    def these(self) -> Iterator[Document]:
        yield Document(text="a", key="")


class NothingSaid(Source):
    """Blank lines."""

    def these(self) -> Iterator[Document]:
        yield Document(text=" ", key="blank")


def lines(folder: Path) -> Mapping[str, Any]:
    """A sample."""
    (folder / "a.txt").write_text("one\ntwo\nthree\n")
    return {"path": str(folder)}


class LinesOfFiles:
    """The lines of the text files of a folder."""

    errors = "ignore"
    pattern = "[!.]*.txt"

    def __init__(self, config: Any) -> None:
        self.folder, self.unreadable = Path(config.path), dict[str, str]()

    def files(self) -> list[Path]:
        found = sorted(self.folder.glob(self.pattern))
        if not found:
            raise RequestError("there is no file", "make one")
        return found

    def documents(self) -> Iterator[Document]:
        for path in self.files():
            for number, line in enumerate(self.read(path)):
                yield Document(text=line, key=f"{path.name} {number}")

    def read(self, path: Path) -> list[str]:
        return [line for line in path.read_text("utf-8", errors=self.errors).splitlines() if "\ufffd" not in line]


class ReadsHidden(LinesOfFiles):
    """And everything else."""

    pattern = "**/*.txt"


class StopsAtBadBytes(LinesOfFiles):
    """And loses the file."""

    errors = "strict"

    def read(self, path: Path) -> list[str]:
        try:
            return super().read(path)
        except UnicodeDecodeError:
            self.unreadable[str(path)] = "it is not UTF-8"
            return []


class ReplacesBadBytes(LinesOfFiles):
    """Without a word."""

    errors = "replace"


class AllAtOnce(Source):
    """A list."""

    def documents(self) -> Any:
        return list(self.these())


class AbsentFiles(Source):
    """Names what is not there."""

    def files(self) -> list[Path]:
        return [Path("nowhere") / "at all"]


class Follower:
    """A callback without an end."""

    def __init__(self, config: PartConfig) -> None: ...
    def on_start(self, context: Any) -> None: ...
    def on_log(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def on_checkpoint(self, step: int, path: Path) -> None: ...


class LastsOneStep(Follower):
    """Its end takes too little."""

    def on_end(self, step: int) -> None: ...


def opens_anything(config: PartConfig, folder: Path, device: str, threads: int | None) -> object:
    """A model of nothing."""
    return object()


def opens_with_a_bang(config: PartConfig, folder: Path, device: str, threads: int | None) -> object:
    """Damage is not told in words."""
    if not list(folder.iterdir()):
        raise RequestError("it is empty", "fill it")
    raise KeyError("format")

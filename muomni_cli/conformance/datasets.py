"""Conformance checks of datasets (:class:`muomni_cli.api.DatasetPart`, :class:`muomni_cli.api.Dataset`), and of the
``read`` function of encoders and codecs, which must reject invalid files with a helpful error.

A dataset that reads files is checked on its own ``sample``, one that generates its data on its test config.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from muomni_cli.conformance.common import SEED, refusal
from muomni_cli.contract.checks import Check, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.data import Conversation, Document, Example, Item, Preference, SpeechPreference
from muomni_cli.contract.declarations import PartConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.data.split import barren_because

NAME = "the-file.bin"  # name of test files
MOST = 200  # maximum number of documents that are checked


def junk() -> dict[str, bytes]:
    """Invalid file contents by description, some with valid magic bytes."""
    noise = np.random.default_rng(SEED).bytes(4096)
    return {
        "an empty file": b"",
        "one byte": b"\0",
        "zeros": bytes(4096),
        "random bytes": noise,
        "the head of a PNG file, then random bytes": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + noise,
        "the head of a WAV file, then random bytes": b"RIFF\xff\xff\xff\x7fWAVEfmt " + noise,
        "an open brace": b"{",
    }


def refuses_junk(subject: PartUnderTest) -> Sequence[Number]:
    """``read`` raises a RequestError for every file of :func:`junk`: two lines, the first of which names the file."""
    read = subject.find("read")
    for what, content in junk().items():
        error = refusal(
            what,
            partial(read, subject.config, io.BytesIO(content), NAME),
            lambda array: f"is read as an array of {getattr(array, 'shape', array)}",
        )
        check_that(NAME in error.what, f"the error for {what} does not name the file: {error.what}")
        check_that("\n" not in error.what + error.fix, f"the error for {what} has more than one line")
    return [Number("files refused", len(junk()))]


READING_LAWS = (
    Check(name="refuses", doc="read refuses what is no file of its sort with a RequestError that names the file",
        run=refuses_junk, depends_on=("references",)),
)  # fmt: skip


def source_of(subject: PartUnderTest) -> tuple[PartConfig, Path]:
    """The config of the dataset under test, and the folder of its files (empty if it has none)."""

    def make() -> tuple[PartConfig, Path]:
        folder = subject.folder()
        if getattr(subject.part, "sample", None) is None:
            return subject.config, folder
        written = subject.find("sample")(folder)
        check_that(any(folder.iterdir()), "sample writes no file")
        return subject.part.config(**{**subject.part.test_config, **written}), folder

    return subject.once("source", make)


def built(subject: PartUnderTest) -> Any:
    return subject.find("build")(source_of(subject)[0])


def documents(subject: PartUnderTest) -> list[Item]:
    """The first documents."""
    return subject.once("documents", lambda: list(islice(_begun(subject), MOST)))


def _begun(subject: PartUnderTest) -> Iterator[Item]:
    """Documents, lazily. CheckSkipped if it needs files and declares no sample."""
    try:
        found: Iterator[Item] = built(subject).documents()
        check_that(hasattr(found, "__next__"), f"documents gives a {type(found).__name__}, not an iterator")
        first = next(found, None)
    except RequestError as error:
        if getattr(subject.part, "sample", None) is None:
            raise CheckSkipped(f"it declares no sample, and without one: {error.what}") from error
        raise
    check_that(first is not None, "there are no documents")
    return chain([] if first is None else [first], found)


def gives(subject: PartUnderTest) -> Sequence[Number]:
    """Every item is a document, a conversation, an example or a pair, and complete."""
    found = documents(subject)
    for item in found:
        kind = type(item).__name__
        known = Document | Conversation | Example | Preference | SpeechPreference
        check_that(isinstance(item, known), f"it gives a {kind}")
        check_that(isinstance(item.key, str) and bool(item.key), f"a {kind} has the key {item.key!r}")
        check_that(item.split in (None, "train", "val"), f"a {kind} has the split {item.split!r}")
        if isinstance(item, Document):
            check_that(isinstance(item.text, str) and bool(item.text), f"a Document has the text {item.text!r}")
        if isinstance(item, Conversation):
            check_that(bool(item.messages), "a Conversation has no messages")
            roles = {message.role for message in item.messages}
            check_that(
                roles <= {"system", "user", "assistant"}, f"a Conversation has the roles {', '.join(sorted(roles))}"
            )
    lacking = [reason for reason in map(barren_because, found) if reason]
    check_that(len(lacking) < len(found), f"there is nothing to learn: {lacking[0] if lacking else ''}")
    return [Number("documents", len(found))]


def repeats(subject: PartUnderTest) -> Sequence[Number]:
    wanted = documents(subject)
    source = built(subject)
    list(islice(source.documents(), MOST))
    for which, again in (("the second time", source), ("built again", built(subject))):
        _require_equal(islice(again.documents(), MOST), wanted, which)
    return [Number("documents", len(wanted))]


def streams(subject: PartUnderTest) -> Sequence[Number]:
    """One reader waits after its first item while another reads everything."""
    wanted, source = documents(subject), built(subject)
    one, other = source.documents(), source.documents()
    ahead = list(islice(one, 1))
    behind = list(islice(other, MOST))
    _require_equal(iter([*ahead, *islice(one, MOST - 1)]), wanted, "read beside another reader")
    _require_equal(iter(behind), wanted, "read while another reader waits")
    return []


def _require_equal(made: Iterator[Item], wanted: Sequence[Item], when: str) -> None:
    for place, (one, other) in enumerate(zip_longest(made, wanted)):
        check_that(one is not None, f"{when} there are {place} documents instead of {len(wanted)}")
        check_that(other is not None, f"{when} there are more documents than {len(wanted)}")
        check_that(one == other, f"{when} document {place} is another one")


def files(subject: PartUnderTest) -> Sequence[Number]:
    """``files`` lists files that exist, at least one if there is a sample, and a full pass finds none unreadable."""
    documents(subject)
    source = built(subject)
    list(islice(source.documents(), MOST))
    named = source.files()
    check_that(isinstance(named, list), f"files gives a {type(named).__name__}")
    for path in named:
        check_that(isinstance(path, Path), f"files names {path!r}, not a Path")
        check_that(path.exists(), f"files names {path.name}, which is not there")
    check_that(isinstance(source.unreadable, Mapping), f"unreadable is a {type(source.unreadable).__name__}")
    check_that(not source.unreadable, f"unreadable files: {dict(source.unreadable)}")
    if getattr(subject.part, "sample", None) is not None:
        check_that(bool(named), "files is empty although the dataset reads files")
    return [Number("files", len(named))]


def hidden(subject: PartUnderTest) -> Sequence[Number]:
    """Copies of the sample's files under hidden names add nothing."""
    wanted, (_, folder) = documents(subject), source_of(subject)
    _require_sample(subject)
    own = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    with _kept(folder):
        for path in own:
            for place in (folder / ".hidden", folder / "__MACOSX", path.parent):
                place.mkdir(exist_ok=True)
                shutil.copyfile(path, place / (f"._{path.name}" if place == path.parent else path.name))
        _require_equal(islice(built(subject).documents(), MOST), wanted, "beside hidden files")
    return [Number("files", len(own))]


def damage(subject: PartUnderTest) -> Sequence[Number]:
    """One byte that is not UTF-8, in the last line of each text file of the sample, costs at most one item, and
    ``unreadable`` names the file."""
    wanted, (_, folder) = documents(subject), source_of(subject)
    _require_sample(subject)
    texts = [path for path in built(subject).files() if folder in path.parents and _is_text(path)]
    if not texts:
        raise CheckSkipped("its sample has no text file of several lines")
    for path in texts:
        with _kept(folder):
            lines = path.read_bytes().rstrip(b"\n").split(b"\n")
            lines[-1] = lines[-1][: len(lines[-1]) // 2] + b"\xff" + lines[-1][len(lines[-1]) // 2 :]
            path.write_bytes(b"\n".join(lines) + b"\n")
            source = built(subject)
            left = list(islice(source.documents(), MOST))
            kept = sum(item in left for item in wanted)
            check_that(kept >= len(wanted) - 1, f"a bad byte in {path.name} leaves {kept} of {len(wanted)} items")
            check_that(kept == len(wanted) or bool(source.unreadable), f"a bad byte in {path.name} is in no unreadable")
    return [Number("files", len(texts))]


def _is_text(path: Path) -> bool:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return False
    return "\n" in text.rstrip() and all(line.replace("\t", " ").isprintable() for line in text.splitlines())


def _require_sample(subject: PartUnderTest) -> None:
    if getattr(subject.part, "sample", None) is None:
        raise CheckSkipped("it declares no sample, so it reads no files")


@contextmanager
def _kept(folder: Path) -> Iterator[None]:
    """Restores a folder at the end."""
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        try:
            yield
        finally:
            shutil.rmtree(folder)
            shutil.copytree(aside, folder)


def refuses(subject: PartUnderTest) -> Sequence[Number]:
    _, folder = source_of(subject)
    _require_sample(subject)
    aside = subject.folder() / "aside"
    shutil.move(folder, aside)
    try:
        refusal("a missing file", lambda: list(islice(built(subject).documents(), MOST)))
    finally:
        shutil.move(aside, folder)
    return []


CHECKS = (
    Check(name="gives", doc="documents, conversations or examples, each with a key, and something to learn", run=gives,
        depends_on=("references",)),
    Check(name="repeats", doc="every pass gives the same documents in the same order", run=repeats,
        depends_on=("gives",)),
    Check(name="streams", doc="concurrent readers do not affect each other", run=streams,
        depends_on=("gives", "repeats")),
    Check(name="files", doc="files lists what it reads, and none of it is unreadable", run=files,
        depends_on=("gives",)),
    Check(name="hidden", doc="hidden files and folders are not read", run=hidden, depends_on=("gives", "repeats")),
    Check(name="damage", doc="a byte that is not UTF-8 costs one item, and is reported", run=damage,
        depends_on=("gives", "repeats", "files")),
    Check(name="refuses", doc="files that are not there are a RequestError", run=refuses, depends_on=("gives",)),
)  # fmt: skip

"""Checks for what reads files: :class:`muomni_cli.api.DatasetPart` and :class:`muomni_cli.api.Dataset`, and the
``read`` function of encoders and codecs, which must refuse other files with an error that says why.

A source that reads files is tried on its own ``sample``; one that makes its data, on its small config.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from muomni_cli.conformance.part_under_test import SEED
from muomni_cli.contract.checks import Check, CheckFailed, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.data import Conversation, Document, Example, Item
from muomni_cli.contract.declarations import PartConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.loading import describe

NAME = "the-file.bin"
"""What files are called."""

MOST = 200
"""Documents that are looked at."""


def junk() -> dict[str, bytes]:
    """Bytes that nobody can take for anything, by what to call them; and the beginnings of what somebody could."""
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
    """Each, with an error that names the file and says what to do."""
    read = subject.find("read")
    for what, content in junk().items():
        try:
            made = read(subject.config, io.BytesIO(content), NAME)
        except RequestError as error:
            check_that(NAME in error.what, f"what it says of {what} does not name the file: {error.what}")
            check_that(bool(error.fix), f"it does not say what to do about {what}: {error.what}")
            check_that("\n" not in error.what + error.fix, f"what it says of {what} takes more than a line each")
        except Exception as error:
            raise CheckFailed(f"{what} raises {describe(error)}, not a RequestError") from error
        else:
            raise CheckFailed(f"{what} is read as an array of {getattr(made, 'shape', made)}")
    return [Number("files refused", len(junk()))]


READING_LAWS = (
    Check(
        name="refuses",
        doc="read refuses what is no file of its sort with a RequestError that names the file",
        run=refuses_junk,
        depends_on=("references",),
    ),
)


def source_of(subject: PartUnderTest) -> tuple[PartConfig, Path]:
    """The config that the source is tried with, and the folder of its files, empty if it has none."""
    return subject.once("source", lambda: _source(subject))


def _source(subject: PartUnderTest) -> tuple[PartConfig, Path]:
    folder = subject.folder()
    if getattr(subject.part, "sample", None) is None:
        return subject.config, folder
    written = subject.find("sample")(folder)
    check_that(any(folder.iterdir()), "sample writes no file")
    return subject.part.config(**{**subject.part.test_config, **written}), folder


def built(subject: PartUnderTest) -> Any:
    """The source, anew."""
    return subject.find("build")(source_of(subject)[0])


def documents(subject: PartUnderTest) -> list[Item]:
    """The first of its documents."""
    return subject.once("documents", lambda: list(islice(_begun(subject), MOST)))


def _begun(subject: PartUnderTest) -> Iterator[Item]:
    """Its documents. Inapplicable where it wants files and declares no sample."""
    try:
        found: Iterator[Item] = built(subject).documents()
        check_that(
            hasattr(found, "__next__"), f"documents gives a {type(found).__name__}, which holds all of them at once"
        )
        first = next(found, None)
    except RequestError as error:
        if getattr(subject.part, "sample", None) is None:
            raise CheckSkipped(f"it declares no sample, and without: {error.what}") from error
        raise
    check_that(first is not None, "there is no document at all")
    return _after(first, found)


def _after(first: Item | None, rest: Iterator[Item]) -> Iterator[Item]:
    if first is not None:
        yield first
    yield from rest


def gives(subject: PartUnderTest) -> Sequence[Number]:
    """The first of them."""
    found = documents(subject)
    for item in found:
        kind = type(item).__name__
        check_that(isinstance(item, Document | Conversation | Example), f"it gives a {kind}")
        check_that(isinstance(item.key, str) and bool(item.key), f"a {kind} has the key {item.key!r}")
        check_that(item.split in (None, "train", "val"), f"a {kind} is for the side {item.split!r}")
        if isinstance(item, Document):
            check_that(isinstance(item.text, str) and bool(item.text), f"a Document has the text {item.text!r}")
        if isinstance(item, Conversation):
            check_that(bool(item.messages), "a Conversation has no messages")
            roles = {message.role for message in item.messages}
            check_that(
                roles <= {"system", "user", "assistant"}, f"a Conversation has the roles {', '.join(sorted(roles))}"
            )
    return [Number("documents", len(found))]


def repeats(subject: PartUnderTest) -> Sequence[Number]:
    """Again from the same source, and from another of the same config."""
    wanted = documents(subject)
    source = built(subject)
    list(islice(source.documents(), MOST))
    for which, again in (("the second time", source), ("built again", built(subject))):
        _require_equal(islice(again.documents(), MOST), wanted, which)
    return [Number("documents", len(wanted))]


def streams(subject: PartUnderTest) -> Sequence[Number]:
    """Two readers at a time, one of them behind."""
    wanted, source = documents(subject), built(subject)
    one, other = source.documents(), source.documents()
    ahead = list(islice(one, 1))
    behind = list(islice(other, MOST))
    _require_equal(iter([*ahead, *islice(one, MOST - 1)]), wanted, "read beside another reader")
    _require_equal(iter(behind), wanted, "read while another reader waits")
    return []


def _require_equal(made: Iterator[Item], wanted: Sequence[Item], when: str) -> None:
    for place, (one, other) in enumerate(zip_longest(made, wanted)):
        check_that(one is not None, f"{when} there are {place} documents, and there were {len(wanted)}")
        check_that(other is not None, f"{when} there are more documents than {len(wanted)}")
        check_that(one == other, f"{when} document {place} is another one")


def files(subject: PartUnderTest) -> Sequence[Number]:
    """And what it could not use."""
    documents(subject)
    source = built(subject)
    list(islice(source.documents(), MOST))
    named = source.files()
    check_that(isinstance(named, list), f"files gives a {type(named).__name__}")
    for path in named:
        check_that(isinstance(path, Path), f"files names {path!r}, which is no Path")
        check_that(path.exists(), f"files names {path.name}, which is not there")
    check_that(isinstance(source.unreadable, Mapping), f"unreadable is a {type(source.unreadable).__name__}")
    check_that(not source.unreadable, f"of what it was given it cannot use {dict(source.unreadable)}")
    if getattr(subject.part, "sample", None) is not None:
        check_that(bool(named), "it reads files and names none")
    return [Number("files", len(named))]


def refuses(subject: PartUnderTest) -> Sequence[Number]:
    """Its files, when they are gone."""
    config, folder = source_of(subject)
    if getattr(subject.part, "sample", None) is None:
        raise CheckSkipped("it declares no sample, so it reads no files")
    aside = subject.folder() / "aside"
    shutil.move(folder, aside)
    try:
        list(islice(subject.find("build")(config).documents(), MOST))
    except RequestError as error:
        check_that(bool(error.fix), f"it does not say what to do: {error.what}")
    except Exception as error:
        raise CheckFailed(f"files that are gone raise {describe(error)}, not a RequestError") from error
    else:
        raise CheckFailed("files that are gone are no mistake to it")
    finally:
        shutil.move(aside, folder)
    return []


CHECKS = (
    Check(name="gives", doc="documents, conversations or examples, each with a key", run=gives,
        depends_on=("references",)),
    Check(name="repeats", doc="it gives the same documents in the same order each time", run=repeats,
        depends_on=("gives",)),
    Check(name="streams", doc="readers at the same time do not disturb each other", run=streams,
        depends_on=("gives", "repeats")),
    Check(name="files", doc="files names what it reads, and nothing of it is unreadable", run=files,
        depends_on=("gives",)),
    Check(name="refuses", doc="files that are not there are a RequestError", run=refuses, depends_on=("gives",)),
)  # fmt: skip

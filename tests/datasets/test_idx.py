"""IDX files: what comes out is what was put in, and what is wrong with a file is said in one line."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from muomni_cli.api import RequestError
from muomni_datasets.archives import Idx
from muomni_datasets.config import IdxConfig

PIXELS = bytes(range(24))


def idx(*shape: int, content: bytes, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + content


def open_idx(folder: Path, images: bytes, labels: bytes, **config: Any) -> Idx:
    (folder / "images").write_bytes(images)
    (folder / "labels").write_bytes(labels)
    return Idx(IdxConfig(images=str(folder / "images"), labels=str(folder / "labels"), **config))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_pictures_and_labels(pack: Any, tmp_path: Path) -> None:
    images, labels = idx(2, 3, 4, content=PIXELS), idx(2, content=b"\1\0")
    source = open_idx(tmp_path, pack(images), pack(labels), classes=["a bag", "T-shirt"], split="val")
    examples = list(source.documents())
    assert [(e.label, e.text, e.split) for e in examples] == [("T-shirt", "T-shirt", "val"), ("a bag", "a bag", "val")]
    assert len({e.key for e in examples}) == 2
    for example in pickle.loads(pickle.dumps(examples)):
        with Image.open(example.media.open()) as picture:
            assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (4, 3))
            at = 12 * example.media.index
            assert picture.tobytes() == PIXELS[at : at + 12]
    assert source.files() == [tmp_path / "images", tmp_path / "labels"]
    assert list(source.documents()) == examples


def test_labels_without_a_name_are_noted(tmp_path: Path) -> None:
    source = open_idx(tmp_path, idx(2, 3, 4, content=PIXELS), idx(2, content=b"\1\0"), classes=["only"])
    assert [example.label for example in source.documents()] == ["only"]
    assert "label 1 has no name" in source.unreadable[str(tmp_path / "labels")]


GOOD = idx(2, 3, 4, content=PIXELS)
NAMED = idx(2, content=b"\1\0")


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (NAMED, GOOD, "no IDX file of gray pictures"),
        (b"", NAMED, "is empty"),
        (b"\0\0", NAMED, "no IDX file"),
        (idx(2, 3, 4, content=PIXELS, kind=13), NAMED, "no IDX file"),
        (GOOD[:-1], NAMED, "should hold 24 bytes after its header, and holds 23"),
        (GOOD + b"\0", NAMED, "holds more"),
        (idx(2**32 - 1, 2**32 - 1, 4, content=PIXELS), NAMED, "can be read"),
        (idx(0, 3, 4, content=b""), NAMED, "0 bytes"),
        (gzip.compress(GOOD, mtime=0)[:-9], NAMED, "cannot be read"),
        (GOOD, idx(3, content=b"\1\0\1"), "2 pictures"),
    ],
)
def test_what_is_wrong_is_said(images: bytes, labels: bytes, words: str, tmp_path: Path) -> None:
    source = open_idx(tmp_path, images, labels)
    with pytest.raises(RequestError) as caught:
        list(source.documents())
    assert words in f"{caught.value.what} {caught.value.fix}"
    assert "\n" not in caught.value.what


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="needs images and labels"):
        Idx(IdxConfig()).files()
    for look in (Idx.files, lambda source: list(source.documents())):
        with pytest.raises(RequestError, match="cannot read"):
            look(Idx(IdxConfig(images=str(tmp_path / "a"), labels=str(tmp_path / "b"))))

"""Shards that the package webdataset writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import Example, RequestError
from muomni_datasets.formats_config import WebDatasetConfig
from muomni_datasets.webdataset import WebDataset, ranged

webdataset = pytest.importorskip("webdataset", reason="needs: pip install webdataset")


def write(path: Path, *samples: Mapping[str, Any]) -> Path:
    with webdataset.TarWriter(str(path)) as writer:
        for number, sample in enumerate(samples):
            writer.write({"__key__": f"{path.stem}/{number:06}", **sample})
    return path


def read(**settings: Any) -> tuple[WebDataset, list[Any]]:
    source = WebDataset(WebDatasetConfig(**settings))
    found = list(source.documents())
    assert found == list(source.documents())
    return source, found


def test_samples_are_those_that_webdataset_reads(tmp_path: Path, png: bytes) -> None:
    path = write(tmp_path / "a.tar", *({"png": png, "txt": f"text {number}", "cls": number % 2} for number in range(5)))
    _, found = read(path=str(path), classes=("cat", "dog"))
    with path.open("rb") as file:  # its WebDataset() leaves shards open
        members = webdataset.tariterators.tar_file_expander([{"url": str(path), "stream": file}])
        theirs = list(webdataset.tariterators.group_by_keys(members))
    assert len(found) == len(theirs) == 5
    for ours, sample in zip(found, theirs, strict=True):
        assert isinstance(ours, Example)
        with ours.media.open() as file:
            assert file.read() == sample["png"]
        assert (ours.key, ours.text.encode()) == (sample["__key__"], sample["txt"])
        assert ours.label == ("cat", "dog")[int(sample["cls"])]


def test_values_come_from_json(tmp_path: Path) -> None:
    rows = [{"flac": b"x", "json": {"text": f"said {n}", "by": {"name": f"speaker {n % 2}"}}} for n in range(4)]
    path = write(tmp_path / "a.tar", *rows)
    _, found = read(path=str(path), modality="audio", key="json.by.name", voice="json.by.name")
    assert [(one.text, one.key, one.voice) for one in found] == [
        (f"said {number}", f"speaker {number % 2}", f"speaker {number % 2}") for number in range(4)
    ]
    _, texts = read(path=str(path), modality="")
    assert [one.text for one in texts] == [f"said {number}" for number in range(4)]


def test_fields_with_several_dots_and_of_other_modalities(tmp_path: Path, png: bytes) -> None:
    path = write(tmp_path / "a.tar", {"seg.png": b"mask", "png": png, "txt": "one"}, {"left.csv": b"1,2", "txt": "two"})
    source, found = read(path=str(path))
    with found[0].media.open() as file:
        assert file.read() == png
    assert [one.text for one in found] == ["one"]
    assert source.left_out == {"samples without image": 1}
    _, other = read(path=str(path), modality="signal", media=("left.csv",))
    assert [one.text for one in other] == ["two"]
    with pytest.raises(RequestError, match="the files of signal in a sample have no known extension"):
        read(path=str(path), modality="signal")


def test_a_range_of_shards(tmp_path: Path, png: bytes) -> None:
    for number in range(3):
        write(tmp_path / f"s-{number:03}.tar", {"png": png, "txt": str(number)})
    _, found = read(path=str(tmp_path / "s-{000..001}.tar"))
    assert [one.text for one in found] == ["0", "1"]
    assert len(read(path=str(tmp_path))[1]) == 3
    with pytest.raises(RequestError, match=r"1 of 4 shards are missing: .*s-003.tar"):
        read(path=str(tmp_path / "s-{000..003}.tar"))
    assert ranged("a{1..2}/{08..10}.tar") == [f"a{one}/{two}.tar" for one in (1, 2) for two in ("08", "09", "10")]
    with pytest.raises(RequestError, match="in rising order") as caught:
        ranged("{3..1}")
    assert caught.value.fix


def test_what_cannot_be_used_is_named(tmp_path: Path, png: bytes) -> None:
    path = write(
        tmp_path / "a.tar",
        {"png": png},
        {"png": png, "cls": 7},
        {"png": png, "json": b"{"},
        {"png": png, "txt": "fine"},
    )
    source, found = read(path=str(path), classes=("cat",))
    assert [one.text for one in found] == ["fine"]
    said = source.unreadable[str(path)]
    assert "a/000000 has neither text nor label (it has png)" in said
    assert "a/000001 has a class that has no name ('7')" in said
    assert "a/000002.json is not JSON" in said
    packed = write(tmp_path / "b.tar.gz", {"png": png, "txt": json.dumps("x")})
    with pytest.raises(RequestError, match="is compressed"):
        read(path=str(packed))

"""Tables and the layouts of LJSpeech, Common Voice, LibriSpeech and COCO captions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import Example, FileMedia, RequestError
from muomni_datasets.corpora import CocoCaptions, CommonVoice, Csv, LibriSpeech, LJSpeech
from muomni_datasets.formats_config import (
    CocoCaptionsConfig,
    CommonVoiceConfig,
    CsvConfig,
    LibriSpeechConfig,
    LJSpeechConfig,
)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def examples(source: Any) -> list[Example]:
    found = list(source.documents())
    assert all(isinstance(item, Example) for item in found)
    assert found == list(source.documents()), "every pass gives the same"
    return found


def test_a_table_that_python_wrote_comes_back(tmp_path: Path) -> None:
    texts = ['He said "no", twice', "two\nlines", "plain", "naïve"]
    for name, delimiter in (("a.csv", ","), ("b.tsv", "\t"), ("c.csv", ";")):
        with (tmp_path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(["id", "text", "split"])
            writer.writerows([number, text, ("train", "test")[number % 2]] for number, text in enumerate(texts))
        source = Csv(CsvConfig(path=str(tmp_path / name), delimiter=";" if delimiter == ";" else ""))
        found: list[Any] = list(source.documents())
        assert [item.text for item in found] == texts
        assert [item.split for item in found] == ["train", "val", "train", "val"]
        assert source.unreadable == {}


def test_a_table_of_files_gives_examples(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "a" / "2.png", tmp_path / "a" / "3.png")
    rows = [
        "picture,caption,class,who",
        "a/1.png,A cat.,cat,anna",
        "a/2.png,,wild_dog,",
        "a/4.png,gone,,",
        "a/1.png,,,",
    ]
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    config = CsvConfig(
        path=str(tmp_path / "list.csv"), modality="image", file="picture", text="caption", label="class", voice="who"
    )
    source = Csv(config)
    one, two = examples(source)
    assert one == Example(
        FileMedia("image", tmp_path / "a" / "1.png"),
        "A cat.",
        "a/1.png",
        "cat",
        str(tmp_path / "list.csv"),
        None,
        "anna",
    )
    assert (two.text, two.label) == ("wild dog", "wild_dog")
    assert "line 4 names a file that does not exist" in source.unreadable[str(tmp_path / "list.csv")]
    assert "line 5 has neither text nor label" in source.unreadable[str(tmp_path / "list.csv")]
    assert source.left_out == {"that no list names": 1}
    assert source.files() == [tmp_path / "list.csv", tmp_path / "a" / "1.png", tmp_path / "a" / "2.png"]


def test_wrong_tables_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('name,body\n1,"good"\n2,bad,worse\n3,"""ok"""\n')
    source = Csv(CsvConfig(path=str(path)))
    assert list(source.documents()) == []
    assert "has no column text (it has name, body)" in source.unreadable[str(path)]
    source = Csv(CsvConfig(path=str(path), text="body"))
    assert [getattr(item, "text", "") for item in source.documents()] == ["good", '"ok"']
    assert "line 3 has another number of values than 2 (3)" in source.unreadable[str(path)]
    with pytest.raises(RequestError, match="columns names no text"):
        list(Csv(CsvConfig(path=str(path), columns=("a", "b"))).documents())
    named = Csv(CsvConfig(path=str(path), columns=("id", "text")))
    assert [getattr(item, "text", "") for item in named.documents()] == ["body", "good", '"ok"']


def test_ljspeech(tmp_path: Path) -> None:
    touch(*(tmp_path / "wavs" / f"LJ001-000{number}.wav" for number in range(4)), tmp_path / "wavs" / "LJ001-0004.flac")
    rows = ['LJ001-0000|It was "1 of 2|It was "one of two', "LJ001-0001|Yes.|", "LJ001-0002|No.", "LJ001-0004|So.|So."]
    (tmp_path / "metadata.csv").write_text("\n".join([*rows, "LJ001-0009|Gone.|Gone.", "broken"]) + "\n")
    source = LJSpeech(LJSpeechConfig(path=str(tmp_path), voice="linda", split="train"))
    found = examples(source)
    assert [item.text for item in found] == ['It was "one of two', "Yes.", "No.", "So."]
    assert [Path(item.media.name).suffix for item in found] == [".wav", ".wav", ".wav", ".flac"]
    assert {(item.voice, item.split) for item in found} == {("linda", "train")}
    assert len({item.key for item in found}) == 4
    said = source.unreadable[str(tmp_path / "metadata.csv")]
    assert "line 5 names a file that does not exist" in said
    assert "line 6 is not NAME|TEXT" in said
    assert source.left_out == {"that no list names": 1}
    written = LJSpeech(LJSpeechConfig(path=str(tmp_path / "metadata.csv"), normalized=False))
    assert examples(written)[0].text == 'It was "1 of 2'


def test_common_voice_keeps_speakers_on_one_side(tmp_path: Path) -> None:
    titles = "client_id\tpath\tsentence_id\tsentence\tup_votes"
    for name, speaker in (("train", "a"), ("dev", "b"), ("test", "c"), ("invalidated", "d"), ("validated", "a")):
        row = f'{speaker}\tcv_{speaker}.mp3\t0\t"Oh," he said.\t2'
        (tmp_path / f"{name}.tsv").write_text(f"{titles}\n{row}\n")
        touch(tmp_path / "clips" / f"cv_{speaker}.mp3")
    source = CommonVoice(CommonVoiceConfig(path=str(tmp_path)))
    found = examples(source)
    assert [(item.key, item.voice, item.split) for item in found] == [("b", "b", "val"), ("a", "a", "train")]
    assert {item.text for item in found} == {'"Oh," he said.'}
    (checked,) = examples(CommonVoice(CommonVoiceConfig(path=str(tmp_path), lists=("validated",))))
    assert (checked.key, checked.split) == ("a", None)
    with pytest.raises(RequestError, match="has no list other") as caught:
        list(CommonVoice(CommonVoiceConfig(path=str(tmp_path), lists=("other",))).documents())
    assert '"validated"' in caught.value.fix
    assert examples(CommonVoice(CommonVoiceConfig(path=str(tmp_path / "test.tsv"))))[0].split == "val"


def test_librispeech(tmp_path: Path) -> None:
    for reader, chapter in ((19, 198), (26, 495)):
        folder = tmp_path / str(reader) / str(chapter)
        touch(*(folder / f"{reader}-{chapter}-000{number}.flac" for number in range(2)))
        rows = [f"{reader}-{chapter}-000{number} CHAPTER ONE" for number in range(2)]
        (folder / f"{reader}-{chapter}.trans.txt").write_text("\n".join(rows) + "\n")
    source = LibriSpeech(LibriSpeechConfig(path=str(tmp_path), split="val"))
    found = examples(source)
    assert [(item.key, item.voice, item.text, item.split) for item in found] == [
        (reader, reader, "chapter one", "val") for reader in ("19", "19", "26", "26")
    ]
    assert source.unreadable == {}
    assert examples(LibriSpeech(LibriSpeechConfig(path=str(tmp_path), lower=False)))[0].text == "CHAPTER ONE"


def test_captions_of_one_picture_share_a_key(tmp_path: Path) -> None:
    touch(tmp_path / "val2017" / "0001.jpg", tmp_path / "val2017" / "0002.jpg")
    annotations: list[Any] = [
        {"id": 1, "image_id": 7, "caption": "A cat \n on a mat. "}, {"id": 2, "image_id": 7, "caption": "A mat."},
        {"id": 3, "image_id": 9, "caption": "A dog."}, {"id": 4, "image_id": 8, "caption": "Lost."}, {"id": 5},
    ]  # fmt: skip
    images = [{"id": 7, "file_name": "0001.jpg"}, {"id": 9, "file_name": "0002.jpg"}]
    path = tmp_path / "annotations" / "captions_val2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": annotations}))
    (path.parent / "instances_val2017.json").write_text("{}")
    source = CocoCaptions(CocoCaptionsConfig(path=str(path.parent)))
    found = examples(source)
    assert [(item.key, item.text) for item in found] == [
        ("0001.jpg", "A cat on a mat."), ("0001.jpg", "A mat."), ("0002.jpg", "A dog."),
    ]  # fmt: skip
    said = source.unreadable[str(path)]
    assert "annotation 4 is about a picture that is not listed" in said
    assert "annotation 5 has no caption" in said
    elsewhere = CocoCaptions(CocoCaptionsConfig(path=str(path), images=str(tmp_path)))
    assert list(elsewhere.documents()) == []
    path.write_text("[]")
    assert list(source.documents()) == []
    assert source.unreadable == {str(path): "has no lists images and annotations"}

"""Examples from manifests, folders and archives: what becomes of names, and of what is not as it should be."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from muomni_cli.api import Example, RequestError
from muomni_datasets.archives import Tar
from muomni_datasets.config import FolderConfig, ManifestConfig, TarConfig
from muomni_datasets.labeled_files import Folder, Manifest, read_captions

MakeTar = Callable[..., Path]
TREE = {"cat/b.png": b"1", "cat/a.png": b"2", "big_dog/x.JPG": b"3", "big_dog/notes.txt": b"no", "README.md": b"no"}


def plant(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def content(example: Example) -> bytes:
    with example.media.open() as file:
        return file.read()


def told(examples: list[Example]) -> list[tuple[str | None, str, str]]:
    return [(example.label, example.text, example.key) for example in examples]


def test_folders_and_archives_tell_the_same(tmp_path: Path, make_tar: MakeTar) -> None:
    plant(tmp_path / "tree", TREE)
    folder = Folder(FolderConfig(path=str(tmp_path / "tree")))
    archive = Tar(TarConfig(path=str(make_tar("a.tar", dict(sorted(TREE.items()))))))
    for source in (folder, archive):
        examples = list(source.documents())
        assert told(examples) == [
            ("big_dog", "big dog", "big_dog/x.JPG"),
            ("cat", "cat", "cat/a.png"),
            ("cat", "cat", "cat/b.png"),
        ]
        assert [content(example) for example in examples] == [b"3", b"2", b"1"]
        assert {example.media.modality for example in examples} == {"image"}
        assert list(source.documents()) == examples == pickle.loads(pickle.dumps(examples))
        assert source.unreadable == {}
        assert all(path.is_file() for path in source.files())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"name": r"(?P<label>\d)_(?P<key>[a-z]+)_", "names": {"0": "zero"}, "holdout": ["^ann$"]},
            [("zero", "zero", "ann", "val"), ("1", "1", "ann", "val"), ("zero", "zero", "bob", "train")],
        ),
        ({"name": r"(?P<label>\d)_", "labels": ["1"]}, [("1", "1", "1_ann_0.wav", None)]),
        ({"name": r"(?P<text>\d)_", "exclude": ["ann"]}, [(None, "0", "0_bob_0.wav", None)]),
    ],
)
def test_names_say_label_text_key_and_side(config: dict[str, Any], expected: list[Any], make_tar: MakeTar) -> None:
    path = make_tar("a.tar", {"0_ann_0.wav": b"x", "1_ann_0.wav": b"x", "0_bob_0.wav": b"x"})
    examples = list(Tar(TarConfig(path=str(path), **config)).documents())
    assert [(e.label, e.text, e.key, e.split) for e in examples] == expected
    splits: dict[str, set[str | None]] = {}
    for example in examples:
        splits.setdefault(example.key, set()).add(example.split)
    assert all(len(found) == 1 for found in splits.values())


def test_captions_and_neighbors(tmp_path: Path, make_tar: MakeTar) -> None:
    members = {
        "wavs/a1.wav": b"x",
        "wavs/a2.wav": b"x",
        "c.wav": b"x",
        "c.txt": b" said\n",
        "c.cls": b"7\n",
        "lost.wav": b"x",
        "list.csv": "a1|no. 1|number one\nwavs/a2.wav|tw\u00f6\n\nbroken line\n".encode(),
    }
    config: dict[str, Any] = {"captions": "list.csv", "name": r"^(?P<key>.)\d"}
    plant(tmp_path / "tree", members)
    sources: list[Tar | Folder] = [
        Tar(TarConfig(path=str(make_tar("a.tar", members)), **config)),
        Folder(FolderConfig(path=str(tmp_path / "tree"), **config)),
    ]
    for source in sources:
        assert sorted(told(list(source.documents())), key=str) == [
            ("7", "said", "c.wav"),
            (None, "number one", "wavs/a1.wav"),
            (None, "tw\u00f6", "wavs/a2.wav"),
        ]
        (reason,) = source.unreadable.values()
        assert "line 4 of the captions" in reason
        assert reason.endswith("; lost.wav has no label, text or caption")


def test_captions_with_a_first_line_of_titles() -> None:
    notes: list[tuple[str, str]] = []

    def note(*problem: str) -> None:
        notes.append(problem)  # type: ignore[arg-type]

    found = read_captions(io.BytesIO(b"path\tText\tseconds\na.wav\thello\t1.5\nb.wav\t\t1\n"), note)
    assert (found, len(notes)) == ({"a.wav": "hello"}, 1)
    assert read_captions(io.BytesIO(b"\xff\xfe\na.wav|hello"), note) == {"a.wav": "hello"}
    assert notes[1:] == [("is not UTF-8 (invalid start byte)", "line 1 of the captions")]


def test_shards(tmp_path: Path, make_tar: MakeTar, png: bytes) -> None:
    for shard in ("b", "a"):
        make_tar(f"{shard}.tar", {f"{shard}/1.png": png})
    assert [e.label for e in Tar(TarConfig(path=f"{tmp_path}/?.tar")).documents()] == ["a", "b"]
    assert [e.label for e in Tar(TarConfig(path=str(tmp_path))).documents()] == ["a", "b"]


def header(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_hostile_members_are_noted_and_the_others_read(make_tar: MakeTar, png: bytes) -> None:
    path = make_tar(
        "a.tar",
        {"../../etc/a.png": png, "/srv/a.png": png, "x/\x1b[31m.png": png, "x/empty.png": b"", "./x/good.png": png},
        header("x/link.png", tarfile.SYMTYPE, "/etc/passwd"),
        header("x/hard.png", tarfile.LNKTYPE, "x/good.png"),
        header("x/pipe.png", tarfile.FIFOTYPE),
        header("x/sparse.png", tarfile.GNUTYPE_SPARSE),
        header("x", tarfile.DIRTYPE),
    )
    source = Tar(TarConfig(path=str(path)))
    (example,) = source.documents()
    assert (example.key, content(example)) == ("x/good.png", png)
    reasons = source.unreadable[str(path)]
    assert re.findall(r"(out of the archive|is empty|is a link)[^;]*?(?:and (\d) more)?(?:;|$)", reasons) == [
        ("out of the archive", "2"), ("is empty", ""), ("is a link", "3"),
    ]  # fmt: skip


@pytest.mark.parametrize("cut", [1, 300, 520, 600, 1100, 1540])
def test_truncated_archives_give_what_is_whole(cut: int, make_tar: MakeTar) -> None:
    path = make_tar("a.tar", {f"x/{number}.png": bytes([number]) * 500 for number in range(3)})
    path.write_bytes(path.read_bytes()[:cut])
    source = Tar(TarConfig(path=str(path)))
    examples = list(source.documents())
    assert len(examples) == (cut >= 1012) + (cut >= 2036)
    assert all(len(content(example)) == 500 for example in examples)
    assert str(path) in source.unreadable


def test_a_header_that_lies_about_its_size_is_no_way_out(make_tar: MakeTar) -> None:
    path = make_tar("a.tar", {"x/0.png": b"a" * 500, "x/1.png": b"b" * 500})
    for size in (10**15, -1024):
        info = tarfile.TarInfo("x/0.png")
        info.size = size
        lie = info.tobuf(tarfile.GNU_FORMAT)
        changed = path.with_name(f"{size}.tar")
        changed.write_bytes(lie + path.read_bytes()[512:])
        source = Tar(TarConfig(path=str(changed)))
        assert list(source.documents()) == []
        assert str(changed) in source.unreadable


def test_an_archive_that_shrinks_after_it_was_indexed_is_told(make_tar: MakeTar) -> None:
    path = make_tar("a.tar", {"x/0.png": b"a" * 5000})
    (example,) = Tar(TarConfig(path=str(path))).documents()
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(RequestError, match="ends inside"):
        example.media.open()


def test_compressed_archives_are_refused(make_tar: MakeTar, tmp_path: Path) -> None:
    plain = make_tar("a.tar", {"x/0.png": b"a"}).read_bytes()
    (tmp_path / "b.tar").write_bytes(gzip.compress(plain))
    with pytest.raises(RequestError) as caught:
        list(Tar(TarConfig(path=str(tmp_path / "b.tar"))).documents())
    assert "gzip" in caught.value.what
    assert "decompress" in caught.value.fix


def test_what_is_no_archive_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("not an archive " * 99)
    source = Tar(TarConfig(path=str(tmp_path)))
    assert list(source.documents()) == []
    assert "tar archive" in source.unreadable[str(tmp_path / "a.tar")]


def test_bad_rows_of_a_manifest_are_noted_and_the_others_read(tmp_path: Path, png: bytes) -> None:
    plant(tmp_path, {"p/1.png": png, "p/2.png": png})
    rows: list[Any] = [
        {"image": "p/1.png", "text": "a red square", "label": "red_square", "key": "ann", "split": "val"},
        {"image": "p/2.png", "label": 3},
        {"image": "p/3.png", "text": "not there"},
        {"image": "p/1.png"},
        {"image": 3, "text": "x"},
        {"audio": "p/1.png", "text": "x"},
        {"image": "p/1.png", "text": "x", "split": "both"},
        {"image": "p/1.png\0", "text": "x"},
        {"image": "p" * 5000, "text": "x"},
        [1],
    ]
    text = "\n".join(map(json.dumps, rows)) + "\n{broken\n"
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    source = Manifest(ManifestConfig(path=str(tmp_path / "a.jsonl.gz")))
    first, second = source.documents()
    assert (first.text, first.label, first.key, first.split) == ("a red square", "red_square", "ann", "val")
    assert (second.text, second.label, second.key, second.split) == ("3", "3", "p/2.png", None)
    assert content(first) == png
    assert len(source.unreadable[str(tmp_path / "a.jsonl.gz")].split("; ")) == 6
    assert source.files() == [tmp_path / "a.jsonl.gz", tmp_path / "p/1.png", tmp_path / "p/2.png"]
    assert list(source.documents()) == [first, second]
    assert len(source.unreadable[str(tmp_path / "a.jsonl.gz")].split("; ")) == 6


def test_strangers_modalities(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {"hot/a.thermal": b"x", "hot/a.txt": b"a hot thing", "t.jsonl": b'{"heat": "hot/a.thermal", "text": ""}'},
    )
    (example,) = Folder(FolderConfig(path=str(tmp_path / "hot"), modality="heat", name=".")).documents()
    assert (example.media.modality, example.text, example.label) == ("heat", "a hot thing", None)
    (listed,) = Manifest(ManifestConfig(path=str(tmp_path / "t.jsonl"), modality="heat")).documents()
    assert (listed.media.modality, listed.text) == ("heat", "")


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for source in (
        Folder(FolderConfig()),
        Folder(FolderConfig(path=str(tmp_path / "a.png"))),
        Folder(FolderConfig(path=str(tmp_path), captions="none.tsv")),
        Tar(TarConfig(path=str(tmp_path / "*.tar"))),
        Manifest(ManifestConfig(path=str(tmp_path / "x"))),
    ):
        with pytest.raises(RequestError) as caught:
            list(source.documents())
        assert caught.value.fix
    for key in ("name", "holdout", "exclude"):
        with pytest.raises(ValidationError, match="not a regular expression"):
            TarConfig.model_validate({key: "(" if key == "name" else ["("]})


def test_real_speech_is_split_by_speaker(public: Callable[[str], str]) -> None:
    pattern = r"^(?P<label>\d)_(?P<key>[a-z]+)_"
    digits = Tar(TarConfig(path=public("fsdd"), name=pattern, holdout=("theo",)))
    examples = list(digits.documents())
    splits = {split: {e.key for e in examples if e.split == split} for split in ("train", "val")}
    assert splits["val"] == {"theo"}
    assert len(examples) >= 2000
    assert "theo" not in splits["train"]
    assert {e.label for e in examples} == set("0123456789")
    assert content(examples[0])[:4] == b"fLaC"
    read = Tar(TarConfig(path=public("ljspeech-part"), captions="manifest.tsv"))
    sentences = list(read.documents())
    assert len(sentences) >= 345
    assert read.unreadable == {}
    assert sentences[1].text == "in being comparatively modern."


def test_asking_for_the_files_forgets_nothing(tmp_path: Path, png: bytes) -> None:
    plant(tmp_path, {"a/1.png": png, "alone.png": png, "m.jsonl": b"{broken\n", "a/\x1b.png": png})
    sources: list[Folder | Manifest] = [
        Folder(FolderConfig(path=str(tmp_path))),
        Manifest(ManifestConfig(path=str(tmp_path / "m.jsonl"))),
    ]
    for source in sources:
        list(source.documents())
        noted = dict(source.unreadable)
        assert noted
        source.files()
        assert source.unreadable == noted

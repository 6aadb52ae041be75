"""Nothing is lost in silence: a bad byte costs its line, hidden files are skipped, endings match in any case, what is
left out is counted, a side with nothing to learn is refused, and ``muomni data check`` opens what training would open.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from muomni_cli.api import RequestError
from muomni_cli.app import main
from muomni_cli.data.check import check
from muomni_cli.data.sources import problems
from muomni_cli.data.text import open_text, train_tokenizer
from muomni_cli.recipe.load import load_recipe
from muomni_datasets.archives import Tar
from muomni_datasets.config import (
    ConversationsConfig,
    FolderConfig,
    JsonLinesConfig,
    ManifestConfig,
    TarConfig,
    TextConfig,
)
from muomni_datasets.labeled_files import Folder, Manifest
from muomni_datasets.text import Conversations, JsonLines, TextFiles
from muomni_text.byte_level import ByteTokenizer

HEAD = """
name = "own"
[tokenizer]
use = "bytes"
[thinker]
use = "transformer"
ctx_len = 64
[encoders.image]
use = "vit"
size = 16
patch = 8
[encoders.audio]
use = "listener"
"""
BAD = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xfe\xff", b"\x80\x80", b"\xf5"]  # none of them is UTF-8


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recipe_of(text: str) -> Any:
    Path("own.toml").write_text(HEAD + text, encoding="utf-8")
    return load_recipe("own.toml")


def data_check() -> int:
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", "own.toml"])
    return int(ended.value.code or 0)


def quiet(line: str) -> None:
    assert line


def said(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": f"line {number}"}]}


FORMATS: dict[str, tuple[Callable[[Path], Any], Callable[[int], str]]] = {
    "jsonl": (lambda p: JsonLines(JsonLinesConfig(path=str(p))), lambda n: json.dumps({"text": f"line {n}"})),
    "txt": (lambda p: TextFiles(TextConfig(path=str(p), split="line")), lambda n: f"line {n} with ümläuts"),
    "NDJSON": (lambda p: Conversations(ConversationsConfig(path=str(p))), lambda n: json.dumps(said(n))),
    "manifest.jsonl": (
        lambda p: Manifest(ManifestConfig(path=str(p))),
        lambda n: json.dumps({"image": p_image, "text": f"line {n}"}),
    ),
}
p_image = "picture.png"


@given(
    kind=st.sampled_from(sorted(FORMATS)),
    count=st.integers(2, 30),
    wrong=st.sets(st.integers(0, 29), max_size=5),
    bad=st.sampled_from(BAD),
    end=st.sampled_from([b"\n", b"\r\n"]),
    zipped=st.booleans(),
    begin=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    last=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_a_bad_byte_costs_its_line(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    count: int,
    wrong: set[int],
    bad: bytes,
    end: bytes,
    zipped: bool,
    begin: bytes,
    last: bool,
) -> None:
    root = tmp_path_factory.mktemp("bad")
    (root / p_image).touch()
    build, line = FORMATS[kind]
    wrong = {number for number in wrong if number < count}
    lines = [line(number).encode() for number in range(count)]
    lines = [one[:9] + bad + one[9:] if number in wrong else one for number, one in enumerate(lines)]
    content = begin + end.join(lines) + (end if last else b"")
    path = root / f"a.{kind}{'.GZ' if zipped else ''}"
    path.write_bytes(gzip.compress(content) if zipped else content)
    source = build(path)
    found = list(source.documents())
    texts = [item.messages[-1].text if hasattr(item, "messages") else item.text.rstrip("\r") for item in found]
    clean = [line(number) if kind == "txt" else f"line {number}" for number in range(count) if number not in wrong]
    assert texts == clean
    assert list(source.unreadable) == ([str(path)] if wrong else [])
    if wrong:
        told = source.unreadable[str(path)]
        assert told.startswith(f"line {min(wrong) + 1} is not UTF-8")
        assert told.endswith(f"and {len(wrong) - 1} more" if len(wrong) > 1 else ")")


@pytest.mark.parametrize("cut", [False, True])
def test_a_bad_byte_in_captions_and_neighbors_costs_its_line(make_tree: Callable[..., None], cut: bool) -> None:
    names = [f"{number}.png" for number in range(4)]
    make_tree(dict.fromkeys(names, b"x") | {"list.tsv": b"0.png\tzero\n1.png\t\xffone\n2.png\ttwo\n"})
    make_tree({"3.TXT": b"th\xffree\nof them\n"})
    tar_of("tree", "a.tar")
    config = {"captions": "list.tsv", "name": r"^(?P<key>\d)"}
    source = Tar(TarConfig(path="a.tar", **config)) if cut else Folder(FolderConfig(path="tree", **config))
    assert [item.text for item in source.documents()] == ["zero", "two", "of them"]
    where = "a.tar" if cut else "tree"
    told = source.unreadable
    assert told.keys() == {where, f"3.TXT in {where}"}
    assert "line 2 of the captions is not UTF-8" in told[where]
    assert "1.png has no label, text or caption" in told[where]
    assert told[f"3.TXT in {where}"] == "line 1 is not UTF-8 (invalid start byte)"
    again = list(source.documents())
    assert len(again) == 3
    assert source.unreadable == told, "counted once, however often it is read"


def tar_of(folder: str, name: str) -> None:
    with tarfile.open(name, "w") as archive:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                archive.add(path, path.relative_to(folder).as_posix(), recursive=False)


@pytest.fixture
def make_tree() -> Callable[..., None]:
    def make(files: dict[str, bytes]) -> None:
        for name, content in files.items():
            path = Path("tree") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return make


HIDDEN = [
    ".hid/x/{}", ".ipynb_checkpoints/{}", "__MACOSX/x/{}", "x/._{}", "x/.{}", "x/@eaDir/{}", "$RECYCLE.BIN/{}", "x/{}~",
    "lost+found/{}", "__macosx/{}", ".git/{}", "System Volume Information/{}",
]  # fmt: skip


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("kind", ["jsonl", "text", "conversations", "glob", "folder", "tar"])
def test_hidden_files_are_not_read(kind: str, hidden: str, make_tree: Callable[..., None]) -> None:
    content = {
        "text": ("a.Txt", b"one"), "conversations": ("a.JSONL", json.dumps(said(1)).encode()),
        "folder": ("1.PNG", b"x"), "tar": ("1.PNG", b"x"),
    }.get(kind, ("a.JsonL", b'{"text": "one"}'))  # fmt: skip
    name, payload = content
    junk = {"x/Thumbs.db": b"x", "x/desktop.ini": b"x", "x/.DS_Store": b"x"}
    make_tree({f"x/{name}": payload, hidden.format(name): payload, **junk})
    tar_of("tree", "a.tar")
    builders: dict[str, Callable[[], Any]] = {
        "jsonl": lambda: JsonLines(JsonLinesConfig(path="tree")),
        "glob": lambda: JsonLines(JsonLinesConfig(path="tree/**/*.jsonl")),
        "text": lambda: TextFiles(TextConfig(path="tree", pattern="*.TXT")),
        "conversations": lambda: Conversations(ConversationsConfig(path="tree")),
        "folder": lambda: Folder(FolderConfig(path="tree", pattern="*.png")),
        "tar": lambda: Tar(TarConfig(path="a.tar")),
    }
    source = builders[kind]()
    assert len(list(source.documents())) == 1
    assert source.unreadable == {}
    if kind != "glob":  # the glob itself leaves out most
        assert source.left_out == {"hidden": 4}
        assert list(source.documents())
        assert source.left_out == {"hidden": 4}, "counted once, however often it is read"


def test_what_is_left_out_is_counted_by_reason(
    make_tree: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {f"{number}.jsonl": b'{"text": "a line"}\n' for number in range(4)}
    make_tree(
        {**texts, "a.parquet": b"x", "b.CSV": b"x", "c.csv": b"x", "LICENSE": b"x", ".git/x": b"x", "old.jsonl": b"x"}
    )
    recipe_of('[[data.text]]\nuse = "jsonl"\npath = "tree"\npattern = "?.*"\n')
    assert data_check() == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    left = line.partition("left out: ")[2].split(", ")
    expected = ["1 hidden", "1 with the ending .parquet", "2 with the ending .csv", "1 without an ending"]
    assert sorted(left) == sorted([*expected, "1 not named as in pattern"])


def test_a_hidden_folder_that_is_named_is_read(make_tree: Callable[..., None]) -> None:
    make_tree({".mine/a.jsonl": b'{"text": "a"}\n'})
    for path in ("tree/.mine", "tree/.mine/a.jsonl", "tree/.mine/*.jsonl"):
        assert len(list(JsonLines(JsonLinesConfig(path=path)).documents())) == 1


ASK = {"role": "user", "content": "hi"}
EMPTY: list[list[dict[str, str]]] = [
    [ASK], [ASK, {"role": "assistant", "content": ""}], [ASK, {"role": "assistant", "content": " \n"}], [ASK, ASK],
    [{"role": "system", "content": "be kind"}],
]  # fmt: skip


@pytest.mark.parametrize("table", ["text", "omni"])
@pytest.mark.parametrize("messages", EMPTY)
@pytest.mark.parametrize("side", ["train", "val", ""])
def test_a_side_with_nothing_to_learn_is_refused(
    table: str, messages: list[dict[str, str]], side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"messages": messages, "key": f"e{n}", **({"split": side} if side else {})} for n in range(9)]
    if side:
        rows += [{**said(n), "split": {"train": "val", "val": "train"}[side]} for n in range(9)]
    Path("talk.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = recipe_of(f'[[data.{table}]]\nuse = "conversations"\npath = "talk.jsonl"\n')
    report = check(recipe, ByteTokenizer())
    ((what, _),) = report.refusals
    assert "9 conversations without an answer to learn from" in what
    assert what.startswith(
        f"[[data.{table}]] has nothing to {'train' if side == 'train' else 'validate' if side else 'l'}"
    )
    assert data_check() == 2
    out, error = capsys.readouterr()
    assert f"error: {what}\n  fix: " in error
    if table == "text":
        with pytest.raises(RequestError, match="9 conversations without an answer"):
            open_text(recipe, ByteTokenizer(), quiet)
    if not side:
        with pytest.raises(RequestError, match="9 conversations without an answer"):
            train_tokenizer(recipe, quiet)
    assert out


@given(good=st.integers(8, 20), empty=st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_what_has_nothing_to_learn_is_counted_and_never_drawn(
    tmp_path_factory: pytest.TempPathFactory, good: int, empty: int
) -> None:
    path = tmp_path_factory.mktemp("some") / "talk.jsonl"
    rows = [said(n) for n in range(good)] + [{"messages": EMPTY[n % len(EMPTY)]} for n in range(empty)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("own.toml").write_text(f'{HEAD}[[data.text]]\nuse = "conversations"\npath = "{path}"\n')
    data = open_text(load_recipe("own.toml"), ByteTokenizer(), quiet)
    (stats,) = data.stats
    assert sum(stats.documents.values()) == good
    assert min(stats.targets.values()) > 0
    noun = "conversation" if empty == 1 else "conversations"
    assert stats.remarks == [f"left out: {empty} {noun} without an answer to learn from"]
    windows = data.train.windows(8)
    assert all(windows.batch(step, 1).mask.any() for step in range(len(windows)))


def wav(samples: np.ndarray[Any, Any], subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format="WAV", subtype=subtype)
    return file.getvalue()


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 9, 9)).save(file, "PNG")
    return file.getvalue()


def broken(table: str) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "text", b"no media"
    if table == "audio":
        yield "nan", wav(np.full(16000, np.nan, np.float32), "FLOAT")
        yield "header", wav(np.zeros(0, np.int16))
    else:
        yield "cut", picture(9)[:40]
        yield "junk", b"\x89PNG\r\n\x1a\n" + bytes(99)


@pytest.mark.parametrize("table", ["image", "audio"])
@pytest.mark.parametrize("use", ["folder", "tar", "manifest", "conversations"])
def test_data_check_names_what_training_cannot_open(
    table: str, use: str, make_tree: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    ending = "png" if table == "image" else "wav"
    tone = np.sin(np.arange(16000) / 9) * 9000
    good = {
        f"c{n % 2}/{n}.{ending}": picture(n) if table == "image" else wav((tone + n).astype(np.int16)) for n in range(8)
    }
    bad = {f"c0/{name}.{ending}": content for name, content in broken(table)}
    make_tree(good | bad)
    tar_of("tree", "a.tar")
    rows = [{table: name, "label": name[:2]} for name in (*good, *bad)]
    Path("tree/list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    talks = [{"messages": [{**ASK, table: name}, {"role": "assistant", "content": name[:2]}]} for name in (*good, *bad)]
    Path("tree/talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in talks))
    where = "omni" if use == "conversations" else table
    path = {"folder": "tree", "tar": "a.tar", "manifest": "tree/list.jsonl", "conversations": "tree/talks.jsonl"}[use]
    more = f'modality = "{table}"\n' if use == "manifest" else ""
    recipe = recipe_of(f'[[data.{where}]]\nuse = "{use}"\npath = "{path}"\n{more}')
    report = check(recipe, None)
    assert sum(report.everything[0].stats.documents.values()) == len(good)
    assert (report.usable, report.complete, report.refusals) == (True, False, [])
    told = "\n".join(report.warnings)
    assert all(name in told for name in bad if use != "tar" or "empty" not in name), told
    assert "empty" in told
    assert not any(name in told for name in good)
    assert data_check() == 1
    assert all(name in capsys.readouterr().out for name in ("cut.png",) if table == "image")


def test_many_files_that_cannot_be_used_are_counted_by_reason() -> None:
    found = {f"{n}.wav": f"{n}.wav is empty (0 bytes)" if n % 2 else f"{n}.wav is too long ({n} s)" for n in range(100)}
    lines = list(problems(found))
    assert len(lines) == 22
    assert lines[0] == "0.wav is too long (0 s)"
    assert lines[-2:] == ["40 more: is too long", "40 more: is empty"]

"""What the built-in sources read from files, and how they behave when files are not as they should be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from muomni_cli.api import Conversation, Document, RequestError, expand_path
from muomni_datasets import text
from muomni_datasets import text as text_files
from muomni_datasets.config import ConversationsConfig, JsonLinesConfig, TalesConfig, TextConfig
from muomni_datasets.stories import Tales
from muomni_datasets.text import Conversations, JsonLines, TextFiles


def read(path: Path, **config: Any) -> list[str]:
    return [document.text for document in TextFiles(TextConfig(path=str(path), **config)).documents()]


@pytest.mark.parametrize(
    ("split", "documents"),
    [
        ("blank-line", ["a\nb", "c\r", "***\nd"]),
        ("line", ["a", "b", "c\r", "***", "d"]),
        ("file", ["a\nb\n \n\nc\r\n\n***\nd"]),
        (r"^\*+$", ["a\nb\n \n\nc\r\n", "d"]),
    ],
)
def test_where_documents_end(split: str, documents: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa\nb\n \n\nc\r\n\n***\nd")
    assert read(path, split=split) == documents


def test_folders_globs_and_gzip(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "deep/a.md").write_text("a")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"c"))
    (tmp_path / "d.bin").write_text("no")
    (tmp_path / ".e.txt").write_text("no")
    assert read(tmp_path) == ["b", "c", "a"]
    assert read(tmp_path, pattern="*.md") == ["a"]
    assert read(tmp_path / "*.txt") == ["b"]
    assert read(tmp_path / "d.bin") == ["no"]


def test_nothing_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "x", tmp_path / "*.txt", ""):
        with pytest.raises(RequestError) as caught:
            read(path) if path else TextFiles(TextConfig()).files()
        assert caught.value.fix


def test_unreadable_files_are_named_and_the_others_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\n\n" + b"\xff\xfe bad")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"never read to its end" * 99)[:-12])
    (tmp_path / "c.txt.gz").write_text("no gzip")
    (tmp_path / "d.txt").write_text("fine")
    source = TextFiles(TextConfig(path=str(tmp_path)))
    texts = [document.text for document in source.documents()]
    assert texts[-1] == "fine"
    assert {Path(path).name for path in source.unreadable} == {"a.txt", "b.txt.gz", "c.txt.gz"}
    assert "UTF-8" in source.unreadable[str(tmp_path / "a.txt")]


def test_long_documents_come_in_pieces_that_share_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "PIECE", 10)
    path = tmp_path / "a.txt"
    path.write_text("Chapter 1\nabcd\nefgh\n\nChapter 2\nabcd\n")
    documents = list(TextFiles(TextConfig(path=str(path), holdout=("Chapter 2",))).documents())
    assert [d.text for d in documents] == ["Chapter 1", "abcd\nefgh", "Chapter 2", "abcd"]
    assert documents[0].key == documents[1].key != documents[2].key == documents[3].key
    assert [d.split for d in documents] == [None, None, "val", "val"]


def test_equal_texts_have_equal_keys_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo")
    (tmp_path / "b.txt").write_text("two\n\none")
    documents = list(TextFiles(TextConfig(path=str(tmp_path))).documents())
    assert documents[0].key == documents[3].key
    assert documents[1].key == documents[2].key != documents[0].key


def test_a_bad_expression_is_a_mistake_in_the_recipe() -> None:
    with pytest.raises(ValidationError, match="not a regular expression"):
        TextConfig(holdout=("(",))


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = ['{"a": {"b": "one"}}', "", "{broken", '{"a": 3}', '{"a": {"b": "\\ud800"}}', '{"a": {"b": "two"}}']
    path.write_text("\n".join(rows))
    source = JsonLines(JsonLinesConfig(path=str(path), field="a.b"))
    assert [document.text for document in source.documents()] == ["one", "two"]
    assert "line 3 is not JSON" in source.unreadable[str(path)]


def said(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in conversation.messages]


def test_conversations_as_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("U: hi\nA: hello\nand welcome\n\n\nno prefix\n\nQ: odd\nU: bye\nA: bye\n\nU: again")
    source = Conversations(ConversationsConfig(path=str(path)))
    first, second = source.documents()
    assert said(first) == [("user", "hi"), ("assistant", "hello\nand welcome")]
    assert said(second) == [("user", "again")]
    assert "no prefix" in source.unreadable[str(path)]
    other = Conversations(ConversationsConfig(path=str(path), user_prefix="Q: ", learn="all"))
    assert [c.learn for c in other.documents()] == ["all"]


def test_conversations_as_json_lines(tmp_path: Path) -> None:
    good = {"messages": [{"role": "system", "content": "s"}, {"role": "assistant", "content": "a"}]}
    bad: list[Any] = [[], {"messages": "x"}, {"messages": [{"role": "tool", "content": "x"}]}, {"messages": []}]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, [*bad, good])))
    source = Conversations(ConversationsConfig(path=str(path)))
    assert [said(conversation) for conversation in source.documents()] == [[("system", "s"), ("assistant", "a")]]
    assert str(path) in source.unreadable


def test_tales_are_the_same_everywhere_and_more_never_change_the_first() -> None:
    few, many = (list(Tales(TalesConfig(count=count, seed=3)).documents()) for count in (50, 200))
    assert few == many[:50]
    assert few != list(Tales(TalesConfig(count=50, seed=4)).documents())
    pinned = ["f620de5f5549f06c5931f1e2", "66c0d9d5b5108228f0eb33b2", "d999e3b60281f302d8c2fe62"]
    assert [item.key for item in few[:3]] == pinned


def test_tales_are_clean_and_varied() -> None:
    items = list(Tales(TalesConfig(count=3000)).documents())
    tales = [item.text for item in items if isinstance(item, Document)]
    conversations = [item for item in items if isinstance(item, Conversation)]
    assert 0.45 < len(conversations) / len(items) < 0.55
    assert len(set(tales)) > 0.99 * len(tales)
    words = {word.strip('.,?!"').lower() for tale in tales for word in tale.split()}
    assert len(words) > 400
    assert not any(sign in tale for tale in tales for sign in ("{", "  ", " .", "None"))
    assert all(
        m.role == ("user", "assistant")[i % 2] for example in conversations for i, m in enumerate(example.messages)
    )


def test_sums_in_conversations_are_right() -> None:
    from muomni_datasets.stories import adding
    from muomni_datasets.story_plots import NUMBERS, StoryRandom

    for seed in range(300):
        question, answer = adding(StoryRandom(str(seed)))
        had, change = (
            NUMBERS.index(word) for word in question.split("How many")[0].replace(".", "").split() if word in NUMBERS
        )
        total = next(NUMBERS.index(word) for word in answer.split() if word in NUMBERS)
        assert total == (had - change if "gives away" in question else had + change)


def test_paths_expand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "/h")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert expand_path("$HERE/a") == Path("/h/a")
    assert expand_path("${HERE}b/${NOWHERE:-x}/${EMPTY:-y}") == Path("/hb/x/y")
    assert expand_path("~/a") == Path.home() / "a"
    with pytest.raises(RequestError, match="NOWHERE"):
        expand_path("$NOWHERE/a")


def test_lines_longer_than_memory_allows_come_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("é" * 25)
    files = text_files.Files(TextConfig(path=str(path)), (".txt",))
    assert list(files.lines(path, longest=11)) == [(1, "é" * count) for count in (5, 6, 5, 6, 3)]
    path.write_bytes(("é" * 11).encode() + b"\xc3")
    assert [text for _, text in files.lines(path, longest=11)] == ["é" * 5, "é" * 6]  # in pieces, the last one is bad
    assert files.unreadable == {str(path): "line 1 is not UTF-8 (unexpected end of data)"}
    assert list(files.lines(path)) == []  # whole
    assert files.unreadable == {str(path): "line 1 is not UTF-8 (unexpected end of data)"}

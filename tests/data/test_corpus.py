"""Sources to shards: what the tokens are, when they are made again, the split, and what a failure leaves behind."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muomni_cli.api import Document, MuomniError, RequestError
from muomni_cli.core.files import cache_folder
from muomni_cli.data import text as corpus
from muomni_cli.data.batches import StreamWriter, open_stream, token_type
from muomni_cli.data.sources import open_sources
from muomni_cli.data.split import split_of
from muomni_cli.data.text import open_text, train_tokenizer
from muomni_text.bpe import BPETokenizer
from muomni_text.byte_level import ByteTokenizer

Make = Callable[..., Any]


@pytest.fixture
def story(tmp_path: Path) -> Path:
    path = tmp_path / "story.txt"
    path.write_text("\n\n".join(f"Document number {number} é." for number in range(60)))
    return path


@pytest.fixture
def recipe(story: Path, choose: Make, recipe_of: Make) -> Any:
    return recipe_of(choose("dataset", "text", path=str(story)), choose("dataset", "tales", count=40, weight=2.0))


def quiet(line: str) -> None:
    assert line


def documents(recipe: Any) -> list[tuple[str, str]]:
    items = [item for source in open_sources(recipe) for item in source.dataset.documents()]
    return [(split_of(item, recipe.data.val_fraction), item.text) for item in items if isinstance(item, Document)]


def test_streams_are_the_documents_of_their_side(recipe: Any, bpe: BPETokenizer) -> None:
    recipe.data.text = recipe.data.text[:1]
    data = open_text(recipe, bpe, quiet)
    for split, stream in (("train", data.train.streams[0]), ("val", data.val[0])):
        expected = [t for where, text in documents(recipe) if where == split for t in (1, *bpe.encode(text), 2)]
        assert stream.tokens.tolist() == expected
        assert stream.mask is None
        assert data.stats[0].tokens[split] == len(expected)  # type: ignore[index]
    assert sum(data.stats[0].documents.values()) == 60
    assert data.train.weights == [1.0]


def test_conversations_learn_the_answers_only(tmp_path: Path, choose: Make, recipe_of: Make) -> None:
    path = tmp_path / "talk.txt"
    path.write_text("\n\n".join(f"U: ask {number}\nA: say {number}" for number in range(30)))
    tokenizer = ByteTokenizer()
    sources = [choose("dataset", "conversations", path=str(path), learn=learn) for learn in ("answers", "all")]
    data = open_text(recipe_of(*sources), tokenizer, quiet)
    answers, everything = data.train.streams
    assert answers.tokens.tolist() == everything.tokens.tolist()
    assert everything.mask is None
    assert answers.mask is not None
    learned = answers.tokens[answers.mask.astype(bool)].tolist()
    said = tokenizer.decode(learned).replace("say ", ",").split(",")[1:]
    assert len(said) == data.stats[0].documents["train"]
    assert all(number.isdigit() for number in said)
    assert learned.count(tokenizer.specials["eos"]) == len(said)


def test_a_mask_that_begins_late_covers_what_came_before(tmp_path: Path) -> None:
    with StreamWriter(tmp_path / "a.tokens", token_type(100)) as writer:
        writer.append([5, 6, 7])
        writer.append([8, 9], [False, True])
        writer.append([10])
    stream = open_stream(tmp_path / "a.tokens", "a", token_type(100))
    assert stream.tokens.tolist() == [5, 6, 7, 8, 9, 10]
    assert stream.mask is not None
    assert stream.mask.tolist() == [1, 1, 1, 0, 1, 1]


def test_token_types_hold_every_id() -> None:
    assert token_type(1 << 16).itemsize == 2
    assert token_type((1 << 16) + 1).itemsize == 4


def test_the_split_is_stable_under_reordering(recipe: Any, story: Path) -> None:
    before = dict(text[::-1] for text in documents(recipe)[:60])
    texts = story.read_text().split("\n\n")
    random.Random(1).shuffle(texts)
    story.write_text("\n\n".join(texts))
    assert dict(text[::-1] for text in documents(recipe)[:60]) == before
    assert set(before.values()) == {"train", "val"}


def mark(recipe: Any, tokenizer: Any) -> str:
    return corpus.fingerprint(recipe, open_sources(recipe), tokenizer)


def test_the_fingerprint_changes_when_and_only_when_tokens_might(
    recipe: Any, bpe: BPETokenizer, story: Path, choose: Make
) -> None:
    base = mark(recipe, bpe)
    recipe.data.text[0].weight = 5.0
    recipe.data.tokenizer_chars = 7
    assert mark(recipe, bpe) == base
    assert mark(recipe, ByteTokenizer()) != base
    for change in ("template", "val_fraction", "config", "text"):
        last = mark(recipe, bpe)
        if change == "template":
            recipe.chat.template = "plain"
        elif change == "val_fraction":
            recipe.data.val_fraction = 0.3
        elif change == "config":
            recipe.data.text[0] = choose("dataset", "text", path=str(story), split="line")
        else:
            story.write_text(story.read_text() + "more")
        assert mark(recipe, bpe) != last, change


def test_a_second_call_reads_what_the_first_wrote(
    recipe: Any, bpe: BPETokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_text(recipe, bpe, quiet)
    monkeypatch.setattr(corpus, "_write", None)
    again = open_text(recipe, bpe, quiet)
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.train.streams[1].tokens, first.train.streams[1].tokens)
    assert again.stats == first.stats


def test_two_that_make_the_same_do_not_disturb_each_other(
    recipe: Any, bpe: BPETokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = corpus._write

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(corpus, "_write", write)
        open_text(recipe, bpe, quiet)  # another process finishes the same shards while this one writes
        return write(*given)

    monkeypatch.setattr(corpus, "_write", overtaken)
    data = open_text(recipe, bpe, quiet)
    assert [path.name for path in (cache_folder() / "shards").iterdir()] == [data.fingerprint]


def test_a_failure_leaves_nothing_behind(recipe: Any, bpe: BPETokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StreamWriter, "append", full)
    with pytest.raises(MuomniError, match="No space left") as caught:
        open_text(recipe, bpe, quiet)
    assert "MUOMNI_CACHE" in caught.value.fix
    assert list((cache_folder() / "shards").iterdir()) == []


@pytest.mark.parametrize(("val_fraction", "fix"), [(0.0, "raise data.val_fraction"), (1.0, "lower data.val_fraction")])
def test_an_empty_side_says_what_to_do(recipe: Any, val_fraction: float, fix: str) -> None:
    recipe.data.val_fraction = val_fraction
    with pytest.raises(RequestError) as caught:
        open_text(recipe, ByteTokenizer(), quiet)
    assert fix in caught.value.fix


def test_no_text_at_all_is_refused(recipe_of: Make, choose: Make, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="names no text"):
        open_text(recipe_of(), ByteTokenizer(), quiet)
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(RequestError, match="no documents"):
        open_text(recipe_of(choose("dataset", "text", path=str(tmp_path))), ByteTokenizer(), quiet)


def test_unreadable_files_are_told(tmp_path: Path, choose: Make, recipe_of: Make) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(f"text {number}" for number in range(30)))
    (tmp_path / "b.txt").write_bytes(b"\xff")
    told: list[str] = []
    open_text(recipe_of(choose("dataset", "text", path=str(tmp_path))), ByteTokenizer(), told.append)
    assert any("b.txt" in line and "UTF-8" in line for line in told)


def test_the_tokenizer_is_learned_from_training_text_only(tmp_path: Path, choose: Make, recipe_of: Make) -> None:
    path = tmp_path / "a.txt"
    path.write_text("train aaaa aaaa\n\nheld zzzz zzzz zzzz")
    recipe = recipe_of(choose("dataset", "text", path=str(path), holdout=["^held"]), val_fraction=0.0)
    recipe.tokenizer = choose("tokenizer", "bpe", vocab_size=264)
    tokenizer = train_tokenizer(recipe, quiet)
    pieces = [tokenizer.token_bytes(token) for token in range(262, 264)]
    assert all(set(piece) <= set(b" a") for piece in pieces)


def test_the_tokenizer_reads_no_more_than_it_is_allowed(recipe: Any) -> None:
    from muomni_cli.data.text import training_texts

    recipe.data.tokenizer_chars = 500
    texts = list(training_texts(recipe, open_sources(recipe)))
    assert sum(map(len, texts)) == 500
    assert any("Document" not in text for text in texts)  # both sources have their share


PROGRAM = """
import resource, sys
from muomni_cli.data import text as corpus
from muomni_cli.data.batches import StreamWriter
from muomni_cli.api import Document
from muomni_text.byte_level import ByteTokenizer
from types import SimpleNamespace as Space
from pathlib import Path

def documents():
    for number in range(int(sys.argv[1])):
        yield Document("some words in a line\\n" * 5000, str(number))

dataset = Space(documents=documents, unreadable={}, remarks=[], left_out={}, cut=0)
source = Space(name="s", stem="s", table="text", dataset=dataset)
recipe = Space(data=Space(val_fraction=0.1), chat=Space(template="plain"))
corpus._write(recipe, source, ByteTokenizer(), Path(sys.argv[2]), print)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    peaks: list[int] = []
    for count in (20, 200):
        command = [sys.executable, "-c", PROGRAM, str(count), str(tmp_path)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout.split()[-1]))
    written = sum(path.stat().st_size for path in tmp_path.glob("*.tokens"))
    assert written > 40_000_000
    assert peaks[1] - peaks[0] < 20_000  # KiB; the corpus would be ten times that as tokens in a list
    assert peaks[1] < resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 200_000


def test_a_plain_conversation_ends_with_eos(tmp_path: Path, choose: Make, recipe_of: Make) -> None:
    path = tmp_path / "talk.txt"
    path.write_text("\n\n".join(f"U: ask {number}\nA: say {number}" for number in range(30)))
    recipe = recipe_of(choose("dataset", "conversations", path=str(path)))
    recipe.chat.template = "plain"
    stream = open_text(recipe, ByteTokenizer(), quiet).train.streams[0]
    ends = stream.tokens == ByteTokenizer().specials["eos"]
    assert ends[-1]
    assert np.count_nonzero(ends) == np.count_nonzero(stream.tokens == ByteTokenizer().specials["bos"])
    assert stream.mask is not None
    assert stream.mask[ends].all()

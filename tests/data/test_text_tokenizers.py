"""Both tokenizers: any text comes back, special tokens cannot be spelt, files open again and fail clearly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.api import RequestError, Tokenizer
from muomni_text import bpe as bpe_module
from muomni_text.bpe import BPETokenizer, learn, load
from muomni_text.byte_level import SPECIALS, ByteTokenizer, spelt
from muomni_text.plugin import BPEConfig

PIECES = [
    *map(spelt, SPECIALS),
    "\r",
    "\r\n",
    "\0",
    "e\u0301",
    "é",
    "👩‍👩‍👧",
    "  ",
    " cat",
    "\ufeff",
    "\x1b[0m",
    "12345",
]
texts = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.sampled_from(PIECES)).map("".join))


@pytest.fixture(scope="session", params=["bpe", "plain_bytes"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_text_comes_back_and_never_makes_a_special_token(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(len(SPECIALS) <= token < tokenizer.vocab_size for token in ids)
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@given(batch=st.lists(texts, max_size=5))
@settings(max_examples=50, deadline=None)
def test_a_batch_is_its_texts(tokenizer: Tokenizer, batch: list[str]) -> None:
    assert tokenizer.encode_batch(batch) == [tokenizer.encode(text) for text in batch]


def test_special_tokens(tokenizer: Tokenizer) -> None:
    assert dict(tokenizer.specials) == {"pad": 0, "bos": 1, "eos": 2, "system": 3, "user": 4, "assistant": 5}
    assert tokenizer.decode([1, *tokenizer.encode("a"), 2]) == "a"
    assert tokenizer.token_bytes(4) == b""


def test_half_a_character_is_a_replacement_character(tokenizer: Tokenizer) -> None:
    first = next(t for t in range(tokenizer.vocab_size) if tokenizer.token_bytes(t) == "é".encode()[:1])
    assert tokenizer.decode([first]) == "\ufffd"


def test_surrogates_and_unknown_ids_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError, match=r"character 1 .*U\+D800"):
        tokenizer.encode("a\ud800")
    with pytest.raises(RequestError, match="surrogate"):
        tokenizer.encode_batch(["fine", "\udfff"])
    with pytest.raises(RequestError, match="outside the vocabulary"):
        tokenizer.decode([tokenizer.vocab_size])


def test_saved_files_are_read_by_hugging_face_unchanged(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "new")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "new" / "tokenizer.json"))
    text = "The cat, don\u2019t 42 é\0"
    assert theirs.encode(text).ids == tokenizer.encode(text)
    assert theirs.decode(tokenizer.encode(text)) == text
    assert theirs.get_vocab_size() == tokenizer.vocab_size
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["tokenizer.json"]


def test_saving_and_loading_keeps_every_id(bpe: BPETokenizer, tmp_path: Path) -> None:
    bpe.save(tmp_path)
    again = load(BPEConfig(vocab_size=285), tmp_path)
    text = "the cat <|user|> saw"
    assert again.encode(text) == bpe.encode(text)
    assert [again.token_bytes(t) for t in range(285)] == [bpe.token_bytes(t) for t in range(285)]


@pytest.mark.parametrize("content", [None, "", "{", '{"version": "1.0"}'])
def test_a_missing_or_broken_file_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(RequestError) as caught:
        load(BPEConfig(), tmp_path)
    assert "muomni train tokenizer" in caught.value.fix


def test_a_foreign_tokenizer_is_refused(tmp_path: Path) -> None:
    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(RequestError, match="byte-level"):
        load(BPEConfig(), tmp_path)


def test_a_larger_vocabulary_is_refused(bpe: BPETokenizer, tmp_path: Path) -> None:
    bpe.save(tmp_path)
    assert load(BPEConfig(), tmp_path).vocab_size == 285
    with pytest.raises(RequestError, match="285 entries but the recipe says vocab_size = 270"):
        load(BPEConfig(vocab_size=270), tmp_path)


def test_too_little_text_gives_a_smaller_vocabulary(tmp_path: Path) -> None:
    text = "a small text, a small text"
    small = learn(BPEConfig(), iter([text]))
    assert 262 < small.vocab_size < 300
    assert (
        learn(BPEConfig(vocab_size=small.vocab_size), iter(["a small text, a small text"])).vocab_size
        == small.vocab_size
    )
    small.save(tmp_path)
    assert load(BPEConfig(), tmp_path).encode("a small text") == small.encode("a small text")


def test_digits_stand_alone_unless_asked_otherwise() -> None:
    text = "1234 1234 1234 1234"
    single = learn(BPEConfig(vocab_size=263), iter([text]))
    assert len(single.encode("1234")) == 4
    joined = learn(BPEConfig(vocab_size=265, single_digits=False), iter([text]))
    assert len(joined.encode("1234")) < 4


def test_learning_is_the_same_in_every_process(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from muomni_text.bpe import learn; from muomni_text.plugin import BPEConfig\n"
        "from tests_corpus import C; learn(BPEConfig(vocab_size=280), iter(C)).save(Path(sys.argv[1]))"
    )
    (tmp_path / "tests_corpus.py").write_text("C = ['the cat sat on the mat with the other cats ' * 9, 'é👩 ' * 7]\n")
    for name, hash_seed in (("a", "1"), ("b", "2")):
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join([str(tmp_path), *sys.path])}
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name)], env=environment, check=True)
    assert (tmp_path / "a/tokenizer.json").read_bytes() == (tmp_path / "b/tokenizer.json").read_bytes()


def test_long_texts_reach_the_trainer_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe_module, "PIECE", 7)
    assert list(bpe_module._pieces(iter(["abcdefghij", "k"]))) == ["abcdefg", "hij", "k"]


def test_the_byte_of_an_id(plain_bytes: ByteTokenizer) -> None:
    assert plain_bytes.encode("A") == [6 + 65]
    assert plain_bytes.vocab_size == 262

"""Masks hold exactly the tokens that can come next, for tokenizers of any kind and size."""

from __future__ import annotations

import gc
import json
import random
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli import RequestError, load
from muomni_cli.contract.form import Form
from muomni_cli.contract.models import Tokenizer
from muomni_cli.structured_output.mask import FormState, tokens_of
from muomni_cli.structured_output.vocabulary import FormVocabulary
from muomni_text.byte_level import ByteTokenizer

SPECIALS = {"pad": 0, "bos": 1, "eos": 2, "system": 3, "user": 4, "assistant": 5}
EOS = 2


class Pieces:
    """A tokenizer with given tokens after the special ones, such as a plugin may bring."""

    specials: Mapping[str, int] = SPECIALS

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = [b""] * 6 + list(pieces)
        self.vocab_size = len(self.pieces)
        self.ids = {piece: token for token, piece in reversed([*enumerate(self.pieces)]) if piece}

    def token_bytes(self, token: int) -> bytes:
        return self.pieces[token]

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def encode(self, text: str) -> list[int]:
        ids, rest = list[int](), text.encode()
        while rest:
            length = next(length for length in range(16, 0, -1) if rest[:length] in self.ids)
            ids, rest = [*ids, self.ids[rest[:length]]], rest[length:]
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def save(self, folder: Path) -> None:
        raise NotImplementedError


BYTES = [bytes([byte]) for byte in range(256)]


@pytest.fixture(scope="module")
def bpe() -> Tokenizer:
    """The byte-level BPE of the model that comes along."""
    with load("nano") as model:
        return model.engine.tokenizer()


@given(st.binary(max_size=30), st.lists(st.binary(min_size=1, max_size=5), max_size=20, unique=True))
@settings(deadline=None, max_examples=60)
def test_a_text_is_spelled_with_the_fewest_tokens(text: bytes, more: list[bytes]) -> None:
    vocabulary = FormVocabulary(Pieces([*BYTES, *more, text[:4] or b"a"]))
    ids = vocabulary.fewest(text)
    assert ids is not None
    assert b"".join(vocabulary.tokens[token] for token in ids) == text
    best = [0]
    for end in range(1, len(text) + 1):
        best.append(1 + min(best[begin] for begin in range(end) if text[begin:end] in vocabulary.ids))
    assert len(ids) == best[-1]


CHOICES = ["yes", "yesterday", "no", "größer", "ye olde", "no one"]


@pytest.mark.parametrize("kind", ["bytes", "bpe", "many"])
def test_a_mask_holds_exactly_what_can_follow(kind: str, bpe: Tokenizer) -> None:
    tokenizer: Tokenizer = bpe
    if kind != "bpe":
        more = (
            [] if kind == "bytes" else [b"ye", b"yes", b"sterday", b"yesterdays", b"n", b"\xc3", b"gr\xc3", b" o", b"x"]
        )
        tokenizer = Pieces([*BYTES, *more])
    spelled = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
    form = Form.of({"choices": CHOICES})
    assert form is not None
    rng = np.random.default_rng(0)
    for _ in range(12):
        state, said = FormState(form, tokenizer, 30), b""
        while not state.finished:
            starts = [choice.encode()[len(said) :] for choice in CHOICES if choice.encode().startswith(said)]
            wanted = [
                token for token, piece in enumerate(spelled) if piece and any(s.startswith(piece) for s in starts)
            ]
            assert state.complete == (b"" in starts)
            allowed = state.allowed().tolist()
            if len({start[:1] for start in starts}) > 1 or len(allowed) > 1:
                assert allowed == sorted([*wanted, *([EOS] if state.complete else [])])
            assert set(allowed) <= {*wanted, EOS}, "where there is one way, it has the tokens of the training text"
            vocabulary = tokens_of(tokenizer).vocabulary
            assert state.tokens_to_end >= min(len(vocabulary.fewest(start) or []) for start in starts)
            token, squeezed = state.next(lambda ids: int(rng.choice(ids)), 30)
            assert not squeezed
            if token == EOS:
                break
            said += spelled[token]
        assert said.decode() in CHOICES
        assert state.matches(said.decode())
        assert not state.matches(said.decode() + "x")


def test_what_is_forced_has_the_tokens_of_training(bpe: Tokenizer) -> None:
    for text in ("Once upon a time, there was a hen.", "größer", "  two  spaces"):
        state, ids = FormState(Form("choices", json.dumps([text])), bpe, 50), list[int]()
        while not state.finished:
            ids.append(state.next(lambda ids: int(ids[-1]), 50)[0])
        assert ids == bpe.encode(text)


@pytest.mark.parametrize("room", range(1, 12))
def test_the_limit_leaves_only_what_fits(room: int) -> None:
    tokenizer = ByteTokenizer()
    form = Form.of({"choices": [*CHOICES, "a"]})
    assert form is not None
    rng = np.random.default_rng(room)
    said = set()
    for _ in range(40):
        state, ids = FormState(form, tokenizer, room), list[int]()
        while len(ids) < room and not state.finished:
            ids.append(state.next(lambda ids: int(rng.choice(ids)), room - len(ids))[0])
            if ids[-1] == EOS:
                break
        said.add(tokenizer.decode(ids))
    assert said <= {choice for choice in [*CHOICES, "a"] if len(choice.encode()) <= room}
    assert len(said) > min(room // 2, 3)


def test_special_tokens_and_tokens_without_bytes_are_never_allowed() -> None:
    tokenizer = Pieces([*BYTES, b"", b"<|eos|>", b"<|pad|>"])
    state = FormState(Form("regex", "(?s:.*)"), tokenizer, 10)
    allowed = state.allowed().tolist()
    assert not {0, 1, 3, 4, 5, 262} & set(allowed)
    assert {EOS, 263, 264} <= set(allowed), "the spelling of a special token is text"


def test_a_tokenizer_without_single_bytes_is_used_as_far_as_it_can_spell() -> None:
    words = Pieces([b"yes", b"no", b"a", b"b", b" "])
    form = Form.of({"choices": ["a b", "b"]})
    assert form is not None
    state = FormState(form, words, 5)
    assert words.decode([token for token in state.allowed() if token != EOS]) == "ab"
    with pytest.raises(RequestError, match="no tokens for single characters") as raised:
        FormState(Form("json_schema", "{}"), words, 50)
    assert raised.value.fix
    with pytest.raises(RequestError, match="no tokens for single characters"):
        FormState(Form("regex", "[xyz]+"), words, 50)


def test_no_answer_runs_into_what_cannot_be_spelled() -> None:
    """After "ab" only "c" is possible, which has no token: "a" then stands alone, or before "d"."""
    tokenizer = Pieces([b"a", b"b", b"d", b"ab"])
    form = Form.of({"choices": ["abc", "ad", "a"]})
    assert form is not None
    rng = np.random.default_rng(0)
    for _ in range(30):
        state, ids = FormState(form, tokenizer, 4), list[int]()
        while not state.finished:
            ids.append(state.next(lambda ids: int(rng.choice(ids)), 4)[0])
            if ids[-1] == EOS:
                break
        assert tokenizer.decode(ids) in ("ad", "a")


def test_a_vocabulary_of_150_000_tokens() -> None:
    rng = random.Random(0)
    words = {
        "".join(rng.choices('abcdefghijklmnopqrstuvwxyz :,{}"0123456789', k=rng.randrange(2, 7)))
        for _ in range(200_000)
    }
    tokenizer = Pieces([*BYTES, *(word.encode() for word in sorted(words)[: 150_000 - 262])])
    assert tokenizer.vocab_size == 150_000
    schema = '{"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}, "required": ["a"]}'
    draw = np.random.default_rng(0)
    state, said = FormState(Form("json_schema", schema), tokenizer, 24), b""
    for left in range(24, 0, -1):
        token, _ = state.next(lambda ids: int(draw.choice(ids)), left)
        said += tokenizer.token_bytes(token)
        if token == EOS or state.finished:
            break
    assert state.complete
    assert state.matches(said.decode())


@dataclass
class Unhashable(Pieces):
    """A dataclass that compares by value cannot be a key."""

    pieces: list[bytes] = field(default_factory=lambda: [b""] * 6 + BYTES)
    ids: dict[bytes, int] = field(default_factory=dict)
    vocab_size: int = 262


def test_tokenizers_are_prepared_once_and_given_up_with_the_model() -> None:
    tokenizer = Pieces(BYTES)
    first = tokens_of(tokenizer)
    assert tokens_of(tokenizer) is first
    assert FormState(Form("regex", "ab"), Unhashable(), 5).tokens_to_end == 2
    gone, tokens = weakref.ref(tokenizer), weakref.ref(first)
    FormState(Form("regex", "ab"), tokenizer, 5)
    del tokenizer, first
    gc.collect()
    assert gone() is None
    assert tokens() is None

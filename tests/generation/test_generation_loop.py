"""The loop over a real tiny model: text, streams, batches, stops, and memory between requests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.api import Capability, RequestError
from muomni_cli.generation import Request, Sampling, generate
from muomni_cli.generation.loop import TextStream
from muomni_cli.generation.torch_backend import ALL, TorchBackend
from muomni_text.byte_level import ByteTokenizer
from muomni_thinker.model import Transformer, build
from muomni_thinker.plugin import TransformerConfig

TOKENIZER = ByteTokenizer()
FIRST = TOKENIZER.encode("\0")[0]
GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(3)
    config = TransformerConfig(d_model=32, n_layers=2, n_heads=2, d_ff=48, ctx_len=48)
    return build(config, TOKENIZER.vocab_size).eval()


def texts(backend: TorchBackend, requests: Sequence[Request]) -> list[str]:
    joined = [""] * len(requests)
    for event in generate(backend, TOKENIZER, requests):
        joined[event.row] += event.text
    return joined


class Scripted:
    """A backend that says given tokens, for tests of the loop alone."""

    context = 1000

    def __init__(self, *scripts: Sequence[int]) -> None:
        self.scripts = scripts
        self.place = 0

    def begin(self, prompts: Sequence[Sequence[int]], capacity: int) -> tuple[None, np.ndarray]:
        assert capacity >= max(map(len, prompts))
        return None, self._logits()

    def step(self, state: None, tokens: np.ndarray) -> np.ndarray:
        assert state is None
        self.place += 1
        said = [script[self.place - 1] if len(script) >= self.place else -1 for script in self.scripts]
        assert [token for token in tokens if token >= 0] == [s for s, t in zip(said, tokens, strict=True) if t >= 0]
        return self._logits()

    def _logits(self) -> np.ndarray:
        logits = np.zeros((len(self.scripts), TOKENIZER.vocab_size), np.float32)
        for row, script in enumerate(self.scripts):
            logits[row, script[min(self.place, len(script) - 1)]] = 1
        return logits


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=30))
def test_streamed_text_is_the_decoded_text_and_never_part_of_a_character(values: list[int]) -> None:
    tokens = [FIRST + value for value in values]
    request = Request([1], GREEDY, max_tokens=len(tokens), loop_guard=False)
    events = list(generate(Scripted(tokens), TOKENIZER, [request]))
    assert "".join(event.text for event in events) == TOKENIZER.decode(tokens)
    assert [event.finish for event in events] == [None] * (len(tokens) - 1) + ["length"]


@given(st.text(min_size=1, max_size=20))
def test_characters_come_whole(text: str) -> None:
    stream = TextStream(TOKENIZER)
    pieces = [stream.push(token) for token in TOKENIZER.encode(text)]
    assert "".join(pieces) + stream.finish() == text
    assert "\ufffd" not in "".join(pieces).replace("\ufffd" if "\ufffd" in text else "\0", "")


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_stop_strings_end_the_text_before_their_first_occurrence(text: str, stops: list[str]) -> None:
    stream, said = TextStream(TOKENIZER, stops), ""
    for end, token in enumerate(TOKENIZER.encode(text), start=1):
        said += stream.push(token)
        assert text.startswith(said)
        assert stream.stopped == any(stop in text[:end] for stop in stops)
        if stream.stopped:
            break
    ends = [text.find(stop) for stop in stops if stop in text[:end]] if text and stream.stopped else [len(text)]
    assert said + stream.finish() == text[: min(ends)]


def test_a_stop_string_that_does_not_come_is_said_after_all() -> None:
    tokens = [*TOKENIZER.encode("one STO"), TOKENIZER.specials["eos"]]
    events = list(generate(Scripted(tokens), TOKENIZER, [Request([1], GREEDY, stop=["STOP"])]))
    assert "".join(event.text for event in events) == "one STO"
    assert events[-1].finish == "eos"


def test_rows_finish_by_themselves() -> None:
    long, short = TOKENIZER.encode("abcdef"), [*TOKENIZER.encode("xy"), TOKENIZER.specials["eos"]]
    stopped = TOKENIZER.encode("12STOP")
    requests = [Request([1], GREEDY, max_tokens=6, stop=["STOP"]) for _ in range(3)]
    events = list(generate(Scripted(long, short, stopped), TOKENIZER, requests))
    ends = {event.row: event.finish for event in events if event.finish}
    assert ends == {0: "length", 1: "eos", 2: "stop"}
    assert ["".join(e.text for e in events if e.row == row) for row in range(3)] == ["abcdef", "xy", "12"]


def test_greedy_is_the_uncached_argmax(model: Transformer) -> None:
    ids = [1, *TOKENIZER.encode("abc")]
    events = list(generate(TorchBackend(model), TOKENIZER, [Request(ids, GREEDY, max_tokens=12)]))
    for event in events:
        with torch.no_grad():
            wanted = int(model(torch.tensor([ids])).logits[0, -1].argmax())
        assert event.token == wanted
        ids.append(wanted)


@pytest.mark.parametrize("capabilities", [ALL, ALL - {Capability.RAGGED}, frozenset()])
def test_a_batch_says_what_singles_say(model: Transformer, capabilities: frozenset[Capability]) -> None:
    requests = [
        Request([1, *TOKENIZER.encode(text)], Sampling(top_k=20), seed=seed, max_tokens=n)
        for seed, (text, n) in enumerate([("a", 20), ("a longer one", 5), ("mid", 30)])
    ]
    alone = [texts(TorchBackend(model), [request])[0] for request in requests]
    assert texts(TorchBackend(model, capabilities), requests) == alone
    assert len(set(alone)) == 3


def test_same_seed_same_text(model: Transformer) -> None:
    first, again, other = (
        texts(TorchBackend(model), [Request([1], Sampling(), seed=seed, max_tokens=20)]) for seed in (5, 5, 6)
    )
    assert first == again != other


def test_the_context_ends_a_row(model: Transformer) -> None:
    prompt = [1, *TOKENIZER.encode("x" * 44)]
    events = list(generate(TorchBackend(model), TOKENIZER, [Request(prompt, GREEDY, max_tokens=100)]))
    assert events[-1].finish == "context"
    assert len(events) == 48 - 45 + 1


@pytest.mark.parametrize(("ids", "what"), [([], "empty"), ([1] * 50, r"50 tokens.*holds 48")])
def test_a_prompt_that_cannot_be_is_refused(model: Transformer, ids: list[int], what: str) -> None:
    with pytest.raises(RequestError, match=what):
        next(generate(TorchBackend(model), TOKENIZER, [Request(ids)]))


def test_kept_memory_runs_only_what_is_new_and_changes_nothing(model: Transformer) -> None:
    keeping, seen = TorchBackend(model, prefix_cache=True), []
    handle = model.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    try:
        prompt = [1, *TOKENIZER.encode("hello there")]
        for ids in (prompt, [*prompt, 70, 71], prompt, [1, *TOKENIZER.encode("help")]):
            fresh = texts(TorchBackend(model), [Request(ids, GREEDY, max_tokens=4)])
            seen.clear()
            assert texts(keeping, [Request(ids, GREEDY, max_tokens=4)]) == fresh
            read = seen[0]
            assert read < len(ids) or ids is prompt
    finally:
        handle.remove()
    assert read == 1  # "help" shares bos and "hel" with "hello there"


def test_frozen_weights_say_the_same(model: Transformer) -> None:
    request = Request([1, *TOKENIZER.encode("abc")], GREEDY, max_tokens=12)
    before = texts(TorchBackend(model), [request])
    assert texts(TorchBackend(model, pack_weights=True), [request]) == before


def test_what_cannot_be_cut_is_kept_where_a_prompt_goes_on_from_it(model: Transformer) -> None:
    """As a Thinker does whose memory is a state: a prompt that goes on runs what is new, any other from the start."""
    read: list[int] = []
    watched = model.tok_emb.register_forward_hook(lambda _, given, __: read.append(given[0].shape[1]))
    keeping, fresh = TorchBackend(model, ALL - {Capability.TRUNCATE}, prefix_cache=True), TorchBackend(model)
    try:
        for prompts, new in (([[5, 6, 7]], 3), ([[5, 6, 7, 8, 9]], 2), ([[5, 6, 8, 8, 9, 1]], 6), ([[5, 6, 8]], 3)):
            read.clear()
            _, logits = keeping.begin(prompts, 20)
            assert read == [new]
            np.testing.assert_allclose(logits, fresh.begin(prompts, 20)[1], atol=1e-5)
    finally:
        watched.remove()

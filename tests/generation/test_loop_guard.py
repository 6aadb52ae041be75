"""Answers that repeat themselves: what counts as a loop, where the answer is cut, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.generation import Event, Request, Sampling, generate
from muomni_cli.generation.loop import LoopGuard
from muomni_cli.generation.torch_backend import ALL, TorchBackend
from muomni_text.byte_level import ByteTokenizer
from muomni_thinker.model import Transformer, build
from muomni_thinker.plugin import TransformerConfig

TOKENIZER = ByteTokenizer()
EOS = TOKENIZER.specials["eos"]
GREEDY = Sampling(temperature=0)

LOOPING = st.builds(
    lambda before, ngram, copies, after: before + ngram * copies + after,
    st.text("abc ", max_size=6),
    st.text("abcé7", min_size=1, max_size=9),
    st.integers(1, 9),
    st.text("abc ", max_size=6),
)
"""Texts in which something may be repeated."""


class Saying:
    """A backend whose rows say given tokens, one after the other."""

    context = 1000

    def __init__(self, *scripts: Sequence[int]) -> None:
        self.scripts, self.place = scripts, 0

    def begin(self, prompts: Sequence[Sequence[int]], capacity: int) -> tuple[None, np.ndarray]:
        assert capacity >= max(map(len, prompts))
        return None, self.logits()

    def step(self, state: None, tokens: np.ndarray) -> np.ndarray:
        assert state is None
        assert len(tokens) == len(self.scripts)
        self.place += 1
        return self.logits()

    def logits(self) -> np.ndarray:
        logits = np.zeros((len(self.scripts), TOKENIZER.vocab_size), np.float32)
        for row, script in enumerate(self.scripts):
            logits[row, script[min(self.place, len(script) - 1)]] = 1
        return logits


def events_of(text: str, *, ends: bool = True, stop: Sequence[str] = (), guard: bool = True) -> list[Event]:
    tokens = [*TOKENIZER.encode(text), *([EOS] if ends else [])]
    request = Request([1], GREEDY, max_tokens=len(tokens), stop=stop, loop_guard=guard)
    return list(generate(Saying(tokens), TOKENIZER, [request]))


def said(text: str, **how: object) -> tuple[str, str | None]:
    events = events_of(text, **how)  # type: ignore[arg-type]
    return "".join(event.text for event in events), events[-1].finish


@pytest.mark.parametrize(
    "text",
    ["no no no", "ha ha ha, said he", "1000000 and 0.3333333333", "seven seven seven seven", "abcdefghi" * 4, "aaa"],
)
def test_what_may_be_said(text: str) -> None:
    assert said(text) == (text, "eos")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("HAHAHAHAHAHA", "HA"),
        ("aaaaa", "a"),
        ("aaaab", "a"),
        ("Well: ho ho ho ho ho ", "Well: ho"),
        ("abcdefgh" * 4 + "i", "abcdefgh"),
        ("0" * 40, "0"),
        ("1e1e1e1e1e", "1e"),
        ("éèéèéèéèéè", "éè"),
        ("Ýéééééééé", "Ýé"),  # the bytes of one letter end as the next ones do
    ],
)
def test_a_loop_ends_before_its_second_copy(text: str, kept: str) -> None:
    assert said(text) == (kept, "loop")


def test_a_stop_string_right_after_the_fourth_copy_is_no_loop() -> None:
    assert said("aaaaEND", stop=["END"]) == ("aaaa", "stop")
    assert said("aaaaENough", stop=["END"]) == ("a", "loop")
    assert said("aaaaaaaa", stop=["ab"]) == ("a", "loop")
    assert said("aaaaaaab", stop=["ab"]) == ("a", "loop")


def test_four_copies_up_to_the_longest_answer_are_a_loop_and_three_are_none() -> None:
    assert said("xyxyxyxy", ends=False) == ("xy", "loop")
    assert said("xyxyxyx", ends=False) == ("xyxyxyx", "length")
    assert said("aaaa", ends=False) == ("a", "loop")


def test_the_last_event_of_a_loop_is_an_end_of_sequence() -> None:
    events = events_of("go HAHAHAHAHA")
    assert TOKENIZER.decode([event.token for event in events[:-1]]) == "go HA"
    assert (events[-1].token, events[-1].finish) == (EOS, "loop")


@given(LOOPING)
def test_off_changes_nothing(text: str) -> None:
    assert said(text, guard=False) == (text, "eos")


@settings(deadline=None)
@given(LOOPING, st.booleans(), st.sampled_from([(), ("ab",), ("b a", "cab")]))
def test_what_is_said_is_never_taken_back_and_is_cut_only_in_a_loop(text: str, ends: bool, stop: Sequence[str]) -> None:
    whole, finish = said(text, ends=ends, stop=stop, guard=False)
    cut, guarded = said(text, ends=ends, stop=stop)
    assert whole.startswith(cut)
    assert (cut, guarded) == (whole, finish) or guarded == "loop"
    assert "\ufffd" not in cut


def copies_in(tokens: Sequence[int]) -> Iterator[int]:
    """Lengths of the n-grams of which ``tokens`` end with four copies."""
    for n in range(1, min(8, len(tokens) // 4) + 1):
        if list(tokens[-4 * n :]) == list(tokens[-n:]) * 4:
            yield n


@given(st.lists(st.integers(97, 99), max_size=60))
def test_the_first_four_copies_are_found(tokens: list[int]) -> None:
    guard, sure, found = LoopGuard(lambda token: bytes([token])), 0, None
    for count, token in enumerate(tokens, start=1):
        guard.push(token)
        if found is None:
            found = next((count - 3 * n for n in copies_in(tokens[:count])), None)
        assert guard.cut == found
        assert sure <= guard.sure <= count if found is None else guard.sure == found
        sure = guard.sure


@given(st.permutations(range(97, 120)))
def test_text_without_a_repetition_is_not_held_back(tokens: list[int]) -> None:
    guard = LoopGuard(lambda token: bytes([token]))
    for count, token in enumerate(tokens, start=1):
        guard.push(token)
        assert guard.sure == count


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(3)
    config = TransformerConfig(d_model=32, n_layers=2, n_heads=2, d_ff=48, ctx_len=96)
    return build(config, TOKENIZER.vocab_size).eval()


def texts(backend: TorchBackend, requests: Sequence[Request]) -> list[tuple[str, str | None]]:
    joined, ends = [""] * len(requests), [None] * len(requests)
    for event in generate(backend, TOKENIZER, requests):
        joined[event.row] += event.text
        ends[event.row] = event.finish or ends[event.row]
    return list(zip(joined, ends, strict=True))


def test_a_batch_says_what_singles_say_with_and_without_a_cache(model: Transformer) -> None:
    requests = [
        Request([1, *TOKENIZER.encode(text)], Sampling(temperature=heat), seed=7, max_tokens=60)
        for text, heat in [("a", 0.0), ("hello", 0.0), ("hm", 0.0), ("one two", 0.02), ("b", 1.0)]
    ]
    alone = [texts(TorchBackend(model), [request])[0] for request in requests]
    assert {"loop", "length"} <= {finish for _, finish in alone}
    assert texts(TorchBackend(model), requests) == alone
    assert texts(TorchBackend(model, frozenset()), requests) == alone
    assert texts(TorchBackend(model, ALL), [requests[0], requests[4]]) == [alone[0], alone[4]]

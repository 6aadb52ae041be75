"""Requests that are decoded together get what they get alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from muomni_cli.api import Capability, RequestError
from muomni_cli.generation import Request, Sampling, generate
from muomni_cli.generation.batch import ContinuousBatch
from muomni_cli.generation.torch_backend import ALL, TorchBackend
from muomni_text.byte_level import ByteTokenizer
from muomni_thinker.model import Transformer, build
from muomni_thinker.plugin import TransformerConfig
from tests.traffic import said_alone, said_together, shown, some_requests

TOKENIZER = ByteTokenizer()
CONTEXT = 40
GREEDY = Sampling(temperature=0)


class Counted(TorchBackend):
    """Knows how many rows each step had, and fails when it is told to."""

    steps: list[int]
    broken = False

    def step(self, state: Any, tokens: np.ndarray) -> np.ndarray:
        if self.broken:
            raise RuntimeError("the device is lost")
        self.steps.append(len(tokens))
        return super().step(state, tokens)


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(3)
    config = TransformerConfig(d_model=32, n_layers=2, n_heads=2, d_ff=48, ctx_len=CONTEXT)
    made = build(config, TOKENIZER.vocab_size).eval()
    for parameter in made.parameters():  # lively enough for every token to matter
        parameter.data.mul_(3.0 if parameter.ndim > 1 else 1.0)
    return made


def counted(model: Transformer, capabilities: frozenset[Capability] = ALL) -> Counted:
    backend = Counted(model, capabilities, hidden=True)
    backend.steps = []
    return backend


@pytest.mark.parametrize("lacks", [None, Capability.JOIN, Capability.RAGGED, Capability.CACHE])
@pytest.mark.parametrize("seed", range(3))
def test_nobody_minds_who_comes_and_goes(model: Transformer, seed: int, lacks: Capability | None) -> None:
    random = np.random.default_rng(seed)
    requests = some_requests(random, 12, TOKENIZER.vocab_size, CONTEXT)

    def make() -> TorchBackend:
        return TorchBackend(model, ALL - {lacks})

    said, abandoned, batch = said_together(make, TOKENIZER, requests, random)
    for number, alone in enumerate(said_alone(make, TOKENIZER, requests)):
        assert said[number] == (alone[: len(said[number])] if number in abandoned else alone)
    assert (batch.rows, batch._running, batch._state) == (0, [], None)


def prompts(count: int) -> list[Request]:
    return [Request([5 + number] * (1 + number), GREEDY, max_tokens=20, loop_guard=False) for number in range(count)]


def test_rows_of_different_lengths_share_every_step_and_an_abandoned_one_is_free_before_the_next(
    model: Transformer,
) -> None:
    backend = counted(model)
    batch = ContinuousBatch(backend, TOKENIZER)
    rows = [batch.generate(request, counted(model)) for request in prompts(4)]
    for row in rows:
        next(row)
    backend.steps.clear()
    next(rows[3])  # the others are ahead
    assert backend.steps == [4]
    rows[2].close()  # type: ignore[attr-defined]
    for _ in range(3):
        next(rows[3])
    assert backend.steps == [4, 3, 3, 3]
    assert batch.rows == 3


@pytest.mark.parametrize("alignment", [2, 3, 8])
def test_rows_join_when_they_are_aligned(model: Transformer, alignment: int) -> None:
    backend = counted(model)
    lengths: list[set[int]] = []
    step = backend.step

    def watched(state: Any, tokens: np.ndarray) -> np.ndarray:
        lengths.append({len(one.row.ids) % alignment for one in batch._running})
        return step(state, tokens)

    backend.step = watched  # type: ignore[method-assign]
    batch = ContinuousBatch(backend, TOKENIZER, alignment=alignment)
    with ThreadPoolExecutor(9) as pool:
        made = list(pool.map(lambda request: shown(batch.generate(request, counted(model))), prompts(9)))
    assert made == said_alone(lambda: counted(model), TOKENIZER, prompts(9))
    assert {len(phases) for phases in lengths} == {1}
    assert max(backend.steps) > 1
    assert (batch.rows, batch._running, batch._read) == (0, [], [])


def test_more_requests_than_rows_wait(model: Transformer) -> None:
    backend = counted(model)
    batch = ContinuousBatch(backend, TOKENIZER, most=2)
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda request: shown(batch.generate(request, counted(model))), prompts(6)))
    assert made == said_alone(lambda: counted(model), TOKENIZER, prompts(6))
    assert max(backend.steps) == 2


def test_hidden_states_are_those_of_a_request_alone(model: Transformer) -> None:
    batch = ContinuousBatch(counted(model), TOKENIZER)
    wanted = [list(generate(counted(model), TOKENIZER, [request], hidden=True)) for request in prompts(3)]
    rows = [batch.generate(request, counted(model), hidden=number != 1) for number, request in enumerate(prompts(3))]
    made: list[list[Any]] = [[], [], []]
    for _ in range(20):
        for row, events in zip(rows, made, strict=True):
            events += [event for event in [next(row, None)] if event is not None]
    assert all(event.hidden is None for event in made[1])
    for number in (0, 2):
        for one, other in zip(made[number], wanted[number], strict=True):
            np.testing.assert_allclose(one.hidden, other.hidden, atol=1e-5)


def test_media_are_read_by_the_backend_that_holds_them(model: Transformer) -> None:
    def asked(seed: int) -> tuple[TorchBackend, Request]:
        backend = counted(model)
        rows = np.random.default_rng(seed).standard_normal((2, 32), np.float32)
        return backend, Request([*backend.add_embeddings(rows), 5, 6], GREEDY, max_tokens=8)

    batch = ContinuousBatch(counted(model), TOKENIZER)
    pairs = [asked(seed) for seed in range(3)]
    rows = [batch.generate(request, backend) for backend, request in pairs]
    made: list[list[Any]] = [[next(row).token] for row in rows]
    for row, tokens in zip(rows, made, strict=True):
        tokens += [event.token for event in row]
    assert made == [
        [event.token for event in generate(backend, TOKENIZER, [one])] for backend, one in map(asked, range(3))
    ]
    assert len({tuple(tokens) for tokens in made}) > 1


@pytest.mark.parametrize("ids", [[], [5] * (CONTEXT + 1)])
def test_a_wrong_request_is_refused_at_once(model: Transformer, ids: Sequence[int]) -> None:
    batch = ContinuousBatch(counted(model), TOKENIZER)
    with pytest.raises(RequestError):
        batch.generate(Request(ids), counted(model))
    assert batch.rows == 0


def test_what_breaks_one_prompt_breaks_no_other(model: Transformer) -> None:
    batch = ContinuousBatch(counted(model), TOKENIZER)
    good = batch.generate(prompts(1)[0], counted(model))
    first = shown(iter([next(good)]))
    bad = batch.generate(Request([-5, 3]), counted(model))  # no such media
    with pytest.raises(AssertionError, match="add_embeddings"):
        next(bad)
    assert [first + shown(good)] == said_alone(lambda: counted(model), TOKENIZER, prompts(1))


def test_what_breaks_a_step_ends_its_rows_and_the_next_ones_run(model: Transformer) -> None:
    backend = counted(model)
    batch = ContinuousBatch(backend, TOKENIZER)
    rows = [batch.generate(request, counted(model)) for request in prompts(2)]
    for row in rows:
        next(row)
    backend.broken = True
    for row in rows:
        with pytest.raises(RuntimeError, match="the device is lost"):
            for _ in row:
                pass
    backend.broken = False
    assert batch.rows == 0
    again = shown(batch.generate(prompts(1)[0], counted(model)))
    assert [again] == said_alone(lambda: counted(model), TOKENIZER, prompts(1))

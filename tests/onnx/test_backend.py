# ruff: noqa: E402
"""Rows run together, and each gives what it gives alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

from muomni_cli.contract.models import PADDED_ROW
from muomni_onnx import backend as backends
from muomni_onnx.backend import OnnxBackend
from muomni_onnx.sessions import GraphSession, Value
from muomni_text.byte_level import ByteTable
from tests.onnx.thinker_parts import CONTEXT, VOCABULARY, WIDTH, write_summing
from tests.traffic import said_alone, said_together, some_requests

LETTERS = ByteTable([b""] * 6 + [bytes([97 + place]) for place in range(VOCABULARY - 6)])
TOLERANCE = 1e-5
"""Of a logit (they are about 3): a larger matrix product adds the same numbers in another order."""


class Counted(GraphSession):
    """A session that knows the shapes (B,T) it was called with."""

    calls: list[tuple[int, ...]]

    def __call__(self, feeds: Mapping[str, Value], wanted: Sequence[str] | None = None) -> dict[str, Value]:
        self.calls.append(feeds["inputs_embeds"].shape[:2])
        return super().__call__(feeds, wanted)


@pytest.fixture(params=[False, True], ids=["plain", "bound"])
def make(tiny: tuple[Path, dict[str, Any]], request: pytest.FixtureRequest) -> Any:
    """Makes a backend whose Thinker counts its calls; its caches are arrays, or bound to a device (here the CPU)."""
    folder, entry = tiny

    def made(*, padded: bool = True, **options: bool) -> tuple[OnnxBackend, list[tuple[int, ...]]]:
        thinker = Counted(folder / "thinker.onnx", 1, kept=entry["states"].values(), bind=request.param)
        thinker.calls = []
        embed = GraphSession(folder / "embed.onnx", 1)
        inputs = {name: axes for name, axes in entry["inputs"].items() if padded or name != "padding"}
        return OnnxBackend(embed, thinker, {**entry, "inputs": inputs}, CONTEXT, **options), thinker.calls

    return made


def some_rows(random: np.random.Generator, media_ids: Sequence[int]) -> list[list[int]]:
    """1 to 9 prompts, many of equal length, some with soft ids."""
    lengths = random.choice([1, 3, 4, 7], random.integers(1, 10))
    return [random.choice([*range(VOCABULARY), *media_ids], length).tolist() for length in lengths]


@pytest.mark.parametrize("seed", range(8))
def test_every_row_gives_what_it_gives_alone(make: Any, seed: int) -> None:
    """Random prompts, random tokens, and rows that rest at random, for good or for a while."""
    random = np.random.default_rng(seed)
    together, alone = make(hidden=True)[0], make(hidden=True)[0]
    embeddings = random.standard_normal((3, WIDTH), np.float32)
    media_ids = together.add_embeddings(embeddings)
    assert alone.add_embeddings(embeddings) == media_ids
    prompts = some_rows(random, media_ids)
    state, logits = together.begin(prompts, CONTEXT)
    single = [alone.begin([prompt], CONTEXT) for prompt in prompts]
    np.testing.assert_allclose(logits, np.concatenate([own for _, own in single]), atol=TOLERANCE)
    rests = np.zeros(len(prompts), bool)
    for _ in range(12):
        rests ^= random.random(len(prompts)) < 0.15
        tokens = np.where(rests, PADDED_ROW, random.integers(0, VOCABULARY, len(prompts)))
        logits, hidden = together.step(state, tokens), together.hidden(state)
        for row in np.flatnonzero(~rests):
            own = single[row][0]
            np.testing.assert_allclose(logits[row], alone.step(own, tokens[row : row + 1])[0], atol=TOLERANCE)
            np.testing.assert_allclose(hidden[row], alone.hidden(own)[0], atol=TOLERANCE)


def test_prompts_of_equal_length_run_in_one_call_and_then_all_rows(make: Any) -> None:
    backend, calls = make()
    state, _ = backend.begin([[1, 2, 3], [4, 5], [6, 7, 8], [9, 10]], CONTEXT)
    assert sorted(calls) == [(2, 2), (2, 3)]
    calls.clear()
    backend.step(state, np.array([1, 2, 3, 4]))
    assert calls == [(4, 1)]
    calls.clear()
    backend.step(state, np.array([PADDED_ROW, 2, 3, PADDED_ROW]))
    assert calls == [(2, 1)]


def test_without_padding_only_rows_of_equal_length_run_in_one_call(make: Any) -> None:
    backend, calls = make(padded=False)
    state, _ = backend.begin([[1, 2, 3], [4, 5], [6, 7, 8], [9, 10]], CONTEXT)
    calls.clear()
    backend.step(state, np.array([1, 2, 3, 4]))
    assert calls == [(2, 1), (2, 1)]
    calls.clear()
    backend.step(state, np.array([PADDED_ROW, 2, 3, PADDED_ROW]))
    assert calls == [(1, 1), (1, 1)]


def test_places_that_are_empty_in_all_rows_are_not_kept(make: Any) -> None:
    backend, _ = make()
    state, _ = backend.begin([[1] * 20, [2]], CONTEXT)
    backend.step(state, np.array([3, 4]))
    assert (state[1].begin, state[1].group.length) == (19, 21)
    state = backend.select(state, [1])
    backend.step(state, np.array([5]))
    assert (state[0].begin, state[0].group.length) == (0, 3)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_nobody_minds_who_comes_and_goes(make: Any, seed: int, padded: bool) -> None:
    random = np.random.default_rng(seed)
    requests = some_requests(random, 12, VOCABULARY, CONTEXT)

    def one() -> OnnxBackend:
        return make(padded=padded)[0]  # type: ignore[no-any-return]

    said, abandoned, _ = said_together(one, LETTERS, requests, random)
    for number, alone in enumerate(said_alone(one, LETTERS, requests)):
        assert said[number] == (alone[: len(said[number])] if number in abandoned else alone)


def test_a_few_rows_that_rest_are_carried_and_many_are_left_behind(make: Any) -> None:
    backend, calls = make()
    state, _ = backend.begin([[row] for row in range(8)], CONTEXT)
    for resting in range(1, 4):
        backend.step(state, np.array([PADDED_ROW] * resting + [5] * (8 - resting)))
    assert calls == [(8, 1), (8, 1), (6, 1), (6, 1)]
    assert [row.group is None for row in state] == [True, True, *[False] * 6]


def test_a_prompt_that_begins_alike_runs_only_what_is_new(make: Any) -> None:
    backend, calls = make(prefix_cache=True)
    fresh, _ = make()
    backend.begin([[1, 2, 3, 4, 5], [1, 2, 3, 9, 5]], CONTEXT)
    prompts = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 7, 8]]
    calls.clear()
    _, again = backend.begin(prompts, CONTEXT)
    assert sorted(calls) == [(1, 1), (1, 2)]
    np.testing.assert_allclose(again, fresh.begin(prompts, CONTEXT)[1], atol=TOLERANCE)
    calls.clear()
    shorter = [prompt[:3] for prompt in prompts]
    np.testing.assert_allclose(backend.begin(shorter, CONTEXT)[1], fresh.begin(shorter, CONTEXT)[1], atol=TOLERANCE)
    assert calls == [(2, 1)]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_kept_changes_nothing(make: Any, seed: int) -> None:
    """Requests that begin like the last, with steps between and rows that rest."""
    random = np.random.default_rng(seed)
    backend, fresh = make(prefix_cache=True)[0], make()[0]
    prompts = [random.integers(0, 3, length).tolist() for length in (5, 5, 8, 8)]
    for _ in range(5):
        state, logits = backend.begin(prompts, CONTEXT)
        np.testing.assert_allclose(logits, fresh.begin(prompts, CONTEXT)[1], atol=TOLERANCE)
        for _ in range(3):
            tokens = random.integers(PADDED_ROW, 3, len(prompts))
            backend.step(state, tokens)
            prompts = [
                [*one, token] if token != PADDED_ROW else one for one, token in zip(prompts, tokens, strict=True)
            ]
        prompts = [one[: random.integers(1, len(one))] + random.integers(0, 3, 2).tolist() for one in prompts]


def test_long_prompts_are_read_in_pieces(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = np.random.default_rng(0).integers(0, VOCABULARY, (3, 20)).tolist()
    backend, calls = make()
    _, whole = backend.begin(prompts, CONTEXT)
    monkeypatch.setattr(backends, "LOGITS", 3 * VOCABULARY * 8)
    _, pieces = backend.begin(prompts, CONTEXT)
    assert calls == [(3, 20), (3, 8), (3, 8), (3, 4)]
    np.testing.assert_allclose(pieces, whole, atol=TOLERANCE)


def test_the_whole_context_can_be_filled(make: Any) -> None:
    backend, _ = make()
    state, _ = backend.begin([[1] * (CONTEXT - 1)], CONTEXT)
    assert np.isfinite(backend.step(state, np.array([2]))).all()


@pytest.mark.parametrize("bind", [False, True])
def test_states_of_any_type_that_do_not_grow(tiny: tuple[Path, dict[str, Any]], bind: bool) -> None:
    """They cannot be cut, so nobody is carried along and nothing is kept; logits are float32 whatever the graph's."""
    folder, entry = tiny[0], write_summing(tiny[0])
    summing = GraphSession(folder / "summing.onnx", 1, kept=["sum_now"], bind=bind)
    embed = GraphSession(folder / "embed.onnx", 1)
    backend = OnnxBackend(embed, summing, entry, CONTEXT, prefix_cache=True)
    table = embed({"input_ids": np.arange(VOCABULARY)[None]})["inputs_embeds"][0]
    rows = [[row, 3] for row in range(8)]
    for _ in range(2):
        state, logits = backend.begin(rows, CONTEXT)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, [table[row].sum(axis=0) for row in rows], atol=0.05)
    held = [list(row) for row in rows]
    for tokens in ([PADDED_ROW, 2, 3, 4, 5, 6, 7, 8], [1, PADDED_ROW, 1, 1, 1, 1, 1, 1], [2] * 8):
        logits = backend.step(state, np.array(tokens))
        for row, token in enumerate(tokens):
            if token != PADDED_ROW:
                held[row].append(token)
                np.testing.assert_allclose(logits[row], table[held[row]].sum(axis=0), atol=0.1)


@pytest.fixture
def summing(tiny: tuple[Path, dict[str, Any]], tmp_path: Path) -> Any:
    """Makes a backend whose Thinker remembers a sum, and counts its calls; and what it gives for a row of tokens."""
    entry = write_summing(tmp_path)
    embed = GraphSession(tiny[0] / "embed.onnx", 1)
    table = embed({"input_ids": np.arange(VOCABULARY)[None]})["inputs_embeds"][0]

    def made(**options: bool) -> tuple[OnnxBackend, list[tuple[int, ...]]]:
        session = Counted(tmp_path / "summing.onnx", 1, kept=["sum_now"])
        session.calls = []
        return OnnxBackend(embed, session, entry, CONTEXT, **options), session.calls

    return made, lambda row: table[row].sum(axis=0)


def test_rows_of_any_length_share_a_call_where_states_are_of_one_size(summing: Any) -> None:
    make, wanted = summing
    backend, calls = make()
    held = [[1, 2, 3], [4], [5, 6], [7]]
    state, _ = backend.begin(held, CONTEXT)
    assert sorted(calls) == [(1, 2), (1, 3), (2, 1)]
    for tokens, size in (([1, 2, 3, 4], 4), ([PADDED_ROW, 5, 6, 7], 3), ([PADDED_ROW, 8, 9, PADDED_ROW], 2)):
        calls.clear()
        logits = backend.step(state, np.array(tokens))
        assert calls == [(size, 1)]
        for row in np.flatnonzero(np.array(tokens) != PADDED_ROW):
            held[row].append(tokens[row])
            np.testing.assert_allclose(logits[row], wanted(held[row]), atol=0.1)


def test_states_that_cannot_be_cut_are_kept_where_a_prompt_goes_on_from_them(summing: Any) -> None:
    make, wanted = summing
    backend, calls = make(prefix_cache=True)
    backend.begin([[1, 2, 3], [4, 5, 6]], CONTEXT)
    for prompts, read in (
        ([[1, 2, 3, 7, 8], [4, 5, 6, 9, 1]], [(2, 2)]),
        ([[1, 2, 3, 7, 8, 2], [4, 5, 6, 2, 2, 2]], [(1, 1), (1, 6)]),
        ([[1, 2, 3, 7, 8, 2], [4, 5, 6]], [(1, 3), (1, 6)]),
    ):
        calls.clear()
        _, logits = backend.begin(prompts, CONTEXT)
        assert sorted(calls) == read
        np.testing.assert_allclose(logits, [wanted(prompt) for prompt in prompts], atol=0.1)

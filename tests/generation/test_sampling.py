"""Drawing tokens: each filter against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muomni_cli.api import RequestError
from muomni_cli.generation.loop import Sampling, candidates, draw, penalize

LOGITS = np.log(np.array([0.05, 0.4, 0.1, 0.3, 0.15], dtype=np.float32))
rows = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=30).map(lambda values: np.array(values, np.float32))


@given(rows)
def test_temperature_zero_is_the_most_likely_token(logits: np.ndarray) -> None:
    assert draw(logits, Sampling(temperature=0), np.random.default_rng(0)) == int(logits.argmax())


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-190, 1e-30])
def test_the_smallest_temperatures_are_as_zero(temperature: float) -> None:
    assert draw(LOGITS, Sampling(temperature=temperature), np.random.default_rng(0)) == 1


@given(rows, st.floats(0.05, 0.99))
def test_top_p_keeps_the_smallest_set_that_holds_p(logits: np.ndarray, top_p: float) -> None:
    tokens, weights = candidates(logits, Sampling(top_p=top_p))
    probabilities = np.exp(logits.astype(float) - logits.max())
    probabilities /= probabilities.sum()
    assert probabilities[tokens].sum() >= top_p - 1e-9
    assert probabilities[tokens[:-1]].sum() < top_p + 1e-9
    left_out = np.setdiff1d(np.arange(len(logits)), tokens)
    assert not len(left_out) or probabilities[left_out].max() <= probabilities[tokens].min() + 1e-12
    assert weights.sum() == pytest.approx(1)


@given(rows, st.floats(0.01, 1))
def test_min_p_keeps_what_is_likely_beside_the_best(logits: np.ndarray, min_p: float) -> None:
    tokens, _ = candidates(logits, Sampling(min_p=min_p))
    ratios = np.exp(logits.astype(float) - logits.max())
    clear = np.abs(ratios - min_p) > 1e-9
    assert set(np.flatnonzero((ratios >= min_p) & clear)) <= set(tokens.tolist())
    assert set(np.flatnonzero((ratios < min_p) & clear)).isdisjoint(tokens.tolist())


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(top_k=2), [1, 3]),
        (Sampling(top_k=99), [1, 3, 4, 2, 0]),
        (Sampling(top_p=0.75), [1, 3, 4]),
        (Sampling(min_p=0.3), [1, 3, 4]),
        (Sampling(top_k=3, top_p=0.5), [1, 3]),
    ],
)
def test_filters_by_example(sampling: Sampling, kept: list[int]) -> None:
    assert candidates(LOGITS, sampling)[0].tolist() == kept


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.5), Sampling(top_k=3)])
def test_draws_follow_the_distribution(sampling: Sampling) -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount([draw(LOGITS, sampling, rng) for _ in range(4000)], minlength=5) / 4000
    tokens, weights = candidates(LOGITS, sampling)
    wanted = np.zeros(5)
    wanted[tokens] = weights
    assert np.abs(counts - wanted).max() < 0.03


def test_repetition_penalty_divides_what_is_positive_and_multiplies_what_is_negative() -> None:
    logits = np.array([2.0, -2.0, 3.0], np.float32)
    assert penalize(logits, [0, 1, 0], 2.0).tolist() == [1.0, -4.0, 3.0]
    assert logits.tolist() == [2.0, -2.0, 3.0]


MISTAKES = {
    "temperature": [-1, float("nan")],
    "top_k": [-1],
    "top_p": [0, 1.5],
    "min_p": [2],
    "repetition_penalty": [0],
}


@pytest.mark.parametrize("mistake", [{name: value} for name, values in MISTAKES.items() for value in values])
def test_a_setting_that_cannot_be_is_named(mistake: dict[str, float]) -> None:
    with pytest.raises(RequestError, match=next(iter(mistake))):
        Sampling(**mistake)

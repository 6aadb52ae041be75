"""Log-mel made faster or slower: exact lengths, the same however it is split, lines and levels stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.audio.stretch import MelStretch

SPEEDS = st.floats(0.4, 2.5)
BINS = 3


def stretched(mel: np.ndarray, speed: float, cuts: list[int]) -> np.ndarray:
    stream, begin, made = MelStretch(speed, BINS), 0, []
    for cut in [*sorted(min(cut, len(mel)) for cut in cuts), len(mel)]:
        made.append(stream.push(mel[begin:cut]))
        begin = cut
    return np.concatenate([*made, stream.finish()])


@settings(max_examples=60, deadline=None)
@given(SPEEDS, st.integers(0, 90), st.lists(st.integers(0, 90), max_size=8))
def test_pieces_are_the_whole_and_the_length_is_exact(speed: float, count: int, cuts: list[int]) -> None:
    mel = np.random.default_rng(count).standard_normal((count, BINS)).astype(np.float32)
    whole = stretched(mel, speed, [])
    assert np.array_equal(stretched(mel, speed, cuts), whole)
    assert whole.dtype == np.float32
    assert abs(len(whole) - count / speed) <= 1


@settings(max_examples=60, deadline=None)
@given(SPEEDS, st.integers(2, 90))
def test_a_line_stays_a_line_of_another_slope(speed: float, count: int) -> None:
    mel = np.arange(count, dtype=np.float32)[:, None] * np.array([1.0, -2.0, 0.0], np.float32) - 4
    wanted = np.minimum(np.arange(len(stretched(mel, speed, []))) * speed, count - 1)
    assert stretched(mel, speed, []) == pytest.approx(wanted[:, None] * np.array([1.0, -2.0, 0.0]) - 4, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(SPEEDS, st.integers(1, 90))
def test_nothing_is_louder_or_quieter_than_before(speed: float, count: int) -> None:
    mel = np.random.default_rng(count).standard_normal((count, BINS)).astype(np.float32)
    made = stretched(mel, speed, [])
    assert (made <= mel.max(0)).all()
    assert (made >= mel.min(0)).all()


def test_a_stream_can_be_used_again() -> None:
    stream = MelStretch(0.75, BINS)
    mel = np.random.default_rng(0).standard_normal((20, BINS)).astype(np.float32)
    first = np.concatenate([stream.push(mel), stream.finish()])
    assert np.array_equal(np.concatenate([stream.push(mel), stream.finish()]), first)
    assert stream.finish().shape == (0, BINS)

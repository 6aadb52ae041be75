"""Windows: each token a target exactly once an epoch, pure draws, honest shares, masks and padding."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.data.batches import CYCLE, Mixture, TokenStream, Windows


def stream(count: int, start: int = 100, mask: bool = False) -> TokenStream:
    tokens = np.arange(start, start + count, dtype=np.uint16)
    return TokenStream("s", tokens, (tokens % 3 == 0).astype(np.uint8) if mask else None)


def targets(windows: Windows, steps: range, batch_size: int) -> list[int]:
    found: list[int] = []
    for step in steps:
        window = windows.batch(step, batch_size)
        found += window.tokens[:, 1:][window.mask].tolist()
    return found


@given(count=st.integers(2, 300), length=st.integers(1, 40), epoch=st.integers(0, 3), seed=st.integers(0, 99))
@settings(max_examples=300, deadline=None)
def test_every_token_is_a_target_once_an_epoch(count: int, length: int, epoch: int, seed: int) -> None:
    windows = Mixture([stream(count)], [1.0]).windows(length, seed)
    drawn = targets(windows, range(epoch * len(windows), (epoch + 1) * len(windows)), 1)
    assert sorted(drawn) == list(range(101, 100 + count))


@given(count=st.integers(2, 300), length=st.integers(1, 40), batch_size=st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_validation_goes_through_the_text_in_order(count: int, length: int, batch_size: int) -> None:
    windows = Mixture([stream(count), stream(5, 1000)], [1.0, 1.0]).windows(length)
    drawn = [t for w in windows.batches(batch_size) for t in w.tokens[:, 1:][w.mask].tolist()]
    assert drawn == [*range(101, 100 + count), *range(1001, 1005)]


@given(
    mask=st.lists(st.booleans(), min_size=2, max_size=200).filter(lambda mask: any(mask[1:])),
    length=st.integers(1, 30),
    epoch=st.integers(0, 2),
    seed=st.integers(0, 9),
)
@settings(max_examples=300, deadline=None)
def test_every_window_has_a_target_and_every_target_is_drawn(
    mask: list[bool], length: int, epoch: int, seed: int
) -> None:
    tokens = np.arange(100, 100 + len(mask), dtype=np.uint16)
    windows = Mixture([TokenStream("s", tokens, np.array(mask, np.uint8))], [1.0]).windows(length, seed)
    wanted = [100 + place for place, learned in enumerate(mask) if learned and place]
    drawn = [windows.batch(step, 1) for step in range(epoch * len(windows), (epoch + 1) * len(windows))]
    assert all(window.mask.any() for window in drawn)
    assert {target for window in drawn for target in window.tokens[:, 1:][window.mask].tolist()} == set(wanted)
    validated = list(windows.batches(1))
    assert all(window.mask.any() for window in validated)
    assert [target for window in validated for target in window.tokens[:, 1:][window.mask].tolist()] == wanted


def test_take_is_pure_and_seeded() -> None:
    mixture = Mixture([stream(1000), stream(500, 5000)], [1.0, 2.0])
    forward, backward = mixture.windows(16, 7), mixture.windows(16, 7)
    ahead = [forward.batch(step, 4).tokens for step in range(60)]
    back = [backward.batch(step, 4).tokens for step in reversed(range(60))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(ahead, back, strict=True))
    assert not np.array_equal(ahead[0], mixture.windows(16, 8).batch(0, 4).tokens)


def test_batches_are_made_of_the_same_draws() -> None:
    windows = Mixture([stream(1000)], [1.0]).windows(16, 7)
    small = np.concatenate([windows.batch(step, 2).tokens for step in range(6)])
    assert np.array_equal(small, np.concatenate([windows.batch(step, 4).tokens for step in range(3)]))


def test_epochs_differ_in_order_and_offset() -> None:
    windows = Mixture([stream(2000)], [1.0]).windows(32, 0)
    starts = [{int(windows.batch(e * len(windows) + i, 1).tokens[0, 0]) for i in range(len(windows))} for e in range(4)]
    assert all(a != b for a, b in pairwise(starts))


def test_shapes_types_and_padding_of_a_short_text() -> None:
    window = Mixture([stream(4)], [1.0]).windows(8).batch(0, 2)
    assert window.tokens.shape == (2, 9)
    assert window.tokens.dtype == np.int64
    assert window.mask.shape == (2, 8)
    assert window.tokens[0].tolist() == [100, 101, 102, 103, 0, 0, 0, 0, 0]
    assert window.mask[0].tolist() == [True] * 3 + [False] * 5


def test_the_mask_is_that_of_the_target() -> None:
    drawn = targets(Mixture([stream(200, mask=True)], [1.0]).windows(16), range(20), 1)
    assert drawn
    assert all(token % 3 == 0 for token in drawn)


@pytest.mark.parametrize("weights", [(1.0, 3.0), (0.5, 1.5), (1.0, 1e-9)])
def test_weights_are_shares_of_the_draws_whatever_the_sizes(weights: tuple[float, float]) -> None:
    windows = Mixture([stream(3000), stream(100, 5000)], weights).windows(8, 1)
    second = sum(int((windows.batch(step, 10).tokens[:, 0] >= 5000).sum()) for step in range(CYCLE // 10))
    assert second == pytest.approx(max(1, CYCLE * weights[1] / sum(weights)), abs=1)


def test_in_a_mixture_too_every_token_is_drawn_equally_often() -> None:
    windows = Mixture([stream(999), stream(333, 5000)], [1.0, 1.0]).windows(10, 3)
    drawn = targets(windows, range(20 * CYCLE // 10), 10)
    counts = np.bincount([token for token in drawn if token >= 5000])[5001:]
    assert counts.max() - counts.min() <= 1

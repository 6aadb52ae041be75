"""A training that is resumed with another batch size goes on at the same example: none is skipped, none comes twice."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.data.batches import BatchSampler, Mixture, TokenStream, drawn_until, token_type

SESSIONS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=4)


def stream(count: int, first: int = 0) -> TokenStream:
    return TokenStream("text", np.arange(first, first + count, dtype=token_type(1 << 20)))


def sessions(draws: list[tuple[int, int]]) -> list[tuple[range, int, list[tuple[int, int]]]]:
    """The steps of each session, its batch size, and what was drawn before."""
    found, done, drawn = [], 0, []
    for steps, size in draws:
        found.append((range(done, done + steps), size, drawn))
        done += steps
        drawn = drawn_until(drawn, done, size)
    return found


@settings(deadline=None)  # others may compute at the same time
@given(SESSIONS)
def test_what_was_drawn_adds_up(draws: list[tuple[int, int]]) -> None:
    *_, (steps, size, before) = sessions(draws)
    drawn = drawn_until(before, steps.stop, size)
    assert sum(count for count, _ in drawn) == steps.stop
    assert sum(count * size for count, size in drawn) == sum(count * size for count, size in draws)
    assert all(one[1] != other[1] for one, other in pairwise(drawn))


@pytest.mark.parametrize("sources", [1, 2])
@settings(deadline=None)  # others may compute at the same time
@given(draws=SESSIONS)
def test_windows_go_on_at_the_same_example(sources: int, draws: list[tuple[int, int]]) -> None:
    streams, weights = [stream(900), stream(300, 5000)][:sources], [1.0, 2.0][:sources]
    rows: list[list[int]] = []
    for steps, size, drawn in sessions(draws):
        windows = Mixture(streams, weights, drawn).windows(16, 7)
        rows += [row.tolist() for step in steps for row in windows.batch(step, size).tokens]
    whole = Mixture(streams, weights).windows(16, 7).batch(0, len(rows)).tokens
    assert rows == whole.tolist()


@settings(deadline=None)  # others may compute at the same time
@given(draws=SESSIONS, count=st.integers(20, 1500))
def test_examples_go_on_that_the_epoch_has_left(draws: list[tuple[int, int]], count: int) -> None:
    sizes, seen = [1 + (7 * n) % 13 for n in range(count)], Counter[int]()
    for steps, size, drawn in sessions(draws):
        sampler = BatchSampler(sizes, [0] * count, [1.0], 3)
        sampler.drawn = drawn
        batches = [sampler.batch(step, size) for step in steps]
        assert all(len(batch) == size for batch in batches)
        seen.update(row for batch in batches for row in batch)
    total = sum(steps * size for steps, size in draws)
    if total < count - 9 * len(draws):  # less than a batch of each session stays for later epochs
        assert max(seen.values()) == 1
        assert len(seen) == total


@settings(deadline=None)  # others may compute at the same time
@given(draws=SESSIONS, size=st.integers(1, 9))
def test_resuming_with_the_same_size_changes_nothing(draws: list[tuple[int, int]], size: int) -> None:
    counts = [steps for steps, _ in draws]
    rows = []
    whole = BatchSampler(list(range(50)), [n % 2 for n in range(50)], [1.0, 3.0], 5)
    for steps, own, drawn in sessions([(steps, size) for steps in counts]):
        sampler = BatchSampler(list(range(50)), [n % 2 for n in range(50)], [1.0, 3.0], 5)
        sampler.drawn = drawn
        rows += [sampler.batch(step, own) for step in steps]
    assert rows == [whole.batch(step, size) for step in range(sum(counts))]


@settings(deadline=None)  # others may compute at the same time
@given(draws=SESSIONS, cut=st.integers(0, 29))
def test_stopping_once_more_changes_nothing(draws: list[tuple[int, int]], cut: int) -> None:
    steps, size = draws[-1]
    parts = [*draws[:-1], (min(cut, steps), size), (steps - min(cut, steps), size)]

    def last_rows(sessions_of: list[tuple[int, int]], count: int) -> list[list[int]]:
        rows: list[list[int]] = []
        for steps, size, drawn in sessions(sessions_of)[-count:]:
            sampler = BatchSampler(list(range(40)), [0] * 40, [1.0], 5)
            sampler.drawn = drawn
            rows += [sampler.batch(step, size) for step in steps]
        return rows

    assert last_rows([part for part in parts if part[0]], sum(part[0] > 0 for part in parts[-2:])) == last_rows(
        draws, 1
    )

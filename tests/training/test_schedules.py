"""Properties of the learning-rate schedules."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import settings

from muomni_cli.training.optim import factor

SHAPES = st.fixed_dictionaries(
    {
        "steps": st.integers(50, 300),
        "warmup_steps": st.integers(0, 50),
        "min_lr": st.floats(0, 1),
        "decay_fraction": st.floats(0.05, 1),
        "schedule": st.sampled_from(["cosine", "wsd", "constant"]),
    }
)


@given(SHAPES)
def test_climbs_then_never_climbs_again_and_stays_within_bounds(shape: dict) -> None:
    chosen = settings(**shape)
    rates = [factor(chosen, step) for step in range(chosen.steps)]
    warm = rates[: chosen.warmup_steps]
    assert all(0 < rate <= 1 for rate in rates)
    assert warm == sorted(warm)
    cold = rates[chosen.warmup_steps :]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(cold))
    assert all(rate >= chosen.min_lr - 1e-12 for rate in cold)


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_ends_near_the_least_rate(schedule: str) -> None:
    chosen = settings(steps=1000, warmup_steps=10, schedule=schedule, min_lr=0.1, decay_fraction=0.2)
    assert factor(chosen, 999) == pytest.approx(0.1, abs=0.006)


def test_cosine_is_half_way_down_half_way() -> None:
    assert factor(settings(steps=110, warmup_steps=10, schedule="cosine", min_lr=0.0), 60) == pytest.approx(0.5)


def test_wsd_is_at_the_peak_until_it_falls() -> None:
    chosen = settings(steps=100, warmup_steps=10, schedule="wsd", decay_fraction=0.25, min_lr=0.0)
    assert {factor(chosen, step) for step in range(10, 76)} == {1.0}
    assert factor(chosen, 76) < 1

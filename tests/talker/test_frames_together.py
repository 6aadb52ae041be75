"""Frames that are decoded together are those of each speech alone."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from muomni_cli.api import CodeShape, TextChunk, VoiceSettings
from muomni_talker.frames import AHEAD, FrameBatch
from muomni_talker.model import TalkerBase, TorchEngine, build
from muomni_talker.plugin import CursorConfig
from tests.talker.speeches import alone, require_equal, speech, together

HEARD = 6


@pytest.fixture(scope="module")
def talker() -> TalkerBase:
    torch.manual_seed(1)
    config = CursorConfig(
        d_text=16, text_layers=1, text_kernel=3, d_model=16, n_layers=2, n_heads=2, d_ff=16, max_duration=12,
        ctx_len=512,
    )  # fmt: skip
    made = build(config, CodeShape(2, 16, 0.08), ("rms", "slt"), HEARD).eval()
    for parameter in made.parameters():  # lively enough for every code to matter
        parameter.data.mul_(2.0 if parameter.ndim > 1 else 1.0)
    return made


class Counted(TorchEngine):
    """Knows how many rows each step had, and fails when it is told to."""

    broken = False

    def __init__(self, talker: TalkerBase) -> None:
        super().__init__(talker)
        self.steps: list[int] = []

    def step(self, before: NDArray[Any], plan: NDArray[Any], memories: Sequence[Any]) -> torch.Tensor:
        if self.broken:
            raise RuntimeError("the device is lost")
        self.steps.append(len(before))
        return super().step(before, plan, memories)


def greedy(logits: NDArray[Any]) -> int:
    return int(logits.argmax())


@pytest.mark.parametrize("seed", range(4))
def test_nobody_minds_who_comes_and_goes(talker: TalkerBase, seed: int) -> None:
    said, abandoned = together(talker, 12, np.random.default_rng(seed))
    require_equal(said, abandoned, alone(talker, 12))
    assert talker._shared is not None
    assert talker._shared.batch.rows == 0


def test_threads_share_the_steps(talker: TalkerBase) -> None:
    def whole(number: int) -> NDArray[Any]:
        return np.concatenate(list(speech(talker, number, together=True)))

    one = alone(talker, 12)
    assert len({codes.tobytes() for codes in one}) == 12, "a model that always says the same tests nothing"
    with ThreadPoolExecutor(6) as pool:
        require_equal(list(pool.map(whole, range(12))), set(), one)


def test_sentences_of_different_lengths_share_every_step_and_one_that_left_is_in_no_further_one(
    talker: TalkerBase,
) -> None:
    engine = Counted(talker)
    batch = FrameBatch(engine, 16)
    plans = np.random.default_rng(0).standard_normal((4, 20, 16), np.float32)
    rows = [batch.join(greedy) for _ in plans]
    for row, plan, lead in zip(rows, plans, (0, 1, 3, 6), strict=True):
        list(batch.decode(row, plan[:lead]))
        row.plans.extend(plan[lead:])
    engine.steps.clear()
    for row in rows:
        batch.next_event(row)
    assert engine.steps == [4]
    batch.leave(rows[2])
    for row in (rows[0], rows[1], rows[3]):
        batch.next_event(row)
    assert (engine.steps, batch.rows) == ([4, 3], 3)


def test_a_consumer_that_is_away_stops_nobody_and_is_not_run_ahead_of(talker: TalkerBase) -> None:
    engine = Counted(talker)
    batch = FrameBatch(engine, 16)
    plans = np.random.default_rng(0).standard_normal((2, 20, 16), np.float32)
    here, away = (batch.join(greedy) for _ in plans)
    away.plans.extend(plans[0])
    assert len(list(batch.decode(here, plans[1]))) == 20
    assert len(away.events) == AHEAD
    assert engine.steps == [2] * AHEAD + [1] * (20 - AHEAD)


def test_more_speeches_than_rows_are_all_served(talker: TalkerBase) -> None:
    engine = Counted(talker)
    batch = FrameBatch(engine, 3)
    plans = np.random.default_rng(0).standard_normal((7, 10, 16), np.float32)
    rows = [batch.join(greedy) for _ in plans]
    for row, plan in zip(rows, plans, strict=True):
        row.plans.extend(plan)
    said = [[batch.next_event(row).tolist() for _ in plan] for row, plan in zip(rows, plans, strict=True)]
    assert max(engine.steps) == 3
    for plan, codes in zip(plans, said, strict=True):
        own = FrameBatch(engine)
        assert [one.tolist() for one in own.decode(own.join(greedy), plan)] == codes


def test_a_text_that_is_still_being_written_holds_nobody_up(talker: TalkerBase) -> None:
    """Its words come from another speech, which goes on in between."""
    other = speech(talker, 3, together=True)

    def slow() -> Any:
        for word in ("the", "quick", "brown", "fox", "jumps."):
            next(other)
            yield TextChunk(f"{word} ")

    def said(text: Any, *, shared: bool) -> NDArray[Any]:
        return np.concatenate(list(talker.speak(text, VoiceSettings(together=shared), greedy)))

    begun = said(slow(), shared=True)
    np.testing.assert_array_equal(begun, said([TextChunk("the quick brown fox jumps. ")], shared=False))
    left = np.concatenate(list(other))
    np.testing.assert_array_equal(left, alone(talker, 4)[3][-len(left) :])


def test_a_step_that_fails_ends_its_rows_and_no_later_one(talker: TalkerBase) -> None:
    engine = Counted(talker)
    batch = FrameBatch(engine, 16)
    plan = np.random.default_rng(0).standard_normal((5, 16), np.float32)
    first, second = batch.join(greedy), batch.join(greedy)
    first.plans.extend(plan)
    second.plans.extend(plan)
    engine.broken = True
    for row in (first, second):
        with pytest.raises(RuntimeError, match="the device is lost"):
            batch.next_event(row)
    engine.broken = False
    assert len(list(batch.decode(batch.join(greedy), plan))) == 5

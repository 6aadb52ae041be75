"""Short forms of the fault tests; ``make test-faults`` runs the long ones, whose figures are in docs/reliability.md."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import pytest

from muomni_cli import load
from tests.faults import corruption, fuzz, kills, soak
from tests.tiny_model import Whole

pytestmark = pytest.mark.long

Last = TypeVar("Last")


def last(reports: Iterable[Last]) -> Last:
    *_, found = reports
    return found


@pytest.mark.slow
def test_killed_trainings_go_on_to_the_same_weights(tmp_path: Path) -> None:
    report = last(kills.trials(4, 0, tmp_path))
    assert report.kills == 4
    assert report.faults == []


@pytest.mark.filterwarnings("error")
def test_damaged_and_random_inputs_are_taken_or_refused(whole: Whole, tmp_path: Path) -> None:
    report = last(fuzz.Fuzzer(whole, tmp_path).run(500, 0))
    assert sum(report.counts.values()) == 500
    assert report.faults == []


def test_damaged_models_are_refused_or_answer_as_before(whole: Whole, tmp_path: Path) -> None:
    report = last(corruption.Trials(whole, tmp_path).run(5, 0))
    assert report.faults == []


def test_calls_keep_no_memory(whole: Whole) -> None:
    if math.isnan(soak.allocated()):
        pytest.skip("needs mallinfo2 of glibc 2.33 and later")
    held = []
    with load(whole.bundle, device="cpu", threads=1) as model:
        asked = soak.requests(model)
        for _ in range(6):
            for request in asked:
                soak.answer(request)
            gc.collect()
            held.append(soak.allocated())
    assert max(held[3:]) - min(held[3:]) < 0.5, "megabytes, after caches are filled"


def test_two_threads_get_the_answers_of_one(whole: Whole) -> None:
    with load(whole.bundle, device="cpu", threads=1) as model:
        report = soak.soak(model, 8.0, 0)
    assert report.calls > 20
    assert report.faults == []

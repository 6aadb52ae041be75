"""What a dry run foretells: from steps of all sizes, validations, samples and checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import NextToken, settings, trainer

from muomni_cli.core.console import duration, size
from muomni_cli.nn.device import memory_bytes
from muomni_cli.training import dry_run as trial
from muomni_cli.training.dry_run import DryRun, PeakMemory, dry_run, size_of, sum_of, times_due


class Uneven(NextToken):
    """Every tenth batch is a large one; notes which are asked for, and what else is done."""

    def __init__(self, chosen: Any) -> None:
        super().__init__(chosen)
        self.asked: list[int] = []
        self.done: list[str] = []

    def size(self, step: int) -> int:
        return 100 if step % 10 == 3 else 10

    def batch(self, step: int, micro: int) -> Any:
        self.asked.append(step)
        return super().batch(step, micro)

    def validate(self) -> dict[str, float]:
        self.done.append("validate")
        return {"loss": 1.0}

    def samples(self, step: int) -> Any:
        self.done.append("samples")
        return super().samples(step)


def tried(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[DryRun, Uneven]:
    """Twenty steps measured, however fast they are."""
    monkeypatch.setattr(trial, "MOST", 20)
    monkeypatch.setattr(trial, "FEWEST", 20)
    chosen = settings(steps=200, **changes)
    context = trainer(folder / "run", chosen).context
    objective = Uneven(chosen)
    return dry_run(objective, context, opening=3.0, preparing=7.0), objective


def test_large_batches_are_measured_as_often_as_they_come_and_the_largest_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, objective = tried(tmp_path, monkeypatch)
    first, *_ = objective.asked
    warm_up, measured, last = objective.asked[3:8], objective.asked[8:28], objective.asked[28:]
    assert first == 0
    assert [objective.size(step) for step in last] == [100, 100, 100]
    assert len(measured) == len(set(measured)) == 20
    assert set(warm_up) < set(measured)
    assert sum(objective.size(step) == 100 for step in measured) == 2


def test_all_that_takes_time_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, objective = tried(tmp_path, monkeypatch, val_every=30, sample_every=200, save_every=50)
    assert (found.validations, found.samples, found.saves) == (7, 1, 4)
    assert objective.done == ["validate", "samples"]
    total = 3.0 + max(0.0, found.first_seconds - found.step_seconds) + 200 * found.step_seconds
    total += 7 * found.validation_seconds + found.sample_seconds + 4 * found.save_seconds
    assert found.total_seconds == pytest.approx(total)
    told = found.as_text()
    assert "a validation" in told
    assert "7 times" in told
    assert "prepared in 0:07, and kept in the cache" in told
    assert list(tmp_path.rglob("*")) == []


def test_what_is_never_done_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, objective = tried(tmp_path, monkeypatch)
    assert (found.validations, found.samples, found.saves) == (0, 0, 1)
    assert objective.done == []
    assert "validation" not in found.as_text()


@pytest.mark.parametrize(("steps", "every", "times"), [(10, 5, 2), (11, 5, 3), (4, 100, 1), (10, 0, 0)])
def test_how_often_something_is_due(steps: int, every: int, times: int) -> None:
    due = [done for done in range(1, steps + 1) if every and (done % every == 0 or done == steps)]
    assert times_due(steps, every) == times == len(due)


def test_a_stage_shorter_than_what_would_be_measured(tmp_path: Path) -> None:
    chosen = settings(steps=1, warmup_steps=0)
    made = trainer(tmp_path / "run", chosen)
    assert dry_run(made.objective, made.context).measured == 1


def test_sizes_of_examples_are_known_without_making_batches() -> None:
    rows = [np.zeros(length) for length in (5, 9, 2, 4)]
    train = SimpleNamespace(inputs=rows, batch=lambda step, batch_size: [step * batch_size, step * batch_size + 1])
    context: Any = SimpleNamespace(
        has_examples=True, examples=lambda: SimpleNamespace(train=train), settings=settings(batch_size=2)
    )
    size = size_of(NextToken(settings()), context)
    assert size is not None
    assert [size(step) for step in range(2)] == [9, 4]
    context.has_examples = False
    assert size_of(NextToken(settings()), context) is None


def test_the_largest_memory_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([5, 9, 3])
    monkeypatch.setattr(trial, "memory_bytes", lambda _: next(values, 1))
    peak = PeakMemory(torch.device("cpu"))
    assert [peak.bytes() for _ in range(3)] == [5, 9, 9]


def test_memory_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = tried(tmp_path, monkeypatch)
    assert found.memory >= 0.5 * memory_bytes(torch.device("cpu"))


def test_the_sum_of_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = tried(tmp_path, monkeypatch)
    expected = f"all   {duration(2 * one.total_seconds)} one after the other, {size(one.memory)} at most"
    assert sum_of([one, one]).splitlines()[-1] == expected

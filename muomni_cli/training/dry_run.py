"""``--dry-run``: some real steps of a stage, measured, and what all of it would take. Keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from muomni_cli.contract.training import Objective
from muomni_cli.core.console import duration, size
from muomni_cli.training.trial import measure, size_of, times_due

if TYPE_CHECKING:
    from muomni_cli.training.context import TrainingContext

WORTH_A_LINE = 1.0
"""Seconds of preparation, to be spoken of."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a stage would be.

    Args:
        items_a_step: of ``unit``, on average.
        loss: before the first step.
        memory: bytes at most.
        first_seconds: of the first step, with allocation and compilation.
        step_seconds: of a later one, on average, with the time that its batch is waited for.
        longest_seconds: of the one with the largest batch.
        measured: how many steps that comes from.
        validation_seconds: of one validation; ``validations`` of them.
        sample_seconds: of one set of samples; ``samples`` of them.
        save_seconds: of one checkpoint; ``saves`` of them.
        opening_seconds: until the first step, with the data in the cache.
        preparing_seconds: what it took to put the data there; a training that follows finds it.
        total_seconds: of a training that follows.
    """

    stage: str
    device: str
    parameters: int
    by_module: dict[str, int]
    steps: int
    unit: str
    items_a_step: int
    loss: float
    memory: int
    first_seconds: float
    step_seconds: float
    longest_seconds: float
    measured: int
    validation_seconds: float
    validations: int
    sample_seconds: float
    samples: int
    save_seconds: float
    saves: int
    opening_seconds: float
    preparing_seconds: float
    total_seconds: float
    folder: str

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def as_text(self) -> str:
        """For people."""
        rate = f"{self.items_a_step / self.step_seconds:,.0f} {self.unit}/s"
        rows = [
            ("stage", f"{self.stage} on {self.device}"),
            ("parameters", f"{self.parameters:,}"),
            *((f"  {name}", f"{count:,}") for name, count in self.by_module.items()),
            (f"{self.unit} a step", f"{self.items_a_step:,}"),
            ("loss before", f"{self.loss:.4f}"),
            ("memory", f"{size(self.memory)} at most"),
            ("first step", f"{self.first_seconds:.3f} s"),
            ("a step", f"{self.step_seconds:.3f} s, {rate} (the longest: {self.longest_seconds:.3f} s)"),
            *_repeated("validation", self.validation_seconds, self.validations),
            *_repeated("set of samples", self.sample_seconds, self.samples),
            *_repeated("checkpoint", self.save_seconds, self.saves),
            *([("data", self._prepared())] if self.preparing_seconds > WORTH_A_LINE else []),
            (f"{self.steps:,} steps", f"{duration(self.total_seconds)} in all"),
            ("would write to", self.folder),
        ]
        return _table(rows)

    def _prepared(self) -> str:
        return f"prepared in {duration(self.preparing_seconds)}, and kept in the cache"


def dry_run(objective: Objective, context: TrainingContext, *, opening: float = 0.0, preparing: float = 0.0) -> DryRun:
    """Train steps that stand for all, in memory, and reckon what the stage takes.

    Args:
        objective: of the stage; its weights are changed.
        context: of the stage.
        opening: seconds that it took to open it, with the data in the cache.
        preparing: seconds that it took to put the data there.
    """
    settings = context.settings
    found = measure(objective, context, size_of(objective, context))
    validations = times_due(settings.steps, settings.val_every)
    samples = times_due(settings.steps, settings.sample_every)
    saves = max(1, times_due(settings.steps, settings.save_every))
    step = sum(found.steps) / len(found.steps)
    module = objective.module
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in module.named_children()}
    total = opening + max(0.0, found.first - step) + settings.steps * step
    total += found.validation * validations + found.sample * samples + found.save * saves
    return DryRun(
        stage=context.stage,
        device=str(context.device),
        parameters=sum(p.numel() for p in module.parameters()),
        by_module={name: count for name, count in counts.items() if count},
        steps=settings.steps,
        unit=objective.unit,
        items_a_step=round(found.items),
        loss=found.loss,
        memory=found.memory,
        first_seconds=found.first,
        step_seconds=step,
        longest_seconds=found.longest,
        measured=len(found.steps),
        validation_seconds=found.validation,
        validations=validations,
        sample_seconds=found.sample,
        samples=samples,
        save_seconds=found.save,
        saves=saves,
        opening_seconds=opening,
        preparing_seconds=preparing,
        total_seconds=total,
        folder=str(context.run.stage(context.stage)),
    )


def sum_of(tried: Sequence[DryRun]) -> str:
    """All stages together, for people."""
    total, most = sum(one.total_seconds for one in tried), max(one.memory for one in tried)
    rows = [
        *((one.stage, f"{duration(one.total_seconds)}, {size(one.memory)}") for one in tried),
        ("all", f"{duration(total)} one after the other, {size(most)} at most"),
    ]
    return _table(rows)


def _repeated(name: str, seconds: float, times: int) -> list[tuple[str, str]]:
    return [(f"a {name}", f"{seconds:.2f} s, {'once' if times == 1 else f'{times:,} times'}")] if times else []


def _table(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

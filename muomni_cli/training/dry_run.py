"""``--dry-run``: one real step, measured, and what the whole stage would take. Writes nothing."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from muomni_cli.api import Objective
from muomni_cli.training.device import memory_bytes
from muomni_cli.training.display import duration, size
from muomni_cli.training.step import Stepper

if TYPE_CHECKING:
    from muomni_cli.training.context import StageContext


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a stage would be. ``first_seconds`` includes allocation and compilation; ``step_seconds`` does not."""

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
    total_seconds: float
    folder: str

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def as_text(self) -> str:
        """For people."""
        rows = [
            ("stage", f"{self.stage} on {self.device}"),
            ("parameters", f"{self.parameters:,}"),
            *((f"  {name}", f"{count:,}") for name, count in self.by_module.items()),
            (f"{self.unit} a step", f"{self.items_a_step:,}"),
            ("loss before", f"{self.loss:.4f}"),
            ("memory", size(self.memory)),
            ("first step", f"{self.first_seconds:.3f} s"),
            ("a step", f"{self.step_seconds:.3f} s, {self.items_a_step / self.step_seconds:,.0f} {self.unit}/s"),
            (f"{self.steps:,} steps", f"{duration(self.total_seconds)} and validation"),
            ("would write to", self.folder),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def dry_run(objective: Objective, context: StageContext) -> DryRun:
    """Train two steps in memory, the first to warm up, and measure the second."""
    torch.manual_seed(context.seed)
    stepper = Stepper(objective, context.settings, context.device)
    seconds = []
    losses = []
    items = 0
    for step in range(2):
        begin = time.perf_counter()
        batches = [objective.batch(step, micro) for micro in range(context.settings.accumulate)]
        stepper.step(step, batches)
        names, values = stepper.read_window()
        losses.append(values.tolist()[1 + names.index("loss")])  # waits for the device
        seconds.append(time.perf_counter() - begin)
        items = sum(batch.items for batch in batches)
    module = objective.module
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in module.named_children()}
    return DryRun(
        stage=context.stage,
        device=str(context.device),
        parameters=sum(p.numel() for p in module.parameters()),
        by_module={name: count for name, count in counts.items() if count},
        steps=context.settings.steps,
        unit=objective.unit,
        items_a_step=items,
        loss=losses[0],
        memory=memory_bytes(context.device),
        first_seconds=seconds[0],
        step_seconds=seconds[1],
        total_seconds=seconds[1] * context.settings.steps,
        folder=str(context.run.stage(context.stage)),
    )

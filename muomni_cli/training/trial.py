"""Trying a stage: which of its steps to measure, and how long they take, with validation, samples and saving.

Knows objectives and the trainer; keeps nothing.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from muomni_cli.contract.training import Objective
from muomni_cli.core.console import say
from muomni_cli.layers.device import memory_bytes
from muomni_cli.training.display import Display
from muomni_cli.training.followers import Followers
from muomni_cli.training.loop import Trainer
from muomni_cli.training.prefetch import Prefetch

if TYPE_CHECKING:
    from muomni_cli.training.context import TrainingContext

SECONDS = 25.0
"""How long steps are measured."""

FEWEST, MOST = 6, 60
"""Steps that are measured at least, however long they take, and at most."""

LOOKED_AT = 20_000
"""Steps whose size is asked for at most."""

Size = Callable[[int], int]
"""Of a step's batch, in any unit."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of everything that a stage does more than once, the steps' items and loss, and bytes of memory."""

    first: float
    steps: Sequence[float]
    longest: float
    validation: float
    sample: float
    save: float
    items: float
    loss: float
    memory: int


def measure(objective: Objective, context: TrainingContext, size: Size | None) -> Measured:
    """Train some of the steps in memory, from the shortest to the longest batch alike, then validate and save once.

    Args:
        objective: of the stage; its weights are changed.
        context: of the stage.
        size: of each step's batch; None where all are alike, or nobody knows.
    """
    settings, steps = context.settings, context.settings.steps
    torch.manual_seed(context.seed)
    with tempfile.TemporaryDirectory() as folder, PeakMemory(context.device) as peak:
        trainer = _trainer(objective, context, Path(folder))
        by_size = _by_size(min(steps, LOOKED_AT), size)
        middle, longest = by_size[len(by_size) // 2], by_size[-1]
        (first, loss, _), (warm, _, _) = _train(trainer, [0, middle])
        count = min(steps, max(FEWEST, min(MOST, int(SECONDS / max(warm, 1e-3)))))
        _, *told, last = _train(trainer, [middle, *_spread(by_size, count), longest])
        return Measured(
            first=first,
            steps=[seconds for seconds, _, _ in told],
            longest=last[0],
            validation=_timed(trainer.validate) if settings.val_every else 0.0,
            sample=_timed(trainer.sample) if settings.sample_every else 0.0,
            save=_timed(trainer.save),
            items=sum(items for _, _, items in told) / len(told),
            loss=loss,
            memory=peak.bytes(),
        )


def size_of(objective: Objective, context: TrainingContext) -> Size | None:
    """How large the batch of each step is: what the objective says (``size``), else the padded inputs of its
    examples; None where neither is known."""
    own: Size | None = getattr(objective, "size", None)
    if own is not None:
        return own
    if not context.has_examples:
        return None
    train, batch_size = context.examples().train, context.settings.batch_size
    lengths = [len(one) for one in train.inputs]
    return lambda step: max(lengths[row] for row in train.draw(step, batch_size))


def times_due(steps: int, every: int) -> int:
    """How often something happens that is due every so many steps, and after the last one; 0 for never."""
    return -(-steps // every) if every else 0


class PeakMemory:
    """The largest memory in use meanwhile: of the device where that is CUDA, else of the process. A context manager."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._most = 0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watch.join()

    def bytes(self) -> int:
        """So far."""
        self._most = max(self._most, memory_bytes(self._device))
        return self._most

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.bytes()


def _trainer(objective: Objective, context: TrainingContext, folder: Path) -> Trainer:
    """As the stage's own, but that nobody hears it and its files are thrown away."""
    return Trainer(
        objective,
        context,
        folder=folder,
        about={},
        command="",
        followers=Followers([], say),
        display=Display(context.stage, context.settings.steps, Console(quiet=True)),
    )


def _by_size(steps: int, size: Size | None) -> list[int]:
    return sorted(range(steps), key=size) if size else list(range(steps))


def _spread(by_size: Sequence[int], count: int) -> list[int]:
    """``count`` steps evenly from all sizes, in an order that has nothing to do with size."""
    chosen = [by_size[(2 * place + 1) * len(by_size) // (2 * count)] for place in range(count)]
    random.Random(0).shuffle(chosen)
    return chosen


def _train(trainer: Trainer, steps: Sequence[int]) -> list[tuple[float, float, int]]:
    """Train on the batches of ``steps``; seconds, loss and items of each."""
    told = []
    cuda = trainer.device.type == "cuda"
    with Prefetch(trainer.objective, steps, accumulate=trainer.settings.accumulate, pin=cuda) as coming:
        for step in steps:
            begin = time.perf_counter()
            batches = coming.next()
            trainer.stepper.step(step, batches)
            names, values = trainer.stepper.read_window()
            loss = values.tolist()[1 + names.index("loss")]  # waits for the device
            told.append((time.perf_counter() - begin, loss, sum(batch.items for batch in batches)))
    return told


def _timed(work: Callable[[int], None]) -> float:
    begin = time.perf_counter()
    work(1)
    return time.perf_counter() - begin

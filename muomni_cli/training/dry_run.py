"""``--dry-run``: time some real steps, validation, samples and saving, and estimate the total. Saves nothing."""

from __future__ import annotations

import math
import random
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from muomni_cli.contract.training import Objective
from muomni_cli.core.console import duration, say, size
from muomni_cli.nn.device import memory_bytes, release_memory
from muomni_cli.training.callbacks import CallbackList, Display
from muomni_cli.training.loop import RELEASE_EVERY, Trainer
from muomni_cli.training.step import Prefetch

if TYPE_CHECKING:
    from muomni_cli.training.context import TrainingContext

SECONDS = 25.0  # time budget for measuring steps
FEWEST, MOST = 6, 60  # bounds on the number of measured steps
LOOKED_AT = 20_000  # most steps whose batch size is computed
Size = Callable[[int], int]  # step -> size of its batch, in any unit


def size_of(objective: Objective, context: TrainingContext) -> Size | None:
    """The batch size of each step: ``objective.size``, else the longest input of the batch; None if unknown."""
    own: Size | None = getattr(objective, "size", None)
    if own is not None or not context.has_examples:
        return own
    train, batch_size = context.examples().train, context.settings.batch_size
    lengths = [len(one) for one in train.inputs]
    return lambda step: max(lengths[row] for row in train.batch(step, batch_size))


def times_due(steps: int, every: int) -> int:
    """How often something happens that is due every ``every`` steps and after the last one; 0 for never."""
    return -(-steps // every) if every else 0


class PeakMemory:
    """Peak memory of the CUDA device, else of the process. A context manager."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._most = device, 0
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def bytes(self) -> int:
        self._most = max(self._most, memory_bytes(self._device))
        return self._most

    def _poll(self) -> None:
        while not self._done.wait(0.01):
            self.bytes()


@dataclass(frozen=True, slots=True)
class DryRun:
    """The estimate for one stage. Seconds are means of one operation, and ``items_a_step`` counts ``unit``.

    ``first_seconds`` includes allocation and compilation, ``step_seconds`` the wait for the batch. ``opening_seconds``
    is the time to the first step with cached data; ``preparing_seconds`` fills that cache and is not in
    ``total_seconds``.
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
        return asdict(self)

    def as_text(self) -> str:
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
        ]
        if self.preparing_seconds > 1.0:  # less is not worth a line
            rows.append(("data", f"prepared in {duration(self.preparing_seconds)}, and kept in the cache"))
        rows.append((f"{self.steps:,} steps", f"{duration(self.total_seconds)} in all"))
        rows.append(("would write to", self.folder))
        return _table(rows)


def dry_run(objective: Objective, context: TrainingContext, *, opening: float = 0.0, preparing: float = 0.0) -> DryRun:
    """Train steps of all batch sizes in memory (which changes the weights), validate, sample and save once, and
    estimate the time of the whole stage."""
    settings, steps, module = context.settings, context.settings.steps, objective.module
    torch.manual_seed(context.seed)
    with tempfile.TemporaryDirectory() as folder, PeakMemory(context.device) as peak:
        trainer = Trainer(
            objective,
            context,
            folder=Path(folder),
            about={},
            command="",
            callbacks=CallbackList([], say),
            display=Display(context.stage, steps, Console(quiet=True)),
        )
        by_size = sorted(range(min(steps, LOOKED_AT)), key=size_of(objective, context) or int)  # in order if unknown
        middle, largest = by_size[len(by_size) // 2], by_size[-3:]  # in a row, as they need most memory
        (first, loss, _), (warm, _, _) = _train(trainer, [0, middle])
        count = min(steps, max(FEWEST, min(MOST, int(SECONDS / max(warm, 1e-3)))))
        spread = [by_size[(2 * place + 1) * len(by_size) // (2 * count)] for place in range(count)]
        random.Random(0).shuffle(spread)
        warm_up = spread[: count // 4]  # new shapes and new memory: steps become faster for a while
        tried = _train(trainer, [middle, *warm_up, *spread, *largest])[1 + len(warm_up) :]
        timed, last = tried[:count], tried[-1]
        validation = _timed(trainer.validate) if settings.val_every else 0.0
        sample = _timed(trainer.sample) if settings.sample_every else 0.0
        save = _timed(trainer.save)
        memory = peak.bytes()
    validations = times_due(steps, settings.val_every)
    samples = times_due(steps, settings.sample_every)
    saves = max(1, times_due(steps, settings.save_every))
    step = sum(seconds for seconds, _, _ in timed) / len(timed)
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in module.named_children()}
    total = opening + max(0.0, first - step) + steps * step + validation * validations + sample * samples + save * saves
    return DryRun(
        stage=context.stage,
        device=str(context.device),
        parameters=sum(p.numel() for p in module.parameters()),
        by_module={name: count for name, count in counts.items() if count},
        steps=steps,
        unit=objective.unit,
        items_a_step=round(sum(items for _, _, items in timed) / len(timed)),
        loss=loss,
        memory=memory,
        first_seconds=first,
        step_seconds=step,
        longest_seconds=last[0],
        measured=len(timed),
        validation_seconds=validation,
        validations=validations,
        sample_seconds=sample,
        samples=samples,
        save_seconds=save,
        saves=saves,
        opening_seconds=opening,
        preparing_seconds=preparing,
        total_seconds=total,
        folder=str(context.run.stage(context.stage)),
    )


def _train(trainer: Trainer, steps: Sequence[int]) -> list[tuple[float, float, int]]:
    """Seconds, loss and items of each step."""
    timed = []
    cuda = trainer.device.type == "cuda"
    with Prefetch(trainer.objective, steps, accumulate=trainer.settings.accumulate, pin=cuda) as coming:
        for step in steps:
            begin = time.perf_counter()
            batches = coming.next().batches
            trainer.stepper.step(step, batches)
            names, values = trainer.stepper.read_window()
            loss = dict(zip(names, values.tolist()[1:], strict=True)).get("loss", math.nan)  # waits for the device
            timed.append((time.perf_counter() - begin, loss, sum(batch.items for batch in batches)))
            if len(timed) % RELEASE_EVERY == 0:
                release_memory(trainer.device)
    return timed


def _timed(work: Callable[[int], None]) -> float:
    begin = time.perf_counter()
    work(1)
    return time.perf_counter() - begin


def sum_of(runs: Sequence[DryRun]) -> str:
    total, most = sum(one.total_seconds for one in runs), max(one.memory for one in runs)
    rows = [
        *((one.stage, f"{duration(one.total_seconds)}, {size(one.memory)}") for one in runs),
        ("all", f"{duration(total)} one after the other, {size(most)} at most"),
    ]
    return _table(rows)


def _repeated(name: str, seconds: float, times: int) -> list[tuple[str, str]]:
    return [(f"a {name}", f"{seconds:.2f} s, {'once' if times == 1 else f'{times:,} times'}")] if times else []


def _table(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

"""One optimizer step: micro-batches prefetched in a background thread, forward and backward, clipping, the NaN guard,
the update, and metrics copied to the host without waiting for the device."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from muomni_cli.contract.training import Batch, Objective
from muomni_cli.nn.device import autocast
from muomni_cli.training.distributed.strategy import Strategy
from muomni_cli.training.mfu import flop_counter
from muomni_cli.training.optim import Ema, Optimizers, freeze

if TYPE_CHECKING:
    from muomni_cli.recipe.train_settings import TrainSettings

NORM = "grad_norm"
Tag = TypeVar("Tag")


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on ``device``; asynchronous for pinned memory."""
    return replace(batch, tensors={name: t.to(device, non_blocking=True) for name, t in batch.tensors.items()})


@dataclass(frozen=True, slots=True)
class StepBatches:
    """This process's micro-batches of one step, on the host; targets and items of the whole step, in all processes."""

    batches: list[Batch]
    weight: float
    items: int


class Prefetch:
    """The batches of ``steps`` in order, at most two steps ahead, in pinned memory if ``pin``. A context manager.

    ``Objective.batch`` is a pure function of step and micro-batch, so the thread cannot change the result. Other
    processes' targets are summed up here, too, so that no step waits for that.
    """

    def __init__(
        self,
        objective: Objective,
        steps: Sequence[int],
        *,
        accumulate: int,
        pin: bool = False,
        strategy: Strategy | None = None,
    ) -> None:
        self._objective, self._steps, self._pin = objective, steps, pin
        self._strategy = strategy or Strategy()
        self._micro = self._strategy.micro_batches(accumulate)
        self._queue: queue.Queue[StepBatches | BaseException] = queue.Queue(2)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="muomni-batches", daemon=True)

    def __enter__(self) -> Prefetch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._strategy.abandon()
        while self._thread.is_alive():  # the thread may be blocked on a full queue
            with suppress(queue.Empty):
                self._queue.get(timeout=0.05)
        self._thread.join()

    def next(self) -> StepBatches:
        """The next step's. Raises an error of the thread."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _work(self) -> None:
        try:
            for step in self._steps:
                if self._closed.is_set():
                    return
                batches = [self._objective.batch(step, micro) for micro in self._micro]
                own = sum(batch.weight for batch in batches), sum(batch.items for batch in batches)
                weight, items = self._strategy.sum_ahead(own)
                if self._pin:
                    batches = [
                        replace(one, tensors={name: t.pin_memory() for name, t in one.tensors.items()})
                        for one in batches
                    ]
                self._queue.put(StepBatches(batches, weight, int(items)))
        except BaseException as error:
            self._queue.put(error)


def recompute(block: nn.Module) -> None:
    """Recompute the activations of ``block`` in the backward pass instead of keeping them (arXiv 1604.06174)."""
    forward: Callable[..., Any] = block.forward

    @wraps(forward)
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        if block.training and torch.is_grad_enabled():
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)
        return forward(*args, **kwargs)

    block.forward = recomputed


class Stepper:
    """The weights of a stage (moved to ``device``), its optimizers and its average. ``strategy``: one process, or how
    several share each step.

    Attributes:
        bad_step: on the device, the first step (from 0) with a non-finite loss or gradient, or -1. From then on no step
            changes the weights or the optimizer state.
        window: sums over the last ``count`` steps that had targets: of the loss, the objective's logs, the number of
            targets, and the gradient norm.
        idle: number of steps since the last :meth:`read_window` that had no target. They change nothing.
        learned: number of steps with targets.
        clean: whether weights and optimizer state are those after a whole step.
        flops: operations of forward and backward passes of the first step, once they were asked for with
            ``counts_flops``, and the items of that step here; compiled or sharded layers cannot be counted.
    """

    def __init__(
        self,
        objective: Objective,
        settings: TrainSettings,
        device: torch.device,
        strategy: Strategy | None = None,
    ) -> None:
        self.settings, self.device = settings, device
        self.strategy = strategy or Strategy()
        module = objective.module.to(device)
        module.train()
        if settings.checkpoint_activations:
            for block in objective.blocks:
                recompute(block)
        if settings.compile:  # per layer: fast to compile, and hand-written loss gradients are left alone
            for block in objective.blocks or [module]:
                block.compile()
        freeze(module, settings.lr_scale)
        self._loss = self.strategy.prepare(objective)
        self._after_step: Callable[[int, Tensor], None] | None = getattr(objective, "after_step", None)
        self.optimizers = Optimizers(module, settings, frozenset(objective.adamw_params), self.strategy)
        self.ema = Ema(self.optimizers.names, settings.ema, self.strategy) if settings.ema else None
        self.bad_step = torch.full((), -1, dtype=torch.int64, device=device)
        self.window: dict[str, Tensor] = {}
        self.count = self.idle = self.learned = 0
        self.clean = True
        self.counts_flops = False
        self.flops: tuple[int, int] | None = None

    def step(self, step: int, batches: Sequence[Batch], weight: float | None = None) -> None:
        """Train on the micro-batches of ``step`` (from 0); without any target, nothing changes. ``weight``: targets of
        the step in all processes; by default those of ``batches``."""
        # The whole step's weight is known before its first backward pass, so micro-batches of unequal weight add up
        # to exactly what one large batch gives.
        own = sum(batch.weight for batch in batches)
        weight = own if weight is None else weight
        if not weight:
            self.idle += 1
            return
        sums: dict[str, Tensor] = {"targets": torch.full((), own, device=self.device)}
        passes = self.strategy.passes(step, batches)
        if self.counts_flops and not self.settings.compile and self.strategy.name != "fsdp":
            with flop_counter() as counter:
                self._backward(passes, weight, sums)
            self.flops = counter.get_total_flops(), sum(batch.items for batch, _ in passes)
            self.counts_flops = False
        else:
            self._backward(passes, weight, sums)
        self.strategy.collect_gradients()
        grads = [p.grad for p in self.optimizers.names.values() if p.grad is not None]
        norm = self.strategy.norm(grads)
        if self.settings.clip > 0:
            torch._foreach_mul_(grads, (self.settings.clip / (norm + 1e-6)).clamp(max=1.0))
        finite = torch.isfinite(norm) & torch.isfinite(sums["loss"]) if "loss" in sums else torch.isfinite(norm)
        bad = self.strategy.anywhere(~finite)
        self.bad_step = torch.where((self.bad_step < 0) & bad, step, self.bad_step)
        skip = self.bad_step >= 0
        self.clean = False
        self.optimizers.step(step, skip)
        self.optimizers.zero_grad()
        if self.ema is not None:
            self.ema.update(step)
        if self._after_step is not None:
            self._after_step(step, skip)
        self.clean = True
        for name, value in {**sums, NORM: norm}.items():
            exact = value if value.dtype == torch.float64 else value.float()
            self.window[name] = self.window[name] + exact if name in self.window else exact
        self.count += 1
        self.learned += 1

    def _backward(self, batches: Sequence[tuple[Batch, bool]], weight: float, sums: dict[str, Tensor]) -> None:
        """Forward and backward passes; adds the loss and the logs of batches that count to ``sums``."""
        for place, (batch, counts) in enumerate(batches, 1):
            with self.strategy.accumulating(last=place == len(batches)):
                with autocast(self.device, self.settings.precision):
                    loss = self._loss(to_device(batch, self.device))
                total = loss.total / self.strategy.divisor(weight) if counts else loss.total * 0.0
                total.backward()  # type: ignore[no-untyped-call]
            if not counts:
                continue
            for name, value in {"loss": loss.total, **loss.logs}.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        if not batches:
            self.strategy.without_targets()

    def sums(self) -> dict[str, Tensor]:
        """:attr:`window` of all processes together. The norm is the same in each of them."""
        norm = {name: value for name, value in self.window.items() if name == NORM}
        return {**self.strategy.sum_window({n: v for n, v in self.window.items() if n not in norm}), **norm}

    def read_window(self) -> tuple[list[str], Tensor]:
        """Names, and ``bad_step`` followed by their means over the window (n+1,) in float64: over its targets, and of
        ``grad_norm`` over its steps; no names without any target. Starts a new window."""
        exact = torch.float32 if self.device.type == "mps" else torch.float64  # which MPS lacks
        sums = {name: value.to(exact) for name, value in self.sums().items()}
        targets = sums.pop("targets", self.bad_step)
        means = {name: value / (self.count if name == NORM else targets) for name, value in sums.items()}
        self.window, self.count, self.idle = {}, 0, 0
        return list(means), torch.stack([self.bad_step.to(exact), *means.values()])


class AsyncMetrics(Generic[Tag]):
    """A queue of small vectors copied from ``device``; asynchronously, through pinned memory, on CUDA."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._waiting: deque[tuple[Tag, Tensor, torch.cuda.Event | None]] = deque()

    def post(self, tag: Tag, values: Tensor) -> None:
        """Start copying ``values`` (n,); ``tag`` is returned with them."""
        if not self._cuda:
            self._waiting.append((tag, values.clone(), None))
            return
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._waiting.append((tag, host, event))

    def take(self, *, wait: bool = False) -> list[tuple[Tag, list[float]]]:
        """What has arrived, in order; with ``wait``, everything posted."""
        arrived: list[tuple[Tag, list[float]]] = []
        while self._waiting:
            tag, values, event = self._waiting[0]
            if event is not None and wait:
                event.synchronize()
            if event is not None and not event.query():  # type: ignore[no-untyped-call]
                break
            self._waiting.popleft()
            arrived.append((tag, values.tolist()))
        return arrived

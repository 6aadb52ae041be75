"""Data parallelism (DDP, arXiv:2006.15704): every process holds the whole model and takes a share of each step.

The sum of all gradients is divided by the number of targets of the whole step, wherever they are, so the processes
together take exactly the step that one would take. Muon is replicated: every process orthogonalizes every matrix.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from muomni_cli.contract.training import Batch, Loss, Objective
from muomni_cli.core.errors import RequestError
from muomni_cli.nn.collectives import total
from muomni_cli.training.distributed.group import LostPeerError, ProcessGroup
from muomni_cli.training.distributed.strategy import Strategy, step_seed
from muomni_cli.training.distributed.watch import Watch

if TYPE_CHECKING:
    from muomni_cli.recipe.train_settings import TrainSettings

# What torch says when a peer is gone; it has no class of errors for this that all backends use.
_LOST = re.compile(r"connection (was )?(closed|reset)|broken pipe|timed? ?out|gloo|nccl|peer|socket|recvValue", re.I)


class LossModule(nn.Module):
    """An objective's loss as a module's forward pass, which is where DDP and FSDP hook in."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.module = objective.module
        self._loss = objective.loss
        # In a list, which does not make it a parameter of this module.
        self._first = [next(p for p in objective.module.parameters() if p.requires_grad)]

    def forward(self, batch: Batch | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and the logs of a batch; without one, zero, so that the process takes part in the reduction."""
        if batch is None:
            return self._first[0].sum() * 0.0, {}
        loss = self._loss(batch)
        return loss.total, loss.logs


class DataParallel(Strategy):
    """Each process has a whole copy of the model."""

    name = "ddp"

    def __init__(self, group: ProcessGroup, stage: str) -> None:
        self.group, self.rank, self.world_size = group, group.rank, group.world_size
        self._stop: tuple[Any, Tensor] | None = None
        self._wrapped: nn.Module
        # The thread that prepares batches, and the main thread between steps, have a group each: within a group all
        # processes must call in the same order.
        self._ahead: dist.ProcessGroup
        self._control: dist.ProcessGroup
        self._abandoned = threading.Event()
        self.watch = Watch(group, stage)

    def settings(self, settings: TrainSettings) -> TrainSettings:
        """``accumulate`` becomes the next multiple of the number of processes, so that no micro-batch is larger than
        with one process."""
        micro = -(-settings.accumulate // self.world_size) * self.world_size
        if settings.batch_size < micro:
            raise RequestError(
                f"batch_size {settings.batch_size} is too small for {self.world_size} processes, which take {micro} "
                "micro-batches of each step",
                f"raise batch_size to {micro} or more, or train on fewer devices",
            )
        return settings.model_copy(update={"accumulate": micro})

    def micro_batches(self, accumulate: int) -> range:
        own = accumulate // self.world_size
        return range(self.rank * own, (self.rank + 1) * own)

    def prepare(self, objective: Objective) -> Callable[[Batch], Loss]:
        self._ahead, self._control = self.group.subgroup(), self.group.subgroup()
        module = LossModule(objective)
        # Which parameters take part in a step depends on its data: without a picture there is no gradient for the
        # encoder of pictures, in one process as in all of them together.
        self._wrapped = DistributedDataParallel(
            module, broadcast_buffers=False, find_unused_parameters=True, gradient_as_bucket_view=True
        )
        return lambda batch: Loss(*self._wrapped(batch))

    @contextmanager
    def accumulating(self, *, last: bool) -> Iterator[None]:
        assert isinstance(self._wrapped, DistributedDataParallel)
        with self._told(), nullcontext() if last else self._wrapped.no_sync():
            yield

    def divisor(self, weight: float) -> float:
        return weight / self.world_size  # DDP divides the sum of the gradients by the number of processes

    def without_targets(self) -> None:
        with self.accumulating(last=True):
            self._wrapped(None)[0].backward()

    def anywhere(self, bad: Tensor) -> Tensor:
        with self._told():
            return total(bad.float()) > 0

    def sum_ahead(self, numbers: Sequence[float]) -> list[float]:
        summed, nap = torch.tensor(list(numbers), dtype=torch.float64), 0.0002
        self.progressed()
        with self._told():
            work = dist.all_reduce(summed, group=self._ahead, async_op=True)
            while not work.is_completed():
                if self._abandoned.wait(nap):  # when training stops, another process may not have come this far
                    return list(numbers)
                nap = min(0.005, 1.5 * nap)
            work.wait()  # raises what went wrong
        return list(summed.tolist())

    def abandon(self) -> None:
        self._abandoned.set()

    def sum_window(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with self._told():
            names: list[list[str]] = [[] for _ in range(self.world_size)]
            dist.all_gather_object(names, list(sums), group=self._control)
            known = sorted({name for own in names for name in own})
            if not known:
                return {}
            like = next(iter(sums.values()), torch.zeros((), device=self._device))
            values = [sums[name].double() if name in sums else torch.zeros_like(like).double() for name in known]
            return dict(zip(known, total(torch.stack(values)).unbind(), strict=True))

    def agree_to_stop(self, asked: signal.Signals | None) -> signal.Signals | None:
        """What was known before the step before: reduced on the hosts while that step was computed."""
        with self._told():
            agreed = 0
            if self._stop is not None:
                work, known = self._stop
                work.wait()
                agreed = int(known.item())
            self._stop = None
            if agreed:
                return signal.Signals(agreed)
            known = torch.tensor(0 if asked is None else int(asked))
            self._stop = dist.all_reduce(known, dist.ReduceOp.MAX, group=self._control, async_op=True), known
            return None

    def seed_step(self, seed: int, step: int) -> None:
        torch.manual_seed(step_seed(seed, step, self.rank))

    def same(self, metrics: Mapping[str, float]) -> dict[str, float]:
        held = [dict(metrics)]
        with self._told():
            dist.broadcast_object_list(held, src=0, group=self._control)
        return held[0]

    def evaluating(self) -> AbstractContextManager[Any]:
        return self._told()

    def keeps_weights(self, error: BaseException) -> bool:
        return isinstance(error, LostPeerError)

    def progressed(self) -> None:
        self.watch.progressed()

    def close(self) -> None:
        self.watch.close()

    @property
    def _device(self) -> torch.device:
        return next(self._wrapped.parameters()).device

    @contextmanager
    def _told(self) -> Iterator[None]:
        """LostPeerError instead of what torch says when another process is gone."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, dist.DistError) or _LOST.search(str(error)):
                raise self.watch.missing() from error
            raise

"""How a stage is spread over processes. :class:`Strategy` itself is one process: everything is computed here, plainly.

The training loop and the optimizer step call a strategy at each place where several processes would have to agree;
:mod:`muomni_cli.training.distributed.ddp` and :mod:`muomni_cli.training.distributed.fsdp` are the others.
"""

# ruff: noqa: ARG002 - one process needs few of the arguments that several do
from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from muomni_cli.contract.training import Batch, Loss, Objective

if TYPE_CHECKING:
    from muomni_cli.recipe import TrainSettings

Sections = Mapping[str, Mapping[str, Tensor]]


class Strategy:
    """One process.

    Attributes:
        rank: number of this process, from 0.
        world_size: number of processes.
        name: for the log; empty for one process.
    """

    rank = 0
    world_size = 1
    name = ""

    @property
    def main(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def settings(self, settings: TrainSettings) -> TrainSettings:
        """The settings of the stage with ``accumulate`` as the number of micro-batches of all processes. RequestError
        if a step has too few examples for all of them."""
        return settings

    def micro_batches(self, accumulate: int) -> range:
        """Which of a step's ``accumulate`` micro-batches this process takes."""
        return range(accumulate)

    def prepare(self, objective: Objective) -> Callable[[Batch], Loss]:
        """Get the module, which is on its device, ready for training; returns the loss function."""
        return objective.loss

    def local(self, parameter: nn.Parameter) -> Tensor:
        """The part of ``parameter`` that this process's optimizer updates: a leaf that shares its memory."""
        return parameter

    def collect_gradients(self) -> None:
        """After the last backward pass of a step: give every :meth:`local` tensor its gradient."""

    def accumulating(self, *, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward pass of a micro-batch, the ``last`` of this process's step or not."""
        return nullcontext()

    def divisor(self, weight: float) -> float:
        """What a loss is divided by before its backward pass. ``weight``: targets of the step in all processes."""
        return weight

    def without_targets(self) -> None:
        """This process's micro-batches of a step have no target, but another's have: take part in the reduction."""
        raise AssertionError("one process skips such a step")

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """The norm of all gradients of the model together."""
        return torch.nn.utils.get_total_norm(gradients)

    def anywhere(self, bad: Tensor) -> Tensor:
        """Whether a scalar bool tensor is true in any process, on its device."""
        return bad

    def sum_ahead(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes, called once a step by the thread that prepares batches."""
        return list(numbers)

    def sum_window(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Sums over all processes of scalars by name; names may differ between processes."""
        return dict(sums)

    def agree_to_stop(self, asked: signal.Signals | None) -> signal.Signals | None:
        """Called before each step, with the signal that this process received: the signal at which all stop now."""
        return asked

    def seed_step(self, seed: int, step: int) -> None:
        """Set the random state of a step, where that of the checkpoint would be one process's alone."""

    def same(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The metrics of the main process in all of them."""
        return dict(metrics)

    def evaluating(self) -> AbstractContextManager[Any]:
        """Around validation and samples."""
        return nullcontext()

    def gather(self, sections: Callable[[], Sections]) -> Sections:
        """Whole tensors for a checkpoint; only the main process's are complete. All processes call it."""
        return sections()

    def load(self, tensor: Tensor, whole: Tensor) -> None:
        """Copy this process's part of ``whole`` into ``tensor``."""
        tensor.copy_(whole)

    def keeps_weights(self, error: BaseException) -> bool:
        """Whether this process still holds the whole model after ``error``, which is another process's end."""
        return False

    def progressed(self) -> None:
        """This process has got one thing further: prepared a batch, begun or finished a step."""

    def close(self) -> None:
        """The stage has ended, by an error or not."""


def step_seed(seed: int, step: int, rank: int) -> int:
    """A seed for the random numbers (dropout) of one process in one step."""
    return (seed * 1_000_003 + step * 4099 + rank) % (1 << 63)

"""How a stage is spread over processes. :class:`Strategy` itself is one process: everything is computed here, plainly.

The training loop and the optimizer step call a strategy at each place where several processes would have to agree;
:mod:`muomni_cli.training.distributed.ddp` and :mod:`muomni_cli.training.distributed.fsdp` are the others.
"""

# ruff: noqa: ARG002 - one process needs few of the arguments that several do
from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from muomni_cli.contract.training import Batch, Loss, Objective
from muomni_cli.runs.checkpoint import Checkpoint, load_model, model_tensors, write_checkpoint

if TYPE_CHECKING:
    from muomni_cli.recipe.train_settings import TrainSettings

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

    def passes(self, step: int, batches: Sequence[Batch]) -> list[tuple[Batch, bool]]:
        """The batches to run, each with whether it counts; by default those of ``batches`` that have a target."""
        return [(batch, True) for batch in batches if batch.weight]

    def without_targets(self) -> None:
        """No batch of this process has a target, but another's have: take part in the reduction."""
        raise AssertionError("one process skips such a step")

    def whole_shape(self, tensor: Tensor) -> torch.Size:
        """The shape of the whole parameter of a :meth:`local` tensor."""
        return tensor.shape

    def gather_matrices(self, stacked: Tensor, shape: torch.Size) -> Tensor:
        """(N,r,C) own rows of N matrices -> (N,R,C), all rows of each, ``shape`` (R,C)."""
        return stacked

    def own_rows(self, whole: Tensor, rows: int) -> Tensor:
        """(N,R,C) -> (N,rows,C), those of this process."""
        return whole

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """The norm of all gradients of the model together."""
        return torch.nn.utils.get_total_norm(gradients)

    def anywhere(self, bad: Tensor) -> Tensor:
        """Whether a scalar bool tensor is true in any process, on its device."""
        return bad

    def sum_ahead(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes, called once a step by the thread that prepares batches."""
        return list(numbers)

    def abandon(self) -> None:
        """The sums of :meth:`sum_ahead` are needed no more: do not wait for them."""

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

    def tensors(self, module: nn.Module) -> Mapping[str, Tensor]:
        """The state of the module, or this process's share of it, for :meth:`gather` and :meth:`save`."""
        return model_tensors(module)

    def save(self, path: Path, header: Mapping[str, Any], sections: Callable[[], Sections]) -> bool:
        """Write a checkpoint; all processes call it. Whether it is written already; if not, see :meth:`saved`."""
        state = self.gather(sections)
        if self.main:
            write_checkpoint(path, header, state)
        return True

    def saved(self, *, wait: bool) -> bool:
        """Whether a checkpoint that was being written is so now; ``wait`` for it. MuomniError if it cannot be."""
        return False

    def part(self, name: str, whole: Tensor) -> Tensor:
        """This process's part of a parameter ``name``, or of what its optimizer keeps about it."""
        return whole

    def load_model(self, module: nn.Module, checkpoint: Checkpoint) -> None:
        """Load the weights of ``checkpoint``. RequestError if names or shapes do not match."""
        load_model(module, checkpoint)

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

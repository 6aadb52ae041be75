"""How a part trains: what an objective gives the engine, and what callbacks hear of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from muomni_cli.training.context import StageContext


@dataclass(slots=True)
class Batch:
    """What one forward pass sees. ``weight`` is the number of targets in it (known on the host, so that normalising
    over accumulated batches needs no sync); ``items`` what throughput counts, in ``Objective.unit``; ``host`` what the
    forward pass wants to know without asking the device, such as lengths."""

    tensors: dict[str, Tensor]
    weight: float
    items: int
    host: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Loss:
    """``total``: the loss summed over the batch's targets (a scalar with gradient). ``logs``: further sums over the
    targets, reported divided by the weight."""

    total: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """Something to look at or listen to while training: written to ``samples/`` as ``<step>-<name>``."""

    name: str
    content: str | bytes


class Objective(Protocol):
    """How one part trains. Built once a stage, by ``Part.objective``; the engine does the rest.

    One whose batches differ in size, and that takes them from elsewhere than ``context.examples()``, may also have
    ``size(step) -> int``: a dry run then measures large and small ones as often as they come.
    """

    module: nn.Module
    """All that is trained and saved."""

    unit: str
    """What throughput counts: ``tokens``, ``images``, ``seconds`` ..."""

    adam_only: frozenset[str]
    """Names of ``module``'s parameters that Muon must leave to AdamW: embedding tables and output heads."""

    blocks: Sequence[nn.Module]
    """The repeated layers of ``module``: what activation checkpointing recomputes, one by one. May be empty."""

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of step ``step``, on the host. A pure function of the seed and both numbers, so that
        resuming needs no data state. May run in another thread."""
        ...

    def loss(self, batch: Batch) -> Loss:
        """Forward pass. ``batch`` is on the device already. No host sync in here."""
        ...

    def validate(self) -> dict[str, float]:
        """Metrics on held-out data; ``"loss"`` is compulsory and decides which checkpoint is best (lower is better)."""
        ...

    def samples(self, step: int) -> Iterable[Sample]:
        """What the part produces at this step; may be empty."""
        ...


class Callback(Protocol):
    """Follows a stage from outside. Called between steps, at the engine's logging pace, never inside a step."""

    def on_start(self, context: StageContext) -> None: ...

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def on_checkpoint(self, step: int, path: Path) -> None: ...

    def on_end(self, step: int, reason: str) -> None: ...

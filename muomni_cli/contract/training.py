"""How a part trains: what an objective gives the engine, and what callbacks hear of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from muomni_cli.contract.data import ExampleData
    from muomni_cli.contract.models import Thinker, Tokenizer
    from muomni_cli.contract.speech import Codec, SpokenData, TextChunk, Vocoder


class StageSettings(Protocol):
    """What an objective asks of ``[train.<stage>]``; the table itself has more."""

    @property
    def steps(self) -> int: ...
    @property
    def batch_size(self) -> int:
        """Examples a step."""
        ...

    @property
    def accumulate(self) -> int:
        """Micro-batches that a step is cut into."""
        ...

    @property
    def val_batches(self) -> int:
        """Batches of a validation; 0 for all."""
        ...


class StageRun(Protocol):
    """The run directory that a stage is trained in."""

    @property
    def name(self) -> str: ...
    @property
    def root(self) -> Path: ...
    def stage(self, name: str) -> Path:
        """The folder of a stage."""
        ...


class StageContext(Protocol):
    """What an objective or a callback sees of the host: one stage of one recipe on one device."""

    @property
    def stage(self) -> str:
        """Its name."""
        ...

    @property
    def settings(self) -> StageSettings: ...

    @property
    def seed(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def run(self) -> StageRun: ...

    @property
    def progress(self) -> Callable[[str], None]:
        """Told of long preparations."""
        ...

    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer.

        Raises:
            RequestError: it has not been trained; names the command.
        """
        ...

    def examples(self) -> ExampleData:
        """The recipe's examples for this stage, of its modality or of speech, decoded and split; made on first use.

        Raises:
            RequestError: for data that is not there.
        """
        ...

    def codec(self) -> Codec:
        """The run's trained codec, in evaluation mode on this stage's device, without gradients.

        Raises:
            RequestError: it has not been trained; names the command.
        """
        ...

    def vocoder(self) -> Vocoder | None:
        """The run's vocoder likewise, if it is trained or needs no training."""
        ...

    def hidden_states(self, text: str) -> list[TextChunk]:
        """``text`` token by token, each with the state of the run's trained Thinker that would have chosen it.

        Raises:
            RequestError: the Thinker has not been trained; names the command.
        """
        ...

    def speech(self, spell: Callable[[str], str]) -> SpokenData:
        """The recipe's speech as the run's codec encodes it, with the times of every character of its text.

        Args:
            spell: what is spoken of a written text, such as "five" of "5"; empty if nothing.

        Raises:
            RequestError: the codec, or an encoder that can align, has not been trained; names the command.
        """
        ...

    def understood(self, codec: Codec) -> dict[str, float]:
        """How much of a few held-out sounds an independent recogniser understands: the word error rates of the sounds
        themselves, ``wer_original``, and of what ``codec`` makes of them, ``wer``. Empty where the recogniser or any
        vocoder is missing."""
        ...

    def generate(self, thinker: Thinker, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Continuations of ``prompts`` with the recipe's chat settings, always the same for the same weights."""
        ...


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

    adamw_params: frozenset[str]
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

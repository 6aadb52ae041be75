"""Training protocols: the objective that a part implements, the context it gets, and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from muomni_cli.contract.data import ExampleData
    from muomni_cli.contract.models import Thinker, Tokenizer
    from muomni_cli.contract.speech import Codec, SpokenData, TextChunk, Vocoder


class StageSettings(Protocol):
    """The settings of ``[train.<stage>]`` that objectives use."""

    @property
    def steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...  # examples per step
    @property
    def accumulate(self) -> int: ...  # micro-batches per step
    @property
    def val_batches(self) -> int: ...  # validation batches; 0 for all


class StageRun(Protocol):
    """The run directory of a stage."""

    @property
    def name(self) -> str: ...
    @property
    def root(self) -> Path: ...
    def stage(self, name: str) -> Path:
        """The folder of a stage."""


class StageContext(Protocol):
    """What the host offers to objectives and callbacks: one stage of one recipe on one device."""

    @property
    def stage(self) -> str: ...  # name of the stage
    @property
    def settings(self) -> StageSettings: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def run(self) -> StageRun: ...
    @property
    def progress(self) -> Callable[[str], None]: ...  # shows lines about slow preparations

    def tokenizer(self) -> Tokenizer:
        """The run's tokenizer. Raises RequestError: it is not trained; names the command."""

    def examples(self) -> ExampleData:
        """The recipe's examples for this stage (its modality, or speech), decoded and split; made on first use. Raises
        RequestError: missing data."""

    def codec(self) -> Codec:
        """The run's trained codec, or :class:`muomni_cli.contract.codecs.WaveCodec`, frozen, in evaluation mode on this
        stage's device. Raises RequestError: it is not trained; names the command."""

    def vocoder(self) -> Vocoder | None:
        """The run's vocoder likewise, if it is trained or needs no training."""

    def hidden_states(self, text: str) -> list[TextChunk]:
        """``text`` token by token, each with the hidden state of the run's Thinker that predicts it. Raises
        RequestError: the Thinker is not trained; names the command."""

    def speech(self, spell: Callable[[str], str]) -> SpokenData:
        """The recipe's speech, encoded by the run's codec, with the time of every character of its text. ``spell``:
        written text -> spoken form ("5" -> "five"), empty if nothing is spoken. Raises RequestError: the codec, or an
        encoder that can align, is not trained; names the command."""

    def understood(self, codec: Codec) -> dict[str, float]:
        """Word error rates of a few held-out recordings by an independent ASR: ``wer_original`` of the recordings and
        ``wer`` after ``codec``. Empty if the recognizer or any vocoder is missing."""

    def generate(self, thinker: Thinker, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Continuations of ``prompts`` with the recipe's chat settings, deterministic for given weights."""


@dataclass(slots=True)
class Batch:
    """One micro-batch."""

    tensors: dict[str, Tensor]
    weight: float  # number of targets; known on the host, so that normalizing over accumulated batches needs no sync
    items: int  # throughput, in ``Objective.unit``
    # values such as lengths that the forward pass needs without a device sync
    host: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Loss:
    """The loss of a batch, summed over its targets."""

    total: Tensor  # a scalar with gradient
    logs: dict[str, Tensor] = field(default_factory=dict)  # further sums; they are reported divided by the weight


@dataclass(frozen=True, slots=True)
class Sample:
    """A training sample to look at or listen to, written to ``samples/`` as ``<step>-<name>``."""

    name: str
    content: str | bytes


class Objective(Protocol):
    """How a part trains. Built once per stage by ``Part.objective``; the engine does the rest.

    If batch sizes vary and batches do not come from ``context.examples()``, an objective may define ``size(step) ->
    int``, so that a dry run measures a representative mix. If something besides the gradients changes the module in a
    step, such as moving averages of codes, it defines ``after_step(step: int, skip: Tensor)``, which is called once
    after the optimizer; where ``skip`` (a bool scalar on the device) is true, it changes nothing.

    ``always_run`` may name those of its ``blocks`` that are called, as modules, in every forward pass, whatever the
    batch holds: they can be sharded one by one. Without it, all are.

    Where several processes train together, each calls ``batch`` for its micro-batches of a step, and the engine sums
    the gradients. :mod:`muomni_cli.nn.collectives` has sums and shares for ``validate`` and ``after_step``.
    """

    module: nn.Module  # everything that is trained and saved
    unit: str  # what throughput counts: ``tokens``, ``images``, ``seconds`` ...
    adamw_params: frozenset[str]  # names of parameters that Muon must leave to AdamW: embedding tables, output heads
    blocks: Sequence[nn.Module]  # repeated layers of ``module``, the units of activation checkpointing; may be empty

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of step ``step``, on the host. A pure function of the seed and both arguments, so that
        resuming needs no data state. May run in another thread."""

    def loss(self, batch: Batch) -> Loss:
        """Forward pass. ``batch`` is already on the device. Must not sync with the host."""

    def validate(self) -> dict[str, float]:
        """Metrics on held-out data; ``"loss"`` is required and selects the best checkpoint (lower is better)."""

    def samples(self, step: int) -> Iterable[Sample]:
        """Samples at this step; may be empty."""


class Policy(Protocol):
    """A model as a distribution over answers, for direct preference optimization (arXiv:2305.18290). Built with the
    module, which it keeps from being random: no dropout.

    ``module``, ``unit``, ``blocks`` and ``adamw_params`` are as in :class:`Objective`; what the log-probabilities must
    not change does not require gradients.
    """

    module: nn.Module
    unit: str
    adamw_params: frozenset[str]
    blocks: Sequence[nn.Module]

    def batch(self, answers: Sequence[Any]) -> Batch:
        """B answers, on the host, with ``counts`` (B,), the number of targets of each. Raises RequestError: an answer
        is none of this model's. May run in another thread."""

    def log_probs(self, batch: Batch) -> Tensor:
        """(B,) log-probability of each answer in nats, in fp32. Must not sync with the host."""


class SpeechPolicy(Policy, Protocol):
    """A Talker over the codes of :class:`muomni_cli.api.Utterance`, which also draws some."""

    def sample(self, text: str, voice: str, count: int, temperature: float, seed: int) -> list[NDArray[np.int64]]:
        """``count`` utterances (T,Q) of the text, drawn at ``temperature`` (0: the most likely codes); none if nothing
        of the text can be spoken. The same for the same arguments. Raises RequestError: there is no such voice."""


class Callback(Protocol):
    """Observes a stage. Called between steps when the engine logs, never inside a step.

    A callback may also have ``on_samples(step: int, files: Sequence[Path])``, called when samples were written.
    :class:`muomni_cli.api.Tracker` is the base of those that send metrics, samples and a card to an experiment tracker.
    """

    def on_start(self, context: StageContext) -> None: ...
    def on_log(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def on_checkpoint(self, step: int, path: Path) -> None: ...
    def on_end(self, step: int, reason: str) -> None: ...

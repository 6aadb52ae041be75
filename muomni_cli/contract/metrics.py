"""Metric results: what ``muomni eval`` reports and the declarations that compute it. No numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from muomni_cli.contract.engine import Engine

ENCODERS = "encoders"  # in :attr:`MetricSet.stages`: the own stage of every encoder, of any modality


@dataclass(frozen=True, slots=True)
class EvalSample:
    """One example of a metric, for the report."""

    question: str  # the question or task; empty if the input is enough
    expected: str  # the right answer
    answered: str  # the model's answer, or its transcript by ASR
    right: bool  # whether the answer counts as right
    picture: bytes | None = None  # PNG of the input image
    sound: bytes | None = None  # WAV of the input audio
    spoken: bytes | None = None  # WAV of the model's speech


@dataclass(frozen=True, slots=True)
class MetricResult:
    """The value of one metric on one task."""

    stage: str  # stage whose weights were evaluated
    task: str  # name of the source, with the subject of the questions if there are several: ``world/audio``
    metric: str  # name of the metric
    value: float  # a fraction of ``n`` examples, unless the metric says otherwise
    # low, high: 95 % interval, by bootstrap or, for few examples, Wilson's; None without examples.
    low: float | None = None
    high: float | None = None
    n: int | None = None  # examples; None if the metric counts something else
    unit: str = ""  # what the bootstrap resampled; see :class:`muomni_cli.core.interval.Interval`
    keys: int | None = None  # number of keys (speakers, scenes) of the examples
    baseline: float | None = None  # what guessing would give, if known
    topline: float | None = None  # the same metric of the best possible result, such as the original recordings
    sentences: Sequence[Mapping[str, Any]] | None = None  # text and transcript of each sentence, for word error rates
    samples: Sequence[EvalSample] = ()  # some examples for the report

    @property
    def name(self) -> str:
        """``stage task metric``."""
        return f"{self.stage} {self.task} {self.metric}"


class Evaluation(Protocol):
    """One run of ``muomni eval``."""

    @property
    def model(self) -> Engine: ...
    @property
    def recipe(self) -> Any: ...  # the recipe that names the data; its parts are the model's
    @property
    def split(self) -> Literal["train", "val"]: ...  # side of the data
    @property
    def progress(self) -> Callable[[str], None]: ...  # shows lines about slow preparations
    @property
    def batch_size(self) -> int: ...  # inputs per batch

    def limited(self, rows: Sequence[int], usual: int = 0) -> list[int]:
        """A fixed random sample of ``rows``: as many as the user's limit, else ``usual``."""

    def card(
        self,
        stage: str,
        task: str,
        metric: str,
        scores: Sequence[float],
        keys: Sequence[str],
        baseline: float | None = None,
        samples: Sequence[EvalSample] = (),
    ) -> MetricResult:
        """The mean of ``scores`` (one per example) with its interval; ``keys`` are the examples' speakers or scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSet:
    """Metrics that ``muomni eval`` computes for some stages.

    Args:
        name: of the set.
        doc: one line.
        stages: names of stages, or :attr:`ENCODERS`; ``make`` is called once for each that is trained.
        make: ``"package.module:attr"`` of ``make(evaluation: Evaluation, stage: str) -> Iterable[MetricResult]``. If it
            raises ``RequestError`` (missing data), the error is reported and the other sets still run.
    """

    kind: ClassVar[str] = "metrics"
    ENCODERS: ClassVar[str] = "encoders"  # in ``stages``: the own stage of every encoder, of any modality
    name: str
    doc: str
    stages: tuple[str, ...]
    make: str


HEADINGS = ("STAGE", "TASK", "METRIC", "VALUE", "95% INTERVAL", "N", "RESAMPLED BY", "BASELINE", "TOPLINE")


def as_json(results: Sequence[MetricResult]) -> list[dict[str, Any]]:
    """One entry per result; ``sentences`` only if there are some, and no ``samples``."""
    names = [field.name for field in fields(MetricResult) if field.name not in ("sentences", "samples")]
    return [
        {name: getattr(result, name) for name in names}
        | ({} if result.sentences is None else {"sentences": list(result.sentences)})
        for result in results
    ]


def rows(results: Sequence[MetricResult]) -> list[tuple[str, ...]]:
    """Rows of the table under :data:`HEADINGS`."""
    return [
        (
            result.stage,
            result.task,
            result.metric,
            f"{result.value:.3f}",
            "-" if result.low is None else f"{result.low:.3f} to {result.high:.3f}",
            "-" if result.n is None else f"{result.n:,}",
            f"{result.keys:,} keys" if result.unit == "key" else result.unit or "-",
            "-" if result.baseline is None else f"{result.baseline:.3f}",
            "-" if result.topline is None else f"{result.topline:.3f}",
        )
        for result in results
    ]

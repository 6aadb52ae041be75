"""Cards: what ``muomni eval`` reports, and what makes them. No numpy, so that a plugin can declare some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from muomni_cli.contract.engine import Engine

ENCODERS = "encoders"
"""In :attr:`MetricSet.stages`: the own stage of every encoder, whatever its modality."""


@dataclass(frozen=True, slots=True)
class EvalSample:
    """One example of a metric, for the report.

    Args:
        question: the question, or what was to be done; empty where the input says it all.
        expected: the right answer.
        answered: what the model answered, or what the recognizer heard in it.
        right: whether that counts as right.
        picture: PNG of what was shown.
        sound: WAV of what was played to the model.
        spoken: WAV of what the model said.
    """

    question: str
    expected: str
    answered: str
    right: bool
    picture: bytes | None = None
    sound: bytes | None = None
    spoken: bytes | None = None


@dataclass(frozen=True, slots=True)
class MetricResult:
    """How well one task goes.

    Args:
        stage: whose weights.
        task: name of the source, with what the questions are about where there are several kinds: ``world/audio``.
        metric: what ``value`` is.
        value: a share of ``n`` examples, unless the metric says otherwise.
        low, high: the 95 % interval, by bootstrap or, of few examples, Wilson's; None where there are no examples.
        n: examples; None where the metric counts something else.
        unit: what the bootstrap drew; see :class:`muomni_cli.core.interval.Interval`.
        keys: how many keys (speakers, scenes) the examples have.
        baseline: the baseline, if known: what guessing would give.
        topline: the same metric of the best possible result, such as the original recordings.
        sentences: text and transcript of each sentence, for word error rates.
        samples: some examples for the report.
    """

    stage: str
    task: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    keys: int | None = None
    baseline: float | None = None
    topline: float | None = None
    sentences: Sequence[Mapping[str, Any]] | None = None
    samples: Sequence[EvalSample] = ()

    @property
    def name(self) -> str:
        """``stage task metric``."""
        return f"{self.stage} {self.task} {self.metric}"


class Evaluation(Protocol):
    """What is evaluated.

    Attributes:
        model: the trained model.
        recipe: names the data; its parts are the model's.
        split: side of the data.
        progress: receives lines about long preparations.
        batch_size: inputs per batch.
    """

    @property
    def model(self) -> Engine: ...

    @property
    def recipe(self) -> Any: ...

    @property
    def split(self) -> Literal["train", "val"]: ...

    @property
    def progress(self) -> Callable[[str], None]: ...

    @property
    def batch_size(self) -> int: ...

    def limited(self, rows: Sequence[int], usual: int = 0) -> list[int]:
        """At most as many of ``rows`` as the user's limit, else ``usual``, drawn at random but always the same."""
        ...

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
        """The mean of ``scores`` with its interval; one for each example, whose ``keys`` are those of its speaker or
        scene."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSet:
    """Cards that ``muomni eval`` makes of what some stages trained.

    Args:
        name: of the set.
        doc: one line.
        stages: names of stages, or :attr:`ENCODERS`; the set is asked once for each of them that is trained.
        make: ``"package.module:attr"``, called with an :class:`Evaluation` and the stage's name; gives one
            :class:`MetricResult` after the other. What it raises as a ``RequestError`` (data
            that are not there) costs this set alone, and is told.
    """

    kind: ClassVar[str] = "metrics"
    ENCODERS: ClassVar[str] = "encoders"
    """In ``stages``: the own stage of every encoder, whatever its modality."""

    name: str
    doc: str
    stages: tuple[str, ...]
    make: str


HEADINGS = ("STAGE", "TASK", "METRIC", "VALUE", "95% INTERVAL", "N", "RESAMPLED BY", "BASELINE", "TOPLINE")

OUT_OF_JSON = frozenset({"sentences", "samples"})
"""Fields that JSON does not always have: ``sentences`` only if there are some, ``samples`` never."""


def as_json(results: Sequence[MetricResult]) -> list[dict[str, Any]]:
    """One entry per card; ``sentences`` only if there are some."""
    names = [field.name for field in fields(MetricResult) if field.name not in OUT_OF_JSON]
    plain = [{name: getattr(result, name) for name in names} for result in results]
    told = [{} if result.sentences is None else {"sentences": list(result.sentences)} for result in results]
    return [entry | more for entry, more in zip(plain, told, strict=True)]


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

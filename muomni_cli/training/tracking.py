"""The base of callbacks that send a stage's metrics, samples and card to an experiment tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from muomni_cli.contract.declarations import PartConfig
from muomni_cli.contract.training import StageContext
from muomni_cli.core.errors import RequestError

SampleKind = Literal["text", "image", "audio"]
KINDS: Mapping[str, SampleKind] = {
    ".txt": "text", ".md": "text", ".json": "text", ".png": "image", ".jpg": "image", ".gif": "image",
    ".wav": "audio", ".flac": "audio", ".ogg": "audio", ".mp3": "audio",
}  # fmt: skip
"""What a sample is, by the suffix of its file."""


class TrackerConfig(PartConfig):
    """Settings of all trackers."""

    project: str = Field("muomni", min_length=1, max_length=128, description="project (experiment) of the tracker")
    name: str = Field("", max_length=128, description="name of the stage there; empty: RUN-STAGE")
    samples: bool = Field(True, description="send samples: texts, pictures and sounds")


class Tracker(ABC):
    """A callback that sends what a stage tells to an experiment tracker: metrics under ``train/`` and ``validation/``,
    samples under ``samples/``, and in the end a card. A tracker implements the methods below :meth:`on_end`.

    ``package`` (import name) and ``extra`` name what it needs; its constructor raises RequestError without it.
    """

    package: ClassVar[str]
    extra: ClassVar[str]

    def __init__(self, config: TrackerConfig) -> None:
        self._sends_samples, self._project, self._name = config.samples, config.project, config.name
        self._last: dict[str, float] = {}  # the latest value of each metric
        self._title = ""

    def missing(self) -> RequestError:
        """The error for a package that is not installed."""
        return RequestError(
            f"the callback {self.extra} needs {self.package}, which is not installed",
            f"pip install 'muomni[{self.extra}]', or remove [callbacks.{self.extra}] from the recipe",
        )

    def on_start(self, context: StageContext) -> None:
        settings: Any = context.settings
        own = settings.model_dump(mode="json") if hasattr(settings, "model_dump") else {}
        self._title = self._name or f"{context.run.name}-{context.stage}"
        about = {"run": context.run.name, "stage": context.stage, "seed": context.seed, "device": str(context.device)}
        self.begin(self._project, self._title, context.run.root, about | own)

    def on_log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._add("train", step, metrics)

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._add("validation", step, metrics)

    def _add(self, group: str, step: int, metrics: Mapping[str, float]) -> None:
        named = {f"{group}/{name}": float(value) for name, value in metrics.items()}
        self._last |= named
        self.metrics(step, named)

    def on_samples(self, step: int, files: Sequence[Path]) -> None:
        for path in files if self._sends_samples else ():
            kind = KINDS.get(path.suffix.lower())
            if kind is not None:
                name = path.stem.removeprefix(f"{step:06}-") or path.stem
                self.sample(step, f"samples/{name}", path, kind)

    def on_checkpoint(self, step: int, path: Path) -> None:  # noqa: B027
        """Nothing: metrics are sent as they come."""

    def on_end(self, step: int, reason: str) -> None:
        self.card(step, card_of(self._title, step, reason, self._last))
        self.end(reason)

    @abstractmethod
    def begin(self, project: str, name: str, root: Path, settings: Mapping[str, Any]) -> None:
        """Begin ``name``, or continue what is there under this name. ``root``: the folder of the run."""

    @abstractmethod
    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    @abstractmethod
    def sample(self, step: int, name: str, path: Path, kind: SampleKind) -> None: ...

    @abstractmethod
    def card(self, step: int, markdown: str) -> None:
        """Keep the card of the stage."""

    @abstractmethod
    def end(self, reason: str) -> None:
        """Send everything. ``reason``: ``finished``, ``stopped`` or ``failed``."""


def card_of(name: str, step: int, reason: str, metrics: Mapping[str, float]) -> str:
    """The card of a stage in Markdown: how it ended, and the latest value of each metric."""
    rows = [f"| {metric} | {value:.6g} |" for metric, value in sorted(metrics.items())]
    return "\n".join([f"# {name}", "", f"{reason} after step {step}", "", "| metric | value |", "|---|---|", *rows, ""])

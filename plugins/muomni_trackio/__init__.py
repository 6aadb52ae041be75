"""A callback that sends metrics, samples and cards to Trackio: a SQLite file on this computer, unless a space is named.
<https://github.com/gradio-app/trackio>"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from muomni_cli.api import CallbackPart, Tracker, TrackerConfig, expand_path, hookimpl


class TrackioConfig(TrackerConfig):
    """Where the metrics go."""

    folder: str = Field(
        "", description="folder of the database; empty: TRACKIO_DIR, or Trackio's own in the home folder"
    )
    space: str = Field("", description="OWNER/NAME of a space on the hub to send to; empty: stay on this computer")


class TrackioCallback(Tracker):
    """A resumed stage continues under its name."""

    package, extra = "trackio", "trackio"

    def __init__(self, config: TrackioConfig) -> None:
        super().__init__(config)
        if config.folder:  # read when the package is imported
            os.environ["TRACKIO_DIR"] = str(expand_path(config.folder).resolve())
        try:
            import trackio
        except ImportError as error:
            raise self.missing() from error
        self._package, self._space = trackio, config.space
        self._run: Any = None

    def begin(self, project: str, name: str, root: Path, settings: Mapping[str, Any]) -> None:
        with _to_stderr():
            self._run = self._package.init(
                project=project,
                name=name,
                group=root.resolve().name,
                space_id=self._space or None,
                config=dict(settings),
                resume="allow",
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def sample(self, step: int, name: str, path: Path, kind: str) -> None:
        if kind == "text":
            shown = self._package.Markdown(f"```\n{path.read_text(encoding='utf-8')}\n```")
        else:
            shown = (self._package.Image if kind == "image" else self._package.Audio)(str(path), caption=path.name)
        self._run.log({name: shown}, step=step)

    def card(self, step: int, markdown: str) -> None:
        self._run.log({"card": self._package.Markdown(markdown)}, step=step)

    def end(self, reason: str) -> None:  # noqa: ARG002 (it is in the card)
        with _to_stderr():
            self._package.finish()  # unlike the run's own method, it is not repeated when the process ends


@contextlib.contextmanager
def _to_stderr() -> Iterator[None]:
    """Trackio tells about itself on stdout, where the results of a command belong."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@hookimpl
def register_callbacks() -> list[CallbackPart]:
    return [
        CallbackPart(
            name="trackio",
            doc="sends metrics, samples and a card to Trackio, on this computer (needs muomni[trackio])",
            config=TrackioConfig,
            build="muomni_trackio:TrackioCallback",
        )
    ]

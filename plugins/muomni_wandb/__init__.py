"""A callback that sends metrics, samples and cards to Weights & Biases; by default into a folder, for `wandb sync`.
<https://docs.wandb.ai>"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from muomni_cli.api import CallbackPart, Tracker, TrackerConfig, expand_path, hookimpl


class WandbConfig(TrackerConfig):
    """Where the metrics go."""

    mode: Literal["offline", "online"] = Field("offline", description="offline: a folder alone, which wandb sync sends")
    entity: str = Field("", description="user or team; empty: the account's own")
    folder: str = Field("", description="folder of the files; empty: wandb beside the run's folder")


class WandbCallback(Tracker):
    """A resumed stage has the same id, so that its parts are one after they are sent."""

    package, extra = "wandb", "wandb"

    def __init__(self, config: WandbConfig) -> None:
        super().__init__(config)
        if config.mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # which goes over the network
        try:
            import wandb
        except ImportError as error:
            raise self.missing() from error
        self._package, self._config = wandb, config
        self._run: Any = None

    def begin(self, project: str, name: str, root: Path, settings: Mapping[str, Any]) -> None:
        config = self._config
        self._run = self._package.init(
            project=project,
            name=name,
            id=re.sub(r"[^\w.-]", "-", name),
            group=root.resolve().name,
            entity=config.entity or None,
            dir=str(expand_path(config.folder) if config.folder else root.resolve().parent),
            mode=config.mode,
            resume="allow" if config.mode == "online" else None,
            config=dict(settings),
            settings=self._package.Settings(console="off", silent=True, x_disable_stats=True),
        )

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def sample(self, step: int, name: str, path: Path, kind: str) -> None:
        if kind == "text":
            shown = self._shown(path.read_text(encoding="utf-8"))
        else:
            shown = (self._package.Image if kind == "image" else self._package.Audio)(str(path), caption=path.name)
        self._run.log({name: shown}, step=step)

    def card(self, step: int, markdown: str) -> None:
        self._run.log({"card": self._shown(markdown)}, step=step)

    def end(self, reason: str) -> None:
        self._run.finish(exit_code=1 if reason == "failed" else 0)

    def _shown(self, text: str) -> Any:
        return self._package.Html(f"<pre>{html.escape(text)}</pre>", inject=False)


@hookimpl
def register_callbacks() -> list[CallbackPart]:
    return [
        CallbackPart(
            name="wandb",
            doc="sends metrics, samples and a card to Weights & Biases, offline by default (needs muomni[wandb])",
            config=WandbConfig,
            build="muomni_wandb:WandbCallback",
        )
    ]

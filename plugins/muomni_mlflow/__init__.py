"""A callback that sends metrics, samples and cards to MLflow; by default to a SQLite file beside the runs.
<https://mlflow.org/docs/latest/ml/tracking/>"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from muomni_cli.api import CallbackPart, Tracker, TrackerConfig, hookimpl

STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
LONGEST = 500  # characters of a parameter that every version takes
TAG = "muomni.name"


class MlflowConfig(TrackerConfig):
    """Where the metrics go."""

    uri: str = Field(
        "", description="address of a tracking server, or sqlite:///FILE; empty: mlflow.db beside the run's folder"
    )


class MlflowCallback(Tracker):
    """A resumed stage continues the run of its name."""

    package, extra = "mlflow", "mlflow"

    def __init__(self, config: MlflowConfig) -> None:
        super().__init__(config)
        if not config.uri:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would report its use over the network
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric
        except ImportError as error:
            raise self.missing() from error
        self._client_type, self._metric_type, self._uri = MlflowClient, Metric, config.uri
        self._client: Any = None
        self._id = ""

    def begin(self, project: str, name: str, root: Path, settings: Mapping[str, Any]) -> None:
        beside = root.resolve().parent
        self._client = self._client_type(self._uri or f"sqlite:///{beside / 'mlflow.db'}")
        artifacts = None if self._uri else (beside / "mlflow-artifacts").as_uri()
        experiment = self._client.get_experiment_by_name(project)
        experiment_id = (
            self._client.create_experiment(project, artifacts) if experiment is None else experiment.experiment_id
        )
        quoted = name.replace("'", "")
        found = self._client.search_runs([experiment_id], f"tags.`{TAG}` = '{quoted}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.set_terminated(self._id, "RUNNING")
        else:
            run = self._client.create_run(
                experiment_id, tags={TAG: quoted, "muomni.run": root.resolve().name}, run_name=name
            )
            self._id = run.info.run_id
            for key, value in settings.items():
                self._client.log_param(self._id, key, str(value)[:LONGEST])

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        every = [self._metric_type(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=every)

    def sample(self, step: int, name: str, path: Path, kind: str) -> None:  # noqa: ARG002 (it shows all by their suffix)
        self._client.log_artifact(self._id, str(path), "samples")

    def card(self, step: int, markdown: str) -> None:  # noqa: ARG002
        self._client.log_text(self._id, markdown, "card.md")

    def end(self, reason: str) -> None:
        self._client.set_terminated(self._id, STATUS.get(reason, "FINISHED"))


@hookimpl
def register_callbacks() -> list[CallbackPart]:
    return [
        CallbackPart(
            name="mlflow",
            doc="sends metrics, samples and a card to MLflow, a SQLite file by default (needs muomni[mlflow])",
            config=MlflowConfig,
            build="muomni_mlflow:MlflowCallback",
        )
    ]

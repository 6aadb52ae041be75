"""The callbacks trackio, wandb and mlflow: what their own packages find afterwards, offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import RequestError, Tracker, TrackerConfig
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.training.tracking import card_of

pytestmark = pytest.mark.long

TRACKERS = ("trackio", "wandb", "mlflow")
# A stage of two sessions, in a process of its own: the packages keep state, and warn of their own dependencies.
PROGRAM = """
import json, sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
from PIL import Image

from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.registry.registry import get_registry, resolve

use, root, settings = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
samples = root / "runs" / "mine" / "thinker" / "samples"
samples.mkdir(parents=True)
Image.new("RGB", (8, 8), "red").save(samples / "000002-picture.png")
soundfile.write(samples / "000002-sound.wav", np.zeros(800, np.float32), 16000)
(samples / "000002-text.txt").write_text("a hen")
run = SimpleNamespace(name="mine", root=root / "runs" / "mine")
context = SimpleNamespace(settings=TrainSettings(steps=4), run=run, stage="thinker", seed=7, device="cpu")
part = get_registry().get("callback", use).part
for session in range(2):
    callback = resolve(part.build)(part.config(**settings))
    callback.on_start(context)
    for step in (1 + 2 * session, 2 + 2 * session):
        callback.on_log(step, {"loss": 5.0 - step, "tokens/s": 100.0})
    callback.on_validation(step, {"loss": 5.5 - step})
    callback.on_samples(2, sorted(samples.iterdir()) if session == 0 else [])
    callback.on_checkpoint(step, samples.parent / "last.safetensors")
    callback.on_end(step, "stopped" if session == 0 else "finished")
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a program and returns what it prints on stdout; no network may be reached."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    def run(program: str, *words: str) -> str:
        variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            capture_output=True,
            text=True,
            env=variables,
            cwd=tmp_path,
            check=False,
        )
        assert not done.returncode, done.stderr[-3000:]
        return done.stdout

    return run


def tracked(use: str, python: Callable[..., str], tmp_path: Path, **settings: Any) -> None:
    if find_spec(use) is None:
        pytest.skip(f"needs: pip install 'muomni[{use}]'")
    told = python(PROGRAM, use, str(tmp_path), json.dumps({"project": "hens", **settings}))
    assert told == "", "what a tracker says goes to stderr"


def test_trackio(python: Callable[..., str], tmp_path: Path) -> None:
    tracked("trackio", python, tmp_path)
    read = """
import json, trackio
(run,) = trackio.Api().runs("hens")
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps({"name": run.name, "config": run.config, "logs": SQLiteStorage.get_logs("hens", run.name)}))
"""
    found = json.loads(python(read).splitlines()[-1])
    assert found["name"] == "mine-thinker"
    assert (found["config"]["steps"], found["config"]["seed"], found["config"]["stage"]) == (4, 7, "thinker")
    values = {line["step"]: line["train/loss"] for line in found["logs"] if "train/loss" in line}
    assert values == {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0}
    assert [line["validation/loss"] for line in found["logs"] if "validation/loss" in line] == [3.5, 1.5]
    media = {name: value["_type"] for line in found["logs"] for name, value in line.items() if isinstance(value, dict)}
    assert media == {
        "samples/picture": "trackio.image", "samples/sound": "trackio.audio", "samples/text": "trackio.markdown",
        "card": "trackio.markdown",
    }  # fmt: skip
    assert len(list((tmp_path / "trackio" / "media").rglob("*.*"))) == 2


def test_wandb_offline(python: Callable[..., str], tmp_path: Path) -> None:
    tracked("wandb", python, tmp_path)
    folders = sorted((tmp_path / "runs" / "wandb").glob("offline-run-*-mine-thinker"))
    assert folders
    read = """
import json, struct, sys
from pathlib import Path
from wandb.proto import wandb_internal_pb2 as records

def contents(data):  # LevelDB's log format: blocks of 32 KiB; checksum, length and type of each fragment
    place, whole = 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, or the last fragment
            yield whole
            whole = b""

found = []
for path in sys.argv[1:]:
    for content in contents(Path(path).read_bytes()):
        record = records.Record()
        record.ParseFromString(content)
        items = record.history.item
        row = {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in items}
        found += [row] if row else []
print(json.dumps(found))
"""
    rows = json.loads(
        python(read, *(str(one) for folder in folders for one in folder.glob("*.wandb"))).splitlines()[-1]
    )
    assert {row["_step"]: row["train/loss"] for row in rows if "train/loss" in row} == {1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0}
    media = {name.removesuffix("/_type"): one for row in rows for name, one in row.items() if name.endswith("/_type")}
    assert media == {
        "samples/picture": "image-file", "samples/sound": "audio-file", "samples/text": "html-file", "card": "html-file"
    }  # fmt: skip


def test_mlflow(python: Callable[..., str], tmp_path: Path) -> None:
    tracked("mlflow", python, tmp_path)
    read = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///" + sys.argv[1])
(run,) = client.search_runs([client.get_experiment_by_name("hens").experiment_id])
history = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "train/loss")}
files = [one.path for folder in ("", "samples") for one in client.list_artifacts(run.info.run_id, folder or None)]
print(json.dumps([run.info.run_name, run.info.status, run.data.params["steps"], history, files]))
"""
    found = json.loads(python(read, str(tmp_path / "runs" / "mlflow.db")).splitlines()[-1])
    losses = {"1": 4.0, "2": 3.0, "3": 2.0, "4": 1.0}
    samples = ["samples/000002-picture.png", "samples/000002-sound.wav", "samples/000002-text.txt"]
    assert found == ["mine-thinker", "FINISHED", "4", losses, ["card.md", "samples", *samples]]


@pytest.mark.parametrize("use", TRACKERS)
def test_one_that_is_not_installed_is_said_before_training(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, use, None)
    part = get_registry().get("callback", use).part
    with pytest.raises(RequestError, match=f"the callback {use} needs {use}, which is not installed") as caught:
        resolve(part.build)(part.config())
    assert f"pip install 'muomni[{use}]'" in caught.value.fix


class Notebook(Tracker):
    """Writes down what it is to send."""

    package = extra = "notebook"

    def __init__(self, config: TrackerConfig) -> None:
        super().__init__(config)
        self.told: list[tuple[Any, ...]] = []

    def begin(self, project: str, name: str, root: Path, settings: Mapping[str, Any]) -> None: ...
    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def sample(self, step: int, name: str, path: Path, kind: str) -> None:  # noqa: ARG002
        self.told.append((step, name, kind))

    def card(self, step: int, markdown: str) -> None: ...
    def end(self, reason: str) -> None: ...


def test_samples_are_sent_by_their_kind_or_not_at_all() -> None:
    files = [Path("000010-a.wav"), Path("000010-b.b.PNG"), Path("000010-c.txt"), Path("000010-d.bin")]
    sends, silent = Notebook(TrackerConfig()), Notebook(TrackerConfig(samples=False))
    for one in (sends, silent):
        one.on_samples(10, files)
    assert sends.told == [(10, "samples/a", "audio"), (10, "samples/b.b", "image"), (10, "samples/c", "text")]
    assert silent.told == []


def test_a_card_says_how_it_ended() -> None:
    lines = card_of("mine", 9, "finished", {"train/loss": 0.123456789, "lr": 3e-4}).splitlines()
    assert lines == ["# mine", "", "finished after step 9", "", "| metric | value |", "|---|---|",
                     "| lr | 0.0003 |", "| train/loss | 0.123457 |"]  # fmt: skip

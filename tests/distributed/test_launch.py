"""``--devices`` and torchrun from outside: errors, kills, restarts, and what one is told."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from muomni_cli import app
from muomni_cli.core.errors import ROOT, RequestError
from muomni_cli.nn import device

RECIPE = """
name = "line"

[tokenizer]
use = "bytes"

[thinker]
use = "transformer"
d_model = 16
n_layers = 2
n_heads = 2
d_ff = 32
ctx_len = 32

[[data.text]]
use = "text"
path = "text.txt"
split = "line"

[train]
device = "cpu"
threads = 1
batch_size = 4
log_every = 20
val_every = 0
save_every = 20
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUOMNI_CACHE", str(tmp_path / "cache"))
    Path("text.txt").write_text("".join(f"Line {n} of a short story that goes on and on.\n" for n in range(200)))
    Path("line.toml").write_text(RECIPE)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["all", "line.toml", "--devices", "2", "--jobs", "2"], "--devices and --jobs exclude each other"),
        (["thinker", "line.toml", "--devices", "2", "--dry-run"], "--dry-run measures one process"),
        (["thinker", "line.toml", "--max-restarts", "1"], "--max-restarts needs --devices"),
    ],
)
def test_options_that_contradict_each_other(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["train", *words])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.usefixtures("world")
@pytest.mark.filterwarnings("ignore")  # PyTorch's profiler warns of its own
def test_a_profile_is_a_trace_of_three_steps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(["train", "thinker", "line.toml", "steps=9", "--profile"])
    assert not ended.value.code, capsys.readouterr().err
    trace = Path("runs/line/thinker/trace-0.json.gz")
    assert str(trace) in capsys.readouterr().err
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert len({event["name"] for event in events if event["name"].startswith("ProfilerStep#")}) == 3
    assert any("backward" in event["name"].lower() for event in events)


@pytest.mark.parametrize(
    ("there", "wanted", "chosen"),
    [({}, "auto", "cpu"), ({"mps": 1}, "auto", "mps"), ({"xpu": 2}, "xpu:1", "xpu:1"), ({"cuda": 1}, "auto", "cuda")],
)
def test_auto_takes_the_accelerator_that_is_there(
    monkeypatch: pytest.MonkeyPatch, there: dict[str, int], wanted: str, chosen: str
) -> None:
    monkeypatch.setattr(device, "device_count", lambda kind: there.get(kind, 0))
    assert str(device.choose_device(wanted)) == chosen


@pytest.mark.parametrize("wanted", ["mps", "xpu", "cuda:7", "vulkan", "nonsense"])
def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setattr(device, "device_count", lambda _: 0)
    with pytest.raises(RequestError, match=re.escape(wanted)):
        device.choose_device(wanted)


class Training:
    """``muomni train thinker`` in two processes."""

    def __init__(self, *words: str) -> None:
        with Path("told.txt").open("w", encoding="utf-8") as told:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "muomni_cli", "train", "thinker", "line.toml", *words],
                stderr=told,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            )

    def rank(self, number: int) -> psutil.Process:
        for child in psutil.Process(self.process.pid).children():
            if child.environ().get("RANK") == str(number):
                return child
        raise AssertionError("there is no such process")

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(1200):
            if condition():
                return
            assert self.process.poll() is None, self.told
            time.sleep(0.1)
        raise AssertionError(self.told)

    def wait(self) -> int:
        return self.process.wait(180)

    @property
    def told(self) -> str:
        return Path("told.txt").read_text(encoding="utf-8")


def steps_of(run: str) -> list[int]:
    path = Path(f"runs/{run}/thinker/metrics.jsonl")
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.slow
@pytest.mark.usefixtures("world")
def test_a_dead_process_ends_all_with_one_message_and_a_checkpoint() -> None:
    training = Training("steps=100000", "--devices", "2")
    training.until(lambda: Path("runs/line/thinker/last.safetensors").exists())
    training.rank(1).kill()
    assert training.wait() == 1
    assert training.told.count("error: ") == 1
    assert "process 1 of 2 was killed by SIGKILL" in training.told
    again = re.search(r"continue with: (muomni .*)", training.told)
    assert again is not None
    assert again[1].endswith("--devices 2 --resume")
    before = steps_of("line")[-1]
    assert Training(f"steps={before + 60}", "--devices", "2", "--resume").wait() == 0
    assert Training(f"steps={before + 80}", "--resume").wait() == 0  # one process goes on
    assert steps_of("line") == list(range(20, before + 81, 20))


@pytest.mark.slow
@pytest.mark.usefixtures("world")
def test_all_start_again_after_a_failure() -> None:
    training = Training("steps=600", "--devices", "2", "--max-restarts", "1")
    training.until(lambda: Path("runs/line/thinker/last.safetensors").exists())
    training.rank(0).kill()
    assert training.wait() == 0, training.told
    assert steps_of("line") == list(range(20, 601, 20))


@pytest.mark.slow
@pytest.mark.usefixtures("world")
def test_a_signal_is_passed_on_and_all_save() -> None:
    training = Training("steps=100000", "--devices", "2", "--max-restarts", "1")
    training.until(lambda: Path("runs/line/thinker/last.safetensors").exists())
    training.process.send_signal(signal.SIGTERM)
    assert training.wait() == 143
    assert training.told.count("error: ") == training.told.count("stopped by SIGTERM after step") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("world")
def test_a_process_that_hangs_is_named() -> None:
    training = Training("steps=100000", "timeout=6", "--devices", "2")
    training.until(lambda: Path("runs/line/thinker/last.safetensors").exists())
    hanging = training.rank(1)
    hanging.suspend()
    assert training.wait() == 1
    assert re.search(rf"process 1 \(.*pid {hanging.pid}\) is behind|no sign of life from process 1", training.told)


@pytest.mark.slow
@pytest.mark.usefixtures("world")
def test_the_processes_end_with_the_one_that_started_them() -> None:
    training = Training("steps=100000", "--devices", "2")
    training.until(lambda: Path("runs/line/thinker/last.safetensors").exists())
    workers = [training.rank(number) for number in range(2)]
    training.process.kill()
    training.wait()
    assert psutil.wait_procs(workers, timeout=60)[1] == []


@pytest.mark.slow
@pytest.mark.usefixtures("world")
def test_torchrun_starts_the_same_training() -> None:
    program = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    words = ["-m", "muomni_cli", "train", "thinker", "line.toml", "steps=40"]
    done = subprocess.run(
        [*program, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert steps_of("line") == [20, 40]
    assert done.stderr.count("next: ") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("world")
def test_a_hundred_million_parameters_for_three_steps(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["batch_size=2", "accumulate=1", "warmup_steps=0", "device=cpu", "val_every=0", "save_every=1", "log_every=1"]
    text = 'data.text=[{use="text", path="text.txt", split="line"}]'
    changes = [*few, text, "tokenizer.vocab_size=400", "thinker.ctx_len=64", 'schedule="constant"']
    for options in (["steps=2"], ["steps=3", "--resume"]):
        with pytest.raises(SystemExit) as ended:
            app.main(["train", "thinker", "omni-100m", *changes, *options])
        assert not ended.value.code, capsys.readouterr().err
    assert steps_of("omni-100m") == [1, 2, 3]


@pytest.mark.gpu
@pytest.mark.usefixtures("world")
def test_two_gpus_train_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = []
    for run, options in (("one", []), ("two", ["--devices", "2"]), ("shared", ["--devices", "2", 'parallel="fsdp"'])):
        assert Training("device=cuda", "steps=10", "log_every=1", "--run", run, *options).wait() == 0
        rows = [json.loads(line) for line in Path(f"runs/{run}/thinker/metrics.jsonl").read_text().splitlines()]
        found.append([row["loss"] for row in rows])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)

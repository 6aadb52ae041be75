"""Stopping anywhere and going on gives, bit for bit, what never stopping gives."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import settings, trainer

from muomni_cli.core.errors import RequestError
from muomni_cli.training.processes import StoppedError

pytestmark = pytest.mark.long

PROGRAM = Path(__file__).with_name("tiny.py")
CASES = [
    {"optimizer": "adamw"},
    {"optimizer": "muon", "ema": 0.9, "accumulate": 2, "val_every": 2},
    {"val_every": 1, "keep_last": 2, "early_stopping": {"patience": 6, "min_delta": 9.0}},
]


class StopAfter:
    """A callback that sends this process a signal once a step is logged."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def on_start(self, context: object) -> None: ...

    def on_log(self, step: int, metrics: object) -> None:  # noqa: ARG002
        if step == self.step:
            signal.raise_signal(self.number)

    def on_validation(self, step: int, metrics: object) -> None: ...

    def on_checkpoint(self, step: int, path: Path) -> None: ...

    def on_end(self, step: int, reason: str) -> None: ...


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "tiny" / "last.safetensors")


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert {name.partition(".")[0] for name in a} >= {"model", "optim", "rng"}
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def told(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "tiny" / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "memory", "tokens/s")} for line in lines]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("log_every", [1, 2])
def test_stopped_at_every_step(tmp_path: Path, case: dict[str, Any], log_every: int) -> None:
    chosen = settings(steps=6, log_every=log_every, **case)
    trainer(tmp_path / "whole", chosen, dropout=0.2).run()
    for step in range(log_every, 6, log_every):
        folder = tmp_path / f"stopped-{step}"
        with pytest.raises(StoppedError) as caught:
            trainer(folder, chosen, [("stop", StopAfter(step))], dropout=0.2).run()
        assert caught.value.exit_code == 130
        assert caught.value.fix.endswith("muomni train tiny RECIPE --resume")
        torch.rand(7)
        assert trainer(folder, chosen, dropout=0.2).run(resume=True) == 6
        assert_same(state(folder), state(tmp_path / "whole"))
        assert told(folder) == told(tmp_path / "whole")


def test_stopped_again_and_again_in_the_middle_of_a_log_window(tmp_path: Path) -> None:
    chosen = settings(steps=7, log_every=7, save_every=1, val_every=3, ema=0.5)
    trainer(tmp_path / "whole", chosen, dropout=0.2).run()
    for resume in (False, True, True):
        made = trainer(tmp_path / "often", chosen, dropout=0.2)
        save, saved = made.save, []

        def save_and_stop(done: int, save: Any = save, saved: list[int] = saved) -> None:
            save(done)
            saved.append(done)
            if len(saved) == 2:
                raise KeyboardInterrupt

        made.save = save_and_stop  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            made.run(resume=resume)
    assert trainer(tmp_path / "often", chosen, dropout=0.2).run(resume=True) == 7
    assert_same(state(tmp_path / "often"), state(tmp_path / "whole"))
    assert told(tmp_path / "often") == told(tmp_path / "whole")


def start(folder: Path, options: dict[str, Any], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), json.dumps(options), *words], stderr=subprocess.PIPE, text=True
    )


def wait_for_lines(folder: Path, count: int) -> None:
    path = folder / "tiny" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not path.is_file() or len(path.read_text().splitlines()) < count:
        assert time.monotonic() < deadline, "the process does not get on"
        time.sleep(0.01)


def test_killed_at_random_steps(tmp_path: Path) -> None:
    options = {"steps": 24, "optimizer": "muon", "ema": 0.9, "dropout": 0.2, "save_every": 3, "val_every": 5}
    own = {"dropout": options["dropout"]}
    trainer(tmp_path / "whole", settings(**{k: v for k, v in options.items() if k != "dropout"}), **own).run()
    draw = random.Random(5)
    folder = tmp_path / "killed"
    lines = 0
    for words in ([], ["resume"]):
        process = start(folder, {**options, "pause": 0.03}, *words)
        lines += draw.randint(4, 9)
        wait_for_lines(folder, lines)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    process = start(folder, options, "resume")
    assert process.communicate(timeout=60) is not None
    assert process.returncode == 0
    assert_same(state(folder), state(tmp_path / "whole"))
    assert told(folder) == told(tmp_path / "whole")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_and_saves(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = start(tmp_path, {"steps": 100_000, "pause": 0.01})
    wait_for_lines(tmp_path, 3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "continue with: muomni train tiny RECIPE --resume" in err
    lines = told(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert not list((tmp_path / "tiny").glob(".*"))


def test_resuming_does_not_go_back_to_the_beginning(tmp_path: Path) -> None:
    trainer(tmp_path, settings(steps=3)).run()
    seen: list[int] = []
    longer = trainer(tmp_path, settings(steps=5))
    batch = longer.objective.batch
    longer.objective.batch = lambda step, micro: seen.append(step) or batch(step, micro)  # type: ignore[method-assign]
    assert longer.run(resume=True) == 5
    assert seen == [3, 4]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, settings(steps=2)).run()
    with pytest.raises(RequestError, match="cannot be continued"):
        trainer(tmp_path, settings(steps=4, ema=0.9)).run(resume=True)


def test_weights_that_nothing_validates_are_not_hidden_behind_an_earlier_best(tmp_path: Path) -> None:
    best = tmp_path / "tiny" / "best.safetensors"
    trainer(tmp_path, settings(steps=2, val_every=2)).run()
    assert best.is_file()
    trainer(tmp_path, settings(steps=4, val_every=0)).run(resume=True)
    assert not best.exists()
    trainer(tmp_path, settings(steps=6, val_every=2)).run(resume=True)
    assert best.is_file(), "whatever was best before, it is of the sitting that validates again"

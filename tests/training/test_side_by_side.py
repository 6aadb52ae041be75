"""Stages that are trained at the same time: who waits for whom, and what becomes of the others when one stops."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from muomni_cli.commands.train import train
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import stages_of, waits_of
from muomni_cli.training.processes import Plan, StoppedError, train_parallel
from tests.training.test_stages import RECIPE

WAITS = {"tokenizer": "", "thinker": ["tokenizer"], "image": ["tokenizer"], "omni": ["thinker", "image", "tokenizer"]}

TEXT = "".join(f"Line {n}: the {n % 7} cats and {n % 5} dogs ran up the hill to see the sea.\n" for n in range(200))

EYES = """
[encoders.image]
use = "vit"
size = 16
patch = 8
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
learn = "labels"

[[data.image]]
use = "scenes"
count = 40

[train.image]
steps = 3
batch_size = 2
warmup_steps = 1
precision = "fp32"
val_every = 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(places: int, **threads: int) -> Plan:
    return Plan(list(WAITS), WAITS, {stage: threads.get(stage, 1) for stage in WAITS}, places)


def order(plan: Plan) -> list[list[str]]:
    """Which stages run together, if all that run end at the same time."""
    waiting, rounds = list(plan.stages), []
    while waiting:
        running: list[str] = []
        while (stage := plan.next(waiting, running)) is not None:
            waiting.remove(stage)
            running.append(stage)
        assert running, "nobody can begin"
        rounds.append(running)
    return rounds


@pytest.mark.parametrize(
    ("places", "threads", "rounds"),
    [
        (1, {}, [["tokenizer"], ["thinker"], ["image"], ["omni"]]),
        (2, {}, [["tokenizer"], ["thinker", "image"], ["omni"]]),
        (3, {"thinker": 2, "omni": 7}, [["tokenizer"], ["thinker", "image"], ["omni"]]),
        (3, {"thinker": 0}, [["tokenizer"], ["thinker"], ["image"], ["omni"]]),
        (3, {"thinker": 3}, [["tokenizer"], ["thinker"], ["image"], ["omni"]]),
    ],
)
def test_what_fits_and_waits_for_nobody_begins(places: int, threads: dict[str, int], rounds: list[list[str]]) -> None:
    assert order(plan(places, **threads)) == rounds


def test_a_small_stage_passes_a_large_one_that_does_not_fit() -> None:
    chosen = Plan(["a", "b", "c"], {"a": [], "b": [], "c": []}, {"a": 1, "b": 2, "c": 1}, 2)
    assert chosen.next(["b", "c"], ["a"]) == "c"


def test_every_stage_of_a_recipe_waits_for_what_it_is_built_on() -> None:
    recipe = load_recipe("nano")
    waits = waits_of(recipe)
    assert list(waits) == stages_of(recipe)
    assert waits["tokenizer"] == frozenset()
    assert waits["codec"] == waits["vocoder"] == waits["audio"] == {"tokenizer"}
    assert waits["talker"] == {"tokenizer", "thinker", "image", "audio", "codec"}
    assert waits["omni"] == {"tokenizer", "thinker", "image", "audio"}


def program(text: str) -> list[str]:
    return [sys.executable, "-c", "import pathlib, signal, sys, time\n" + text]


def meets(own: str, other: str) -> list[str]:
    """Ends only if another runs at the same time."""
    return program(
        f"pathlib.Path({own!r}).touch()\n"
        f"until = time.monotonic() + 30\n"
        f"while not pathlib.Path({other!r}).exists(): time.sleep(0.01); assert time.monotonic() < until\n"
        f"print('{own} 1/1', file=sys.stderr); print('told', file=sys.stderr); print('next: nobody', file=sys.stderr)"
    )


def test_stages_run_at_the_same_time_and_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {"thinker": meets("thinker", "image"), "image": meets("image", "thinker")}
    train_parallel(plan(2), lambda stage: commands.get(stage, program("")), "again")
    told = sorted(capsys.readouterr().err.splitlines())
    assert told == ["image 1/1", "image: told", "thinker 1/1", "thinker: told"]


@pytest.mark.parametrize(("code", "kind"), [(1, MuomniError), (2, RequestError)])
def test_after_a_failure_others_end_and_none_begins(code: int, kind: type[MuomniError]) -> None:
    commands = {
        "thinker": program(f"sys.exit({code})"),
        "image": program("time.sleep(0.5); pathlib.Path('image').touch()"),
        "omni": program("pathlib.Path('omni').touch()"),
    }
    with pytest.raises(MuomniError, match="thinker failed") as caught:
        train_parallel(plan(2), lambda stage: commands.get(stage, program("")), "muomni again")
    assert type(caught.value) is kind
    assert caught.value.fix.endswith("muomni again")
    assert Path("image").exists()
    assert not Path("omni").exists()


SAVES = program(
    "def save(*_): pathlib.Path('saved').open('a').write('x'); time.sleep(0.3); sys.exit(143)\n"
    "signal.signal(signal.SIGTERM, save)\n"
    "pathlib.Path('ready').touch()\n"
    "time.sleep(60)"
)


def signalled(number: signal.Signals) -> Callable[[], None]:
    def wait_and_send() -> None:
        until = time.monotonic() + 30
        while not Path("ready").exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    return wait_and_send


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_all_save_once(number: signal.Signals) -> None:
    sender = threading.Thread(target=signalled(number))
    sender.start()
    with pytest.raises(StoppedError, match="thinker stopped by") as caught:
        train_parallel(plan(1), lambda stage: SAVES if stage == "thinker" else program(""), "muomni again")
    sender.join()
    assert Path("saved").read_text() == "x"
    assert caught.value.exit_code == 128 + number
    assert caught.value.fix == "continue with: muomni again"


def test_nobody_is_left_behind_by_an_error_of_our_own() -> None:
    def command(stage: str) -> list[str]:
        if stage == "image":
            until = time.monotonic() + 30
            while not Path("ready").exists() and time.monotonic() < until:
                time.sleep(0.01)
            raise OSError("no more processes")
        return SAVES if stage == "thinker" else program("")

    with pytest.raises(OSError, match="no more"):
        train_parallel(plan(2), command, "again")
    assert Path("saved").read_text() == "x"


def test_a_run_is_the_same_as_stage_by_stage(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.toml").write_text((RECIPE + EYES).replace("warmup_steps = 1", "warmup_steps = 3"))
    Path("text.txt").write_text(TEXT)
    train("all", "small.toml", ["steps=2"], run="one by one")
    capsys.readouterr()
    train("all", "small.toml", ["steps=2"], run="beside", jobs=2)
    told = capsys.readouterr().err
    assert "next: muomni chat -m beside" in told.splitlines()[-1]
    assert told.count("shortened") == 1, "once, and not by every process"
    recipes = [Path("runs", run, "recipe.toml").read_text() for run in ("one by one", "beside")]
    assert recipes[0] == recipes[1]
    assert load_recipe("runs/beside/recipe.toml").train_for("image").steps == 2
    for stage in ("thinker", "image"):
        one, other = (load_file(f"runs/{run}/{stage}/last.safetensors") for run in ("one by one", "beside"))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("stage", "options"), [("thinker", {"jobs": 2}), ("all", {"jobs": 2, "force": True})])
def test_jobs_that_make_no_sense(stage: str, options: dict) -> None:
    with pytest.raises(RequestError, match="--jobs") as caught:
        train(stage, "tales", **options)
    assert caught.value.fix

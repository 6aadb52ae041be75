"""``muomni sweep``: trials of a small real recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from muomni_cli.commands.cli import build_cli
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.registry.registry import get_registry
from muomni_cli.training import sweep as module
from muomni_cli.training.processes import StoppedError
from muomni_cli.training.sweep import Axis, Sweep, axes_of, choose_sampler

pytestmark = pytest.mark.long

RECIPE = """
name = "small"

[tokenizer]
use = "bytes"

[thinker]
use = "transformer"
d_model = 8
n_layers = 1
n_heads = 1
d_ff = 8
ctx_len = 8

[[data.text]]
use = "text"
path = "text.txt"
split = "line"

[train]
device = "cpu"
threads = 1
steps = 2
batch_size = 2
val_every = 1
val_batches = 1
"""
Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(RECIPE)
    Path("text.txt").write_text("".join(f"Line {number}: the cat.\n" for number in range(60)))
    return tmp_path


@pytest.fixture
def sweep() -> Run:
    cli = build_cli(get_registry().plugins)
    return lambda *words: CliRunner().invoke(cli, ["sweep", "small.toml", *words])


def rows(done: Result) -> list[dict[str, Any]]:
    assert done.exception is None, done.exception
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_every_combination_is_tried_and_ranked(sweep: Run) -> None:
    found = rows(sweep("lr=[0.1, 0.001]", "thinker.n_layers=[1, 2]", "seed=3", "--plot", "p.svg", "--json"))
    assert sorted((one["values"]["train.thinker.lr"], one["values"]["thinker.n_layers"]) for one in found) == [
        (0.001, 1), (0.001, 2), (0.1, 1), (0.1, 2),
    ]  # fmt: skip
    assert [one["value"] for one in found] == sorted(one["value"] for one in found)
    for one in found:
        lines = [json.loads(line) for line in (Path(one["run"]) / "thinker" / "metrics.jsonl").read_text().splitlines()]
        assert one["value"] == min(line["val_loss"] for line in lines if "val_loss" in line)
        text = (Path(one["run"]) / "recipe.toml").read_text()
        assert f"n_layers = {one['values']['thinker.n_layers']}" in text
        assert "seed = 3" in text
    assert Path("p.svg").read_text().lstrip().startswith("<?xml")


def test_the_table_and_a_second_sweep(sweep: Run) -> None:
    done = sweep("lr=[0.1, 0.001]")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].split() == ["TRIAL", "train.thinker.lr", "BEST", "loss", "STEP", "STATUS"]
    assert "best: train.thinker.lr=" in done.stderr
    again = sweep("lr=[0.1, 0.001]")
    assert isinstance(again.exception, RequestError)
    assert "exists" in again.exception.what
    other = sweep("lr=[0.1]", "--resume")
    assert isinstance(other.exception, RequestError)
    assert "other axes" in other.exception.what
    assert sweep("lr=[0.1]", "--force").exit_code == 0


def interrupted(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C in place of the training number ``after``."""
    real, count = module.train, iter(range(99))

    def train(jobs: Any, **options: Any) -> None:
        if next(count) == after:
            raise StoppedError("thinker stopped", "continue", 2)
        real(jobs, **options)

    monkeypatch.setattr(module, "train", train)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_optuna_chooses_the_same_trials_after_an_interruption(
    sweep: Run, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    pytest.importorskip("optuna", reason="needs: pip install 'muomni[sweep]'")
    words = [
        "lr={low=1e-4, high=1e-1, log=true}",
        "thinker.d_ff=[8, 16]",
        "--sampler",
        sampler,
        "--trials",
        "4",
        "--json",
    ]
    whole = rows(sweep(*words, "--name", "whole"))
    assert len({one["values"]["train.thinker.lr"] for one in whole}) == 4
    assert all(1e-4 <= one["values"]["train.thinker.lr"] <= 1e-1 for one in whole)
    with monkeypatch.context() as patch:
        interrupted(patch, 2)
        assert isinstance(sweep(*words, "--name", "parts").exception, StoppedError)
    parts = rows(sweep(*words, "--name", "parts", "--resume"))
    names = ("number", "values", "value", "step")
    assert [[one[name] for name in names] for one in parts] == [[one[name] for name in names] for one in whole]


def test_a_trial_that_fails_is_written_down(sweep: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.train

    def train(jobs: Any, **options: Any) -> None:
        if jobs[0].recipe.train_for("thinker").lr > 0.01:
            raise MuomniError("loss was not finite", "lower it")
        real(jobs, **options)

    monkeypatch.setattr(module, "train", train)
    found = rows(sweep("lr=[0.1, 0.001]", "--json"))
    assert [(one["status"], one["reason"]) for one in found] == [("finished", ""), ("failed", "loss was not finite")]
    assert "every trial failed" in str(sweep("lr=[0.1, 0.2]", "--name", "hot").exception)


def test_a_base_gives_the_earlier_stages(sweep: Run) -> None:
    (first,) = rows(sweep("lr=[0.001]", "--name", "first", "--json"))
    found = rows(sweep("lr=[0.001, 0.01]", "--base", first["run"], "--json"))
    assert {one["values"]["train.thinker.lr"]: one["value"] for one in found}[0.001] == first["value"]


def test_words_are_axes_or_hold_for_all() -> None:
    axes, fixed = axes_of(["lr=[1, 2]", "steps=5", "x={low=1, high=8}", "y={low=0.1, high=1.0, log=true}", "name=a"])
    assert fixed == ["steps=5", "name=a"]
    assert axes == [Axis("lr", (1, 2)), Axis("x", (), 1, 8), Axis("y", (), 0.1, 1.0, True)]
    assert [axis.whole for axis in axes[1:]] == [True, False]
    assert choose_sampler(axes[:1], "", 0) == ("grid", 2)
    assert choose_sampler(axes[:1], "", 1) == ("grid", 1)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["steps=4"], "there is nothing to try"),
        (["lr=[]"], "has nothing to try"),
        (["lr={low=2, high=1}"], "is not a range"),
        (["lr={low=0, high=1, log=true}"], "is not a range"),
        (["lr={low=0.1, high=1.0}", "--sampler", "grid"], "a range has no grid"),
        (["lr=[1, 2]", "--sampler", "bayes"], "there is no sampler 'bayes'"),
        (["lr=[1, 2]", "lr=[3]"], "given twice"),
        (["lr=[0.1]", "--stage", "all"], "trains one stage"),
        (["lr=[0.1]", "--resume"], "to continue"),
        (["lr=[0.1]", "--name", "../x"], "invalid name"),
        (["lr=[0.1]", "--plot", "a.pdf"], "unsupported picture format"),
        (["thinker.no_such=[1]"], "no_such"),
        (["lr=[0.1]", "--base", "nothing"], "there is no run"),
    ],
)
def test_requests_that_make_no_sense(sweep: Run, words: list[str], problem: str) -> None:
    done = sweep(*words)
    assert isinstance(done.exception, RequestError)
    assert problem in done.exception.what
    assert done.exception.fix
    assert not Path("runs").exists() or not any(Path("runs").rglob("trial-*"))


def test_a_metric_that_is_not_measured_is_told(sweep: Run) -> None:
    done = sweep("lr=[0.1]", "--metric", "beauty")
    assert "did not measure 'beauty'" in str(done.exception)


def test_the_best_come_first() -> None:
    trials = [module.Trial(number, {}, "finished", value) for number, value in enumerate((2.0, None, 1.0))]
    for maximize, expected in ((False, [2, 0, 1]), (True, [0, 2, 1])):
        made = Sweep(Path("x"), "r", "thinker", [], [], "grid", 3, maximize=maximize, trials=trials)
        assert [trial.number for trial in made.ranked()] == expected

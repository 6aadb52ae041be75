"""Runs on disk: which model is meant, what is listed, how curves are drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import muomni_cli
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json
from muomni_cli.runs.listing import Curve, MetricsLog, all_runs, curve, find_run, png_plot, text_plot
from muomni_cli.runs.run import RunFolder
from tests.opening import run_engine


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make(name: str, *, complete: bool = True, step: int = 3) -> RunFolder:
    """A run with logged metrics and, if complete, a tokenizer and a Thinker checkpoint of one number."""
    import torch

    from muomni_cli.runs.checkpoint import write_checkpoint

    run = RunFolder(Path("runs") / name)
    run.record("tokenizer", {"status": "finished"}, {"use": "bytes", "plugin": "x", "weights": "tokenizer"})
    run.stage("tokenizer").mkdir()
    log = MetricsLog(run.stage("thinker") / "metrics.jsonl")
    for done in range(1, step + 1):
        log.write(done, {"loss": 4.0 / done})
    log.write(step, {"val_loss": 1.5, "val_bits_per_byte": 1.25})
    run.record("thinker", {"status": "unfinished", "step": step, "steps": 9})
    if complete:
        part = {"use": "transformer", "plugin": "x", "weights": "thinker/last.safetensors"}
        run.record("thinker", {}, part)
        write_checkpoint(run.stage("thinker") / "last.safetensors", {"step": step}, {"model": {"a": torch.zeros(1)}})
    return run


def test_model_by_folder_name_file_environment_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(("old", "new")):
        run = make(name)
        os.utime(run.stage("thinker") / "last.safetensors", (1000 + age, 1000 + age))
    make("incomplete", complete=False)
    file = "runs/old/thinker/last.safetensors"
    assert run_engine().run.name == "new"
    for spec in ("old", "runs/old", str(Path("runs/old").resolve()), file):
        assert run_engine(spec).run.name == "old"
        assert str(run_engine(spec).checkpoint("thinker")).endswith("last.safetensors")
    monkeypatch.setenv("MUOMNI_MODEL", "old")
    assert run_engine().run.name == "old"
    assert run_engine("new").run.name == "new"
    assert run_engine(file).source("thinker") == f"{file} (step 3)"


def test_best_weights_come_before_the_last() -> None:
    run = make("a")
    last = run.stage("thinker") / "last.safetensors"
    last.with_name("best.safetensors").write_bytes(last.read_bytes())
    assert run_engine("a").checkpoint("thinker") == last.with_name("best.safetensors")
    assert run_engine(str(last)).checkpoint("thinker") == last


@pytest.mark.usefixtures("no_model")
def test_no_model_says_what_was_looked_for() -> None:
    with pytest.raises(RequestError, match=r"no run under .* is complete") as caught:
        run_engine()
    assert "muomni train all" in caught.value.fix
    make("half", complete=False)
    with pytest.raises(RequestError, match="not complete"):
        run_engine("half").omni()
    with pytest.raises(RequestError, match="no model 'hal'") as caught:
        run_engine("hal")
    assert "half" in caught.value.fix


def test_a_tokenizer_that_is_missing_names_the_command() -> None:
    run = RunFolder(Path("runs/empty"))
    with pytest.raises(RequestError, match="no tokenizer yet") as caught:
        run.tokenizer("muomni train tokenizer r.toml")
    assert "muomni train tokenizer r.toml" in caught.value.fix
    assert not run.root.exists()


def test_listing() -> None:
    make("a", step=5)
    (Path("runs/broken")).mkdir()
    Path("runs/broken/model.json").write_text("{")
    runs = {run["name"]: run for run in all_runs()}
    thinker = runs["a"]["stages"]["thinker"]
    assert thinker == {
        "status": "unfinished", "step": 5, "steps": 9, "loss": 0.8, "val_loss": 1.5, "bits_per_byte": 1.25
    }  # fmt: skip
    assert runs["a"]["bytes"] > 100
    assert "not valid JSON" in runs["broken"]["error"]
    with pytest.raises(RequestError, match="no run 'b'"):
        find_run("b")


def test_curves() -> None:
    run = make("a")
    assert curve(run, "loss") == ("thinker", [1, 2, 3], [4.0, 2.0, 4 / 3])
    with pytest.raises(RequestError, match="no metric 'los'") as caught:
        curve(run, "los")
    assert "val_bits_per_byte" in caught.value.fix


def test_damaged_lines_of_metrics_are_counted_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    run = make("a")
    path = run.stage("thinker") / "metrics.jsonl"
    whole = path.read_bytes()
    for number, damaged in enumerate(
        [
            *(b'{"step": 9, "lo', b"\xff\xfe\0", b"[1]", b'{"loss": 1.0}', b'{"step": "9"}', b"[" * 100_000),
            *(f'{{"step": 9, "loss": {value}}}'.encode() for value in ("null", '"low"', "[1]", "{}", "true")),
        ],
        start=1,
    ):
        path.write_bytes(whole[: whole.index(b"\n") + 1] + (damaged + b"\n") * number + whole[whole.index(b"\n") + 1 :])
        for _ in range(2):
            assert curve(run, "loss") == ("thinker", [1, 2, 3], [4.0, 2.0, 4 / 3])
            assert all_runs()[0]["stages"]["thinker"]["loss"] == 4 / 3
        lines = "line is" if number == 1 else "lines are"
        assert capsys.readouterr().err == f"warning: {path}: {number} damaged {lines} left out\n"
    path.write_bytes(whole + b'{"step": 9, "loss": 1%s}\n' % (b"0" * 400))
    assert curve(run, "loss")[1] == [1, 2, 3], "what no float can hold is not plotted"
    assert capsys.readouterr().err == ""


def test_plots(tmp_path: Path) -> None:
    curves = [Curve("falling", [1, 50, 100], [3.0, 2.0, 1.0]), Curve("flat", [1, 100], [2.0, 2.0])]
    lines = text_plot(curves, columns=43, height=11).splitlines()
    marks = {(row, column) for row, line in enumerate(lines[:11]) for column, cell in enumerate(line) if cell == "•"}
    margin = lines[0].index("│") + 1
    assert {(0, margin), (10, 42)} <= marks
    assert lines[-1].strip() == "+ flat"
    png_plot(curves, "loss", tmp_path / "deep" / "plot.png")
    assert (tmp_path / "deep" / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert max(map(len, lines)) == 43
    assert text_plot([Curve("one", [7], [2.0])])


def test_state_of_a_stage_is_merged_not_replaced() -> None:
    run = RunFolder(Path("runs/m"))
    run.record("thinker", {"status": "unfinished", "step": 1})
    run.record("thinker", {"status": "finished"}, chat={"template": "plain"})
    stages = read_json(run.model_path)["stages"]
    assert stages["thinker"].items() >= {"status": "finished", "step": 1}.items()
    assert run.status("thinker") == "finished"
    assert run.status("talker") == "missing"


def test_looking_at_runs_imports_no_torch() -> None:
    make("a")
    program = (
        "import sys, json; from muomni_cli.commands.models import list_runs, show, plot;"
        "list_runs(json=False); show('a', json=True); plot(['a'], None, 'loss', '');"
        "print(json.dumps([m for m in ('torch', 'onnxruntime', 'matplotlib') if m in sys.modules]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(muomni_cli.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert "1.2500" in done.stdout


def test_a_plot_shows_validation_fits_the_terminal_and_leaves_out_what_is_no_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from muomni_cli.commands.models import plot

    run = make("a", step=5)
    MetricsLog(run.stage("thinker") / "metrics.jsonl").write(6, {"loss": float("nan")})
    monkeypatch.setenv("COLUMNS", "40")
    plot(["a"])
    lines = capsys.readouterr().out.splitlines()
    assert any("validation loss 1.5" in line for line in lines)
    assert max(map(len, lines)) < 40
    plot(["a"], json=True)
    training, validation = json.loads(capsys.readouterr().out)
    assert training["steps"] == [1, 2, 3, 4, 5]
    assert (validation["steps"], validation["values"], validation["validation"]) == ([5], [1.5], True)


def test_a_misspelt_name_of_a_run_is_answered_with_the_nearest() -> None:
    make("tiny")
    for look in (find_run, run_engine):
        with pytest.raises(RequestError) as caught:
            look("tinny")
        assert "did you mean 'tiny'?" in caught.value.fix

"""What a stage tells while it trains: callbacks, metrics, samples, display; and what a dry run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import NextToken, settings, trainer

from muomni_cli.core.console import duration, size
from muomni_cli.core.errors import RequestError
from muomni_cli.nn.device import choose_device
from muomni_cli.runs.listing import MetricsLog, read_lines
from muomni_cli.training.dry_run import dry_run
from muomni_cli.training.step import Prefetch


class Diary:
    """Writes down what it is told."""

    def __init__(self, fail_on: str = "") -> None:
        self.told: list[tuple[str, Any]] = []
        self.fail_on = fail_on

    def _note(self, event: str, detail: Any) -> None:
        if event == self.fail_on:
            raise ValueError("no paper")
        self.told.append((event, detail))

    def on_start(self, context: Any) -> None:
        self._note("start", context.stage)

    def on_log(self, step: int, metrics: Any) -> None:
        assert {"loss", "lr", "grad_norm", "accuracy", "tokens/s", "memory", "time"} == set(metrics)
        self._note("log", step)

    def on_validation(self, step: int, metrics: Any) -> None:
        assert set(metrics) == {"loss"}
        self._note("validation", step)

    def on_checkpoint(self, step: int, path: Path) -> None:
        assert path.is_file()
        self._note("checkpoint", step)

    def on_end(self, step: int, reason: str) -> None:
        self._note("end", (step, reason))


def test_callbacks_are_told_everything_in_order(tmp_path: Path) -> None:
    diary = Diary()
    trainer(tmp_path, settings(steps=4, log_every=2, val_every=3, save_every=2), [("diary", diary)]).run()
    assert diary.told == [
        ("start", "tiny"),
        ("log", 2),
        ("checkpoint", 2),
        ("validation", 3),
        ("log", 4),
        ("validation", 4),
        ("checkpoint", 4),
        ("end", (4, "finished")),
    ]


def test_a_callback_that_fails_is_left_out_and_training_goes_on(tmp_path: Path) -> None:
    broken, fine = Diary(fail_on="log"), Diary()
    made = trainer(tmp_path, settings(steps=3), [("broken", broken), ("fine", fine)])
    assert made.run() == 3
    assert broken.told == [("start", "tiny")]
    assert fine.told[-1] == ("end", (3, "finished"))
    assert len(made.told) == 1
    assert "broken" in made.told[0]
    assert "no paper" in made.told[0]


def test_files_of_a_stage(tmp_path: Path) -> None:
    trainer(tmp_path, settings(steps=4, val_every=2, sample_every=2, ema=0.5)).run()
    folder = tmp_path / "tiny"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "best.safetensors",
        "last.safetensors",
        "metrics.jsonl",
        "samples/000002-next.txt",
        "samples/000004-next.txt",
    ]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [("loss" in line, "val_loss" in line, line["step"]) for line in lines] == [
        (True, False, 1),
        (True, False, 2),
        (False, True, 2),
        (True, False, 3),
        (True, False, 4),
        (False, True, 4),
    ]


def test_validating_more_often_does_not_change_the_weights(tmp_path: Path) -> None:
    weights = []
    for every in (0, 1):
        made = trainer(tmp_path / str(every), settings(val_every=every, sample_every=every, ema=0.9), dropout=0.3)
        made.run()
        weights.append([p.detach() for p in made.objective.module.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_metrics_are_cut_at_the_step_and_half_lines_dropped(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        log.write(step, {"loss": float(step)})
    with log.path.open("a") as file:
        file.write('{"step": 4, "lo')
    log.cut(2)
    assert [line["loss"] for line in read_lines(log.path)] == [1.0, 2.0]


def test_an_error_while_preparing_a_batch_arrives_where_the_batch_is_awaited() -> None:
    objective = NextToken(settings())

    def fail(step: int, micro: int) -> Any:
        raise RequestError(f"no data for {step}.{micro}", "bring some")

    objective.batch = fail  # type: ignore[method-assign]
    with (
        Prefetch(objective, range(5, 9), accumulate=1) as batches,
        pytest.raises(RequestError, match=r"no data for 5\.0"),
    ):
        batches.next()


def test_a_dry_run_measures_one_real_step_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = trainer(tmp_path / "run", settings(steps=50, accumulate=2))
    tried = dry_run(made.objective, made.context)
    assert tried.parameters == sum(tried.by_module.values()) - tried.by_module["head"]  # tied with the table
    assert tried.items_a_step == 8 * 6
    assert tried.total_seconds >= 50 * tried.step_seconds
    assert "tokens a step" in tried.as_text()
    assert json.loads(json.dumps(tried.as_json()))["steps"] == 50
    assert list(tmp_path.rglob("*")) == []


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("auto").type == "cpu"
    for absent in ("cuda", "cuda:1", "toaster", "meta"):
        with pytest.raises(RequestError):
            choose_device(absent)


def test_numbers_for_people() -> None:
    assert [size(n) for n in (999, 1500, 2_500_000, 1_200_000_000)] == ["999 B", "2 kB", "2 MB", "1.20 GB"]
    assert [duration(s) for s in (5, 65, 3_700)] == ["0:05", "1:05", "1:01:40"]


def test_running_out_of_memory_says_what_to_do(tmp_path: Path) -> None:
    made = trainer(tmp_path, settings())
    made.stepper.step = lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no room"))  # type: ignore[method-assign]
    with pytest.raises(Exception, match="out of memory") as caught:
        made.run()
    assert "accumulate" in caught.value.fix  # type: ignore[attr-defined]


def test_written_samples_are_told_to_those_that_take_them(tmp_path: Path) -> None:
    class Gallery(Diary):
        def on_samples(self, step: int, files: Any) -> None:
            assert all(path.is_file() for path in files)
            self._note("samples", (step, [path.name for path in files]))

    gallery, plain = Gallery(), Diary()
    trainer(tmp_path, settings(steps=4, sample_every=2), [("gallery", gallery), ("plain", plain)]).run()
    expected = [("samples", (2, ["000002-next.txt"])), ("samples", (4, ["000004-next.txt"]))]
    assert [one for one in gallery.told if one[0] == "samples"] == expected
    assert not any(event == "samples" for event, _ in plain.told)

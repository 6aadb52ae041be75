"""Early stopping, checkpoints that are kept, and their mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tiny import settings, trainer

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import write_sealed_json
from muomni_cli.models.average import average
from muomni_cli.runs.checkpoint import read_checkpoint
from muomni_cli.runs.run import LAST, RunFolder, kept_checkpoints
from muomni_cli.training.processes import StoppedError
from muomni_cli.training.retention import EarlyStopping

HOPELESS = {"patience": 3, "min_delta": 100.0}  # only the first validation is an improvement


def quiet(_: str) -> None: ...


def steps_of(folder: Path) -> list[int]:
    return list(kept_checkpoints(folder / "tiny"))


def test_a_stage_ends_after_validations_without_improvement(tmp_path: Path) -> None:
    chosen = settings(steps=20, val_every=2, early_stopping=HOPELESS)
    ended: list[tuple[int, str]] = []

    class Watch:
        def on_start(self, context: object) -> None: ...
        def on_log(self, step: int, metrics: object) -> None: ...
        def on_validation(self, step: int, metrics: object) -> None: ...
        def on_checkpoint(self, step: int, path: Path) -> None: ...
        def on_end(self, step: int, reason: str) -> None:
            ended.append((step, reason))

    assert trainer(tmp_path, chosen, [("watch", Watch())]).run() == 8
    assert ended == [(8, "finished")]
    header = read_checkpoint(tmp_path / "tiny" / LAST).header
    assert (header["step"], header["finished"]) == (8, True)
    assert trainer(tmp_path, chosen).run(resume=True) == 8, "it stays where it ended"
    patient = settings(steps=20, val_every=2, early_stopping={**HOPELESS, "patience": 5})
    assert trainer(tmp_path, patient).run(resume=True) == 12
    assert trainer(tmp_path, settings(steps=20, val_every=2)).run(resume=True) == 20


def test_it_ends_at_the_same_step_wherever_it_is_interrupted(tmp_path: Path) -> None:
    chosen = settings(steps=20, val_every=1, early_stopping={"patience": 3, "min_delta": 0.05}, lr=0.001)
    done = trainer(tmp_path / "whole", chosen, dropout=0.3).run()
    assert 3 < done < 20
    whole = read_checkpoint(tmp_path / "whole" / "tiny" / LAST)
    for step in range(1, done):
        made = trainer(tmp_path / str(step), chosen, dropout=0.3)
        made.strategy.agree_to_stop = lambda _, made=made, step=step: 2 if made._done == step else None
        with pytest.raises((StoppedError, KeyError)):
            made.run()
        assert trainer(tmp_path / str(step), chosen, dropout=0.3).run(resume=True) == done
        again = read_checkpoint(tmp_path / str(step) / "tiny" / LAST)
        assert again.tensors.keys() == whole.tensors.keys()
        assert all(torch.equal(again.tensors[name], tensor) for name, tensor in whole.tensors.items())


def test_other_metrics_and_directions() -> None:
    chosen = settings(val_every=1, early_stopping={"patience": 2, "metric": "accuracy", "mode": "max"}).early_stopping
    early = EarlyStopping(chosen, "image")
    for step, value in enumerate((0.1, 0.3, 0.3, float("nan"))):
        assert not early.over
        early.update(step, {"loss": 1.0, "accuracy": value})
    assert early.over
    assert early.reason() == "early stopping: no better accuracy in 2 validations since step 1"
    again = EarlyStopping(chosen, "image")
    again.load(json.loads(json.dumps(early.state())))
    assert again.state() == early.state()
    with pytest.raises(RequestError, match="watches 'accuracy', which validations of image do not measure") as caught:
        early.update(5, {"loss": 1.0})
    assert caught.value.fix == "choose another metric: loss"
    with pytest.raises(ValidationError, match="early stopping needs validations"):
        settings(val_every=0, early_stopping={})


@pytest.mark.parametrize(("keep", "expected"), [(0, []), (1, [6]), (2, [4, 6]), (9, [2, 4, 6])])
def test_the_newest_checkpoints_are_kept(tmp_path: Path, keep: int, expected: list[int]) -> None:
    trainer(tmp_path, settings(steps=6, save_every=2, keep_last=keep)).run()
    assert steps_of(tmp_path) == expected
    for step, path in kept_checkpoints(tmp_path / "tiny").items():
        assert read_checkpoint(path).header["step"] == step


def test_a_training_continues_from_one_that_was_kept(tmp_path: Path) -> None:
    chosen = settings(steps=6, save_every=2, keep_last=3)
    trainer(tmp_path, chosen, dropout=0.2).run()
    whole = read_checkpoint(tmp_path / "tiny" / LAST).tensors
    kept_checkpoints(tmp_path / "tiny")[2].replace(tmp_path / "tiny" / LAST)
    assert trainer(tmp_path, chosen, dropout=0.2).run(resume=True) == 6
    again = read_checkpoint(tmp_path / "tiny" / LAST).tensors
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())
    assert steps_of(tmp_path) == [4, 6]


def test_checkpoints_of_later_steps_do_not_outlive_a_new_beginning(tmp_path: Path) -> None:
    trainer(tmp_path, settings(steps=6, save_every=2, keep_last=3)).run()
    trainer(tmp_path, settings(steps=2, save_every=2, keep_last=3)).run()
    assert steps_of(tmp_path) == [2]


def recorded(folder: Path, **changes: Any) -> RunFolder:
    """A run with the stage ``tiny``."""
    trainer(folder, settings(steps=6, save_every=2, keep_last=3, **changes)).run()
    run = RunFolder(folder)
    stages = {"tiny": {"status": "finished", "step": 6}}
    write_sealed_json(run.model_path, {"format": 1, "name": folder.name, "parts": {}, "stages": stages, "chat": {}})
    return run


@pytest.mark.parametrize(("last", "steps"), [(0, [2, 4, 6]), (2, [4, 6])])
def test_the_mean_of_kept_checkpoints(tmp_path: Path, last: int, steps: list[int]) -> None:
    run = recorded(tmp_path / "run")
    assert average([run], tmp_path / "mean", quiet, last=last) == ["tiny"]
    kept = kept_checkpoints(run.stage("tiny"))
    every = [read_checkpoint(kept[step]).section("model") for step in steps]
    mean = read_checkpoint(tmp_path / "mean" / "tiny" / LAST)
    assert mean.section("model").keys() == every[0].keys()
    for name, tensor in mean.section("model").items():
        wanted = sum(one[name].double() for one in every) / len(every)
        assert torch.equal(tensor, wanted.float())  # type: ignore[union-attr]
    assert sorted(path.name for path in (tmp_path / "mean" / "tiny").iterdir()) == [LAST, "metrics.jsonl"]
    assert RunFolder(tmp_path / "mean").model()["name"] == "mean"
    assert steps_of(run.root) == [2, 4, 6], "the old run is as it was"


def test_the_mean_of_runs_is_that_of_their_averaged_weights(tmp_path: Path) -> None:
    runs = [recorded(tmp_path / str(number), lr=0.01 * (number + 1), ema=0.5) for number in range(2)]
    average(runs, tmp_path / "mean", quiet)
    one, two = (read_checkpoint(run.stage("tiny") / LAST).section("ema") for run in runs)
    found = read_checkpoint(tmp_path / "mean" / "tiny" / LAST).section("model")
    assert all(torch.equal(found[name], ((one[name].double() + two[name].double()) / 2).float()) for name in one)


def test_what_cannot_be_averaged_is_told(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run")
    for path in list(kept_checkpoints(run.stage("tiny")).values())[1:]:
        path.unlink()
    with pytest.raises(RequestError, match="has kept no two checkpoints"):
        average([run], tmp_path / "mean", quiet)
    assert not (tmp_path / "mean").exists()

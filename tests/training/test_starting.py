"""A start that is refused changes nothing, and a stop during validation loses nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import settings, trainer

from muomni_cli.commands.train import train
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.runs.run import read_header
from muomni_cli.training.processes import StoppedError
from tests.training.test_resume import assert_same, state, told
from tests.training.test_stages import RECIPE

TEXT = "".join(f"Line {n}: the {n % 7} cats and {n % 5} dogs ran up the hill to see the sea.\n" for n in range(200))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("MUOMNI_CACHE", str(folder / "cache"))
        Path("small.toml").write_text(RECIPE)
        Path("text.txt").write_text(TEXT)
        train("all", "small.toml", ["steps=2", "batch_size=2"])
        yield folder


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "words",
    [
        ["seed=5"],
        ["ema=0.9"],
        ["optimizer=muon"],
        ["thinker.d_model=64"],
        ["lr_scale.table=0"],
        ["data.text.0.path=missing.txt"],
        ["tokenizer.vocab_size=301"],
        ["device=cuda:99"],
        ["batch_size=0"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_refused_resume_changes_nothing(trained: Path, words: list[str], jobs: int) -> None:
    before = contents(trained / "runs")
    if jobs == 1:
        with pytest.raises(MuomniError):
            train("thinker", "small.toml", ["steps=4", *words], resume=True)
    elif words == ["seed=5"]:
        with pytest.raises(MuomniError, match="thinker failed"):
            train("all", "small.toml", ["steps=4", *words], resume=True, jobs=2)
    assert contents(trained / "runs") == before


def test_a_finished_stage_without_its_checkpoint_does_not_start_again(trained: Path) -> None:
    last = trained / "runs" / "small" / "thinker" / "last.safetensors"
    kept = last.rename(trained / "kept")
    before = contents(trained / "runs")
    try:
        with pytest.raises(
            RequestError, match=r"is finished after 2 steps, and its checkpoint .* is missing"
        ) as caught:
            train("thinker", "small.toml", ["steps=4"], resume=True)
        assert "--force" in caught.value.fix
        assert contents(trained / "runs") == before
    finally:
        kept.rename(last)


def test_what_a_resumed_training_does_otherwise_is_said(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("thinker", "small.toml", ["steps=4", "batch_size=4", "accumulate=2"], resume=True)
    said = capsys.readouterr().err
    assert "batch_size was 2 and is 4 from step 3, which goes on at example 5" in said
    assert "learning rate: " in said
    header = read_header(trained / "runs" / "small" / "thinker" / "last.safetensors")
    assert header["drawn"] == [[2, 2], [2, 4]]
    train("thinker", "small.toml", ["steps=5"], resume=True)  # the run's own recipe: no other batch size
    said = capsys.readouterr().err
    assert "batch_size" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["validate", "samples"])
@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_stop_breaks_off_a_validation_and_nothing_is_lost(
    tmp_path: Path, number: signal.Signals, moment: str, step: int
) -> None:
    chosen = settings(steps=6, val_every=2, sample_every=2, save_every=3, ema=0.5)
    trainer(tmp_path / "whole", chosen, dropout=0.2).run()
    made = trainer(tmp_path / "stopped", chosen, dropout=0.2)
    work, finished = getattr(made.objective, moment), []

    def stopped(*words: int) -> object:
        if made._done == step:
            signal.raise_signal(number)
            finished.append(step)
        return work(*words)

    setattr(made.objective, moment, stopped)
    with pytest.raises(StoppedError) as caught:
        made.run()
    assert caught.value.exit_code == 128 + number
    assert finished == []
    assert trainer(tmp_path / "stopped", chosen, dropout=0.2).run(resume=True) == 6
    assert_same(state(tmp_path / "stopped"), state(tmp_path / "whole"))
    assert told(tmp_path / "stopped") == told(tmp_path / "whole")
    best = [read_header(tmp_path / name / "tiny" / "best.safetensors") for name in ("stopped", "whole")]
    assert best[0]["best"] == best[1]["best"]
    assert best[0]["step"] == best[1]["step"]
    samples = [
        {path.name for path in (tmp_path / name / "tiny" / "samples").iterdir()} for name in ("stopped", "whole")
    ]
    assert samples[0] == samples[1]

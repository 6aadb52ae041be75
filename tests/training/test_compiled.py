"""Compiled training learns what eager training learns: a hand-written gradient once came out of a compiler as zero."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from muomni_cli.commands.train import train
from tests.training.test_stages import RECIPE


def losses(run: str) -> list[float]:
    lines = Path(f"runs/{run}/thinker/metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_compiled_training_gives_the_losses_of_eager_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(RECIPE)
    lines = (f"Line {n}: the {n % 7} cats and {n % 5} dogs ran up the hill to see the sea.\n" for n in range(200))
    Path("text.txt").write_text("".join(lines))
    changes = ["train.thinker.steps=12", "train.thinker.lr=0.01", "train.thinker.val_every=6"]
    train("all", "small.toml", changes, run="eager")
    train("all", "small.toml", [*changes, "train.thinker.compile=true"], run="compiled")
    eager = losses("eager")
    assert eager[-1] < eager[0] - 0.3
    assert losses("compiled") == pytest.approx(eager, rel=1e-4)

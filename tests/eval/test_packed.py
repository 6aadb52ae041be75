# ruff: noqa: E402
"""``muomni eval`` of a model that runs without PyTorch: the cards are those of the run it was made of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

from muomni_cli.commands.train import train
from muomni_cli.core.console import say
from muomni_onnx.export import export
from muomni_onnx.sources import find_trained, model_of

pytestmark = pytest.mark.long

Run = Callable[..., tuple[int, str, str]]
Cards = dict[tuple[str, str, str], dict[str, Any]]


def packed(run: str) -> str:
    """The name of the folder that a run is exported to, in the working directory."""
    if not Path(f"packed-{run}").exists():
        export(model_of(find_trained(run)), Path(f"packed-{run}"), notify=say)
    return f"packed-{run}"


def cards_of(run: Run, *words: str) -> Cards:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    return {(result["stage"], result["task"], result["metric"]): result for result in json.loads(out)}


def assert_equal(ours: Cards, theirs: Cards) -> None:
    assert ours.keys() == theirs.keys()
    for name, result in ours.items():
        if result["metric"] == "bits_per_byte":
            assert result["value"] == pytest.approx(theirs[name]["value"], rel=1e-5)
        else:
            assert result == theirs[name]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "val"])
def test_the_cards_are_those_of_the_run(run: Run, split: str) -> None:
    words = "small.toml", "--split", split, "--limit", "24"
    theirs = cards_of(run, *words)
    ours = cards_of(run, *words, "-m", packed("small"))
    # There is one Thinker in it: the one that the omni stage tuned.
    assert theirs.pop(("thinker", "text", "bits_per_byte"))["value"] != ours["omni", "text", "bits_per_byte"]["value"]
    assert_equal(ours, theirs)
    assert {stage for stage, _, _ in ours} == {"image", "audio", "omni"}
    assert "left out: thinker is in it only as the stage omni tuned it" in run(*words, "-m", "packed-small")[2]


@pytest.mark.parametrize("learn", ["contrast", pytest.param("captions", marks=pytest.mark.slow)])
def test_lessons_of_texts_are_asked_in_the_same_way(run: Run, learn: str) -> None:
    train("image", "small.toml", [f'encoders.image.learn="{learn}"', "train.image.steps=20"], run=f"by-{learn}")
    words = "small.toml", "--split", "train"
    theirs = cards_of(run, *words, "-m", f"by-{learn}")
    assert len(theirs) == 1
    assert_equal(cards_of(run, *words, "-m", packed(f"by-{learn}")), theirs)


def test_a_model_of_text_has_the_card_of_its_stage(run: Run) -> None:
    for stage in ("tokenizer", "thinker"):
        train(stage, "small.toml", run="texts")
    theirs = cards_of(run, "small.toml", "-m", "texts")
    assert set(theirs) == {("thinker", "text", "bits_per_byte")}
    assert_equal(cards_of(run, "small.toml", "-m", packed("texts")), theirs)


def test_no_pytorch_is_loaded(run: Run) -> None:  # noqa: ARG001 - it goes where the runs are
    script = (
        "import sys\nfrom muomni_cli import app\n"
        f"try: app.main(['eval', 'small.toml', '-m', {packed('small')!r}, '--limit', '4'])\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


def test_a_model_without_data_asks_for_a_recipe(run: Run) -> None:
    code, out, err = run(packed("small"))
    assert (code, out) == (2, "")
    assert "name the recipe" in err

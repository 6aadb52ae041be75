"""``muomni eval`` of the stages that make speech: what is understood of the originals, and after each part."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from muomni_cli import app
from muomni_cli.commands.train import train

Run = Callable[..., tuple[int, str, str]]

RECIPE = """
[codec]
use = "rvq"
codebook_size = 8
code_dim = 8
width = 16
encoder_layers = 1
decoder_layers = 1
fine_width = 16

[[data.speech]]
use = "spoken"
task = "digits"
patterns = ["{d} {d} {d}"]
slots = { d = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"] }
voices = ["slt"]
count = 40

[data]
val_fraction = 0.3

[train]
device = "cpu"
threads = 1
precision = "fp32"
batch_size = 2
steps = 2
warmup_steps = 1
log_every = 50
val_every = 1000
save_every = 1000
sample_every = 1000
"""

VOCODER = '\n[vocoder]\nuse = "griffin-lim"\niterations = 16\n'


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe ``small``, and its run, whose codec has hardly learnt anything."""
    if shutil.which("flite") is None:
        pytest.skip("the program flite, which says what is judged, is not installed")
    folder = tmp_path_factory.mktemp("spoken")
    (folder / "small.toml").write_text(RECIPE + VOCODER)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MUOMNI_CACHE", str(folder / "cache"))
        train("codec", "small.toml")
    return folder


@pytest.fixture
def run(spoken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("small", "--json")`` gives the exit code, stdout and stderr."""
    monkeypatch.chdir(spoken)
    monkeypatch.setenv("MUOMNI_CACHE", str(spoken / "cache"))

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as raised:
            app.main(["eval", *words])
        assert isinstance(raised.value.code, int)
        return raised.value.code, *capsys.readouterr()

    return call


def by_name(out: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(card["stage"], card["metric"]): card for card in json.loads(out)}


def test_the_original_and_its_copy_are_understood_and_a_fresh_codec_is_not(run: Run) -> None:
    pytest.importorskip("pocketsphinx", reason="the judge is pocketsphinx, of muomni[judge]")
    code, out, err = run("small.toml", "--json", "--limit", "6")
    assert code == 0, err
    cards = by_name(out)
    assert {stage for stage, _ in cards} == {"codec", "vocoder"}
    assert {metric for stage, metric in cards if stage == "codec"} == {
        "mel_l1", "use_1", "use_2", "wer_original", "wer_resynthesis", "wer_added",
    }  # fmt: skip
    for card in cards.values():
        assert card["task"] == "digits"
        assert card["n"] == (6 if card["low"] is not None else None)
    for stage, metric in (("codec", "wer_original"), ("vocoder", "wer_original"), ("vocoder", "wer_copy")):
        card = cards[stage, metric]
        assert card["value"] <= 0.1
        assert card["low"] <= card["value"] <= card["high"]
        assert card["unit"] == "sentence"
    lost = cards["codec", "wer_resynthesis"]
    assert lost["value"] > 0.5
    assert cards["codec", "wer_added"]["value"] == lost["value"] - cards["codec", "wer_original"]["value"]
    edits, words = (sum(one[key] for one in lost["sentences"]) for key in ("edits", "words"))
    assert (words, edits / words) == (18, lost["value"])
    assert all(len(one["text"].split()) == 3 and isinstance(one["heard"], str) for one in lost["sentences"])
    assert 0 < cards["vocoder", "mel_l1"]["value"] < cards["codec", "mel_l1"]["value"]
    assert 1 / 8 <= cards["codec", "use_1"]["value"] <= 1


def test_without_a_judge_the_other_cards_are_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from muomni_cli.evaluation.lexicon import english

    english.cache_clear()
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    code, out, err = run("small.toml", "--json", "--limit", "2")
    assert code == 0, err
    assert set(by_name(out)) == {("codec", "mel_l1"), ("codec", "use_1"), ("codec", "use_2"), ("vocoder", "mel_l1")}
    assert err.count("pip install 'muomni[judge]'") == 1


def test_training_can_ask_how_its_codec_sounds(spoken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pocketsphinx", reason="the judge is pocketsphinx, of muomni[judge]")
    from muomni_cli.recipe import load_recipe
    from muomni_cli.runs.folder import RunFolder
    from muomni_cli.training.context import StageContext

    monkeypatch.chdir(spoken)
    monkeypatch.setenv("MUOMNI_CACHE", str(spoken / "cache"))
    recipe, told = load_recipe("small.toml"), list[str]()
    run = RunFolder(spoken / "runs/small")
    context = StageContext(recipe, "codec", recipe.train_for("codec"), 0, torch.device("cpu"), run, told.append)
    found = context.understood(context.codec())
    assert set(found) == {"wer_original", "wer"}
    assert found["wer_original"] <= 0.1
    assert found["wer"] > 0.5
    assert context.understood(context.codec()) == found
    assert told == []

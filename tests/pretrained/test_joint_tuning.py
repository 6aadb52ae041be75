"""Frozen encoders of others in joint tuning: their features are computed once, and runs refer to their weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from muomni_cli import app
from muomni_cli.models.locate import model_named
from muomni_cli.models.package_run import describe
from muomni_cli.models.run_engine import RunEngine
from muomni_cli.runs.checkpoint import open_omni
from muomni_cli.runs.references import KEY
from muomni_cli.runs.run import RunFolder
from tests.pretrained.conftest import Checkpoint

RECIPE = """
name = "mine"
[tokenizer]
use = "bytes"
[thinker]
use = "transformer"
d_model = 32
n_layers = 1
n_heads = 2
d_ff = 32
ctx_len = 160
[encoders.image]
use = "siglip"
weights = "{image}"
tokens = 2
[encoders.audio]
use = "whisper"
weights = "{audio}"
[[data.text]]
use = "tales"
count = 10
[[data.omni]]
use = "asked"
count = 24
val_count = 4
[data.omni.from.image]
use = "scenes"
size = 32
count = 12
[[data.omni.ask]]
question = ["What?"]
answer = "{{image.text}}"
[train]
device = "cpu"
threads = 1
batch_size = 4
[train.omni]
init = "random"
steps = 2
val_every = 1
"""


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        app.main(list(words))
    return int(left.value.code or 0)


@pytest.fixture
def here(checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and copies of the checkpoints that it names."""
    monkeypatch.chdir(tmp_path)
    for family, name in (("siglip", "sees"), ("whisper", "hears")):
        shutil.copytree(checkpoint(family), tmp_path / name)
    (tmp_path / "mine.toml").write_text(RECIPE.format(image="sees", audio="hears"))
    return tmp_path


def tensors_of(path: Path) -> set[str]:
    with safe_open(path, "pt") as file:
        return set(file.keys())


def stated(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a run's omni stage."""
    return load_file(folder / "omni" / "last.safetensors")


def test_a_run_refers_to_frozen_weights_and_trains_as_if_it_held_them(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("train", "omni", "mine.toml") == 0
    assert capsys.readouterr().err.count("features of") == 1
    first = here / "runs" / "mine"
    assert not [name for name in tensors_of(first / "omni" / "last.safetensors") if name.startswith("model.encoders")]
    entry = RunFolder(first).model()["stages"]["omni"]["parts"]["image"]
    assert entry[KEY]["folder"] == str((here / "sees").resolve())
    assert len(entry[KEY]["sha256"]) == 64
    omni = open_omni(RunFolder(first), first / "omni" / "last.safetensors")
    count = sum(weight.numel() for weight in omni.encoders["image"].parameters())
    joined = sum(weight.numel() for weight in omni.projectors["image"].parameters())
    (row,) = (part for part in describe(model_named(str(first)))["parts"] if part["part"] == "image")
    assert (entry[KEY]["parameters"], row["numbers"], row["borrowed"]) == (count, count + joined, True)
    weight = "vision_model.encoder.layers.0.mlp.fc1.weight"
    held = load_file(here / "sees" / "model.safetensors")[weight]
    assert torch.equal(omni.encoders["image"].tower.encoder.layers[0].mlp.fc1.weight, held)

    # the second time the features are in the cache; nor does it matter whether the encoder runs in each step
    assert run("train", "omni", "mine.toml", "--run", "again") == 0
    assert "features of" not in capsys.readouterr().err
    monkeypatch.setattr("muomni_cli.training.objectives.open_features", lambda *_: None)
    assert run("train", "omni", "mine.toml", "--run", "live") == 0
    one, cached, live = (stated(here / "runs" / name) for name in ("mine", "again", "live"))
    for name, tensor in one.items():
        if name.startswith("model."):
            assert torch.equal(tensor, cached[name])
            assert (tensor - live[name]).abs().max() < 1e-4

    # resumed, and as the beginning of another
    assert run("train", "omni", "mine.toml", "train.omni.steps=3", "--resume") == 0
    assert run("train", "omni", "mine.toml", "train.omni.init='mine'", "--run", "next") == 0
    assert KEY in RunFolder(here / "runs" / "next").model()["stages"]["omni"]["parts"]["audio"]


def test_weights_that_are_gone_or_changed_are_an_error_that_says_what_to_do(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "omni", "mine.toml") == 0
    asks = ("chat", "-m", "mine", "What?", "--max-tokens", "2")
    assert run(*asks) == 0
    assert run("models", "pack", "mine", "-o", "packed") == 2
    assert "muomni export --onnx -m mine" in capsys.readouterr().err

    shutil.move(here / "sees", here / "away")
    assert run(*asks) == 2
    told = capsys.readouterr().err
    assert f"needs the weights in {(here / 'sees').resolve()}, which is gone" in told
    assert "put the folder back: its weights have the SHA-256" in told
    shutil.move(here / "away", here / "sees")

    file = here / "sees" / "model.safetensors"
    held = load_file(file)
    save_file({name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in held.items()}, file)
    for words in (asks, ("train", "omni", "mine.toml", "train.omni.steps=3", "--resume")):
        assert run(*words) == 2
        assert "are not those that the run was trained with" in capsys.readouterr().err
    assert run("train", "omni", "mine.toml", "--force") == 0
    assert run(*asks) == 0


def test_an_encoder_that_is_not_frozen_is_trained_and_held_by_the_run(here: Path) -> None:
    thawed = ("encoders.image.frozen=false", "encoders.audio.frozen=false")
    assert run("train", "omni", "mine.toml", *thawed) == 0
    name = "model.encoders.image.tower.encoder.layers.0.mlp.fc1.weight"
    trained = stated(here / "runs" / "mine")[name]
    before = load_file(here / "sees" / "model.safetensors")["vision_model.encoder.layers.0.mlp.fc1.weight"]
    assert 0 < (trained - before).abs().max() < 0.1
    shutil.rmtree(here / "sees")  # which the run does not need any more
    assert run("chat", "-m", "mine", "What?", "--max-tokens", "2") == 0


@pytest.mark.usefixtures("here")
def test_what_the_recipe_says_twice_or_not_at_all_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "omni", "mine.toml", "train.omni.lr_scale={'encoders.image'=0.1}") == 2
    assert "[encoders.image] is frozen" in capsys.readouterr().err
    assert run("train", "thinker", "mine.toml", "train.thinker.steps=1", "train.thinker.val_every=0") == 0
    assert run("train", "omni", "mine.toml", "train.omni.init='trained'", "encoders.audio.weights=''") == 2
    assert 'encoders.audio.weights="FOLDER"' in capsys.readouterr().err
    assert run("train", "image", "mine.toml") == 2  # no stage of its own


@pytest.mark.slow
def test_the_bundle_answers_as_the_run_does_and_needs_no_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "omni", "mine.toml") == 0
    assert run("export", "--onnx", "-m", "mine", "-o", "bundle") == 0
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)).save("x.png")
    soundfile.write("x.wav", np.random.default_rng(0).normal(scale=0.1, size=20_000), 16_000)
    sees = ("What?", "--image", "x.png", "--audio", "x.wav", "--max-tokens", "4", "--temperature", "0", "--json")
    answers = []
    for model in ("runs/mine", "bundle"):
        capsys.readouterr()
        assert run("chat", "-m", model, *sees) == 0
        answers.append(json.loads(capsys.readouterr().out)["text"])
        shutil.rmtree(here / "sees", ignore_errors=True)
    assert answers[0] == answers[1]


def test_an_engine_opens_a_run_from_another_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("train", "omni", "mine.toml") == 0
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    omni = RunEngine(RunFolder(here / "runs" / "mine")).omni()
    assert omni.encoders["audio"].config.n_ctx == 100

"""Adapters in the stage of an encoder and in the stage omni: the base stays, merged and exported they compute the
same, and a resumed training is the same to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from muomni_cli import app
from muomni_cli.models.run_engine import RunEngine
from muomni_cli.runs.run import LAST, RunFolder

pytestmark = pytest.mark.long

RECIPE = """
[tokenizer]
use = "bytes"

[thinker]
use = "transformer"
d_model = 16
n_layers = 2
n_heads = 2
d_ff = 32
ctx_len = 96

[encoders.image]
use = "vit"
size = 16
patch = 8
d_model = 16
n_layers = 2
n_heads = 2
d_ff = 32

[[data.text]]
use = "tales"
count = 40

[[data.image]]
use = "scenes"
count = 40
objects = [1]

[[data.omni]]
use = "asked"
count = 40
val_fraction = 0.2
[data.omni.from.image]
use = "scenes"
count = 20
[[data.omni.ask]]
question = ["What do you see?"]
answer = "{image.text}"

[train]
device = "cpu"
threads = 1
steps = 4
batch_size = 4
val_every = 0
lr = 0.01
schedule = "constant"
"""
LORA = 'lora={rank=2, alpha=4.0, targets=["qkv", "out"]}'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(RECIPE)
    return tmp_path


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        app.main(list(words))
    assert not left.value.code, words


def weights(run: str, stage: str) -> dict[str, Tensor]:
    """Of a stage's last checkpoint, without training state."""
    tensors = load_file(Path("runs") / run / stage / LAST)
    return {name.removeprefix("model."): one for name, one in tensors.items() if name.startswith("model.")}


def adapted(tensors: dict[str, Tensor]) -> list[str]:
    return [name for name in tensors if name.endswith(("lora_a", "lora_b"))]


def pictures() -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (16, 16, 3), dtype=np.uint8) for _ in range(3)]


def answers(spec: str, capfd: pytest.CaptureFixture[str]) -> str:
    from PIL import Image

    Image.fromarray(pictures()[0]).save("a.png")
    capfd.readouterr()
    run("chat", "-m", spec, "--image", "a.png", "What do you see?", "--max-tokens", "12", "--temperature", "0")
    return capfd.readouterr().out


def test_an_encoder(capfd: pytest.CaptureFixture[str]) -> None:
    run("train", "image", "small.toml", "--run", "base")
    run("train", "image", "small.toml", LORA, "--run", "tuned", "--init", "base")
    base, tuned = weights("base", "image"), weights("tuned", "image")
    assert len(adapted(tuned)) == 8
    kept = [name for name in tuned if name in base and name.startswith("encoder.")]
    assert kept
    assert all(torch.equal(tuned[name], base[name]) for name in kept), "the base stays bit for bit"
    assert any(tuned[name].abs().max() > 0 for name in adapted(tuned) if name.endswith("lora_b"))
    run("models", "merge", "tuned", "-o", "runs/merged")
    assert adapted(weights("merged", "image")) == []
    capfd.readouterr()
    scores = []
    for name in ("tuned", "merged"):
        run("eval", name, "--stage", "image", "--json")
        scores.append(capfd.readouterr().out.replace(name, "NAME"))
    assert scores[0] == scores[1]


def test_the_thinker_in_the_stage_omni(capfd: pytest.CaptureFixture[str]) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    run("train", "all", "small.toml", "--run", "tuned", f"train.omni.{LORA}")
    thinker, omni = weights("tuned", "thinker"), weights("tuned", "omni")
    assert len(adapted(omni)) == 8
    assert all(torch.equal(omni[f"thinker.{name}"], one) for name, one in thinker.items())
    run("models", "merge", "tuned", "-o", "runs/merged")
    assert adapted(weights("merged", "omni")) == []
    ids = torch.arange(2, 40)[None]
    with torch.no_grad():
        folders = (RunFolder(Path("runs") / name) for name in ("tuned", "merged"))
        one, other = (RunEngine(folder).omni().thinker(ids).logits for folder in folders)
    assert torch.equal(one, other)
    for name in ("tuned", "merged"):  # compared with PyTorch before it is written
        run("export", "--onnx", "-m", name, "-o", f"{name}-onnx")
    said = [answers(name, capfd) for name in ("tuned", "merged", "tuned-onnx", "merged-onnx")]
    assert len(set(said)) == 1


def test_a_resumed_stage_omni_is_the_same_to_the_bit() -> None:
    run("train", "all", "small.toml", "--run", "whole", f"train.omni.{LORA}")
    run("train", "all", "small.toml", "--run", "half", f"train.omni.{LORA}", "train.omni.steps=2")
    run("train", "omni", "small.toml", "--run", "half", "--resume", "steps=4")
    one, two = (load_file(Path("runs") / name / "omni" / LAST) for name in ("whole", "half"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one if not name.startswith("log."))

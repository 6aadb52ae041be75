"""A small model of every kind of part, trained once, and its evaluation as a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from muomni_cli import app
from muomni_cli.commands.train import train

COLORS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220)}
TONES = {"low": 200.0, "high": 2500.0}
Run = Callable[..., tuple[int, str, str]]

RECIPE = """
[tokenizer]
use = "bytes"

[thinker]
use = "transformer"
d_model = 32
n_layers = 2
n_heads = 2
d_ff = 64
ctx_len = 64

[encoders.image]
use = "vit"
size = 16
patch = 8
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
tokens = 2
words = { d_model = 16, n_heads = 2, longest = 12 }

[encoders.audio]
use = "listener"
n_mels = 32
channels = 4
d_model = 32
n_layers = 1
n_heads = 2
d_ff = 32
augment = { speed = 0, noise = 0, time_masks = 0, bin_masks = 0 }

[[data.text]]
use = "text"
path = "text.txt"
split = "line"

[[data.image]]
use = "folder"
path = "pictures"
holdout = ["val"]
task = "colours"

[[data.audio]]
use = "folder"
path = "sounds"
name = "(?P<key>[a-z]+)_[a-z]+_(?P<label>[a-z]+)"
holdout = ["val"]
task = "tones"

[[data.omni]]
use = "asked"
task = "world"
count = 60
val_count = 24
from.image = { use = "folder", path = "pictures", holdout = ["val"] }
from.audio = { use = "folder", path = "sounds", name = "(?P<key>[a-z]+)_[a-z]+_(?P<label>[a-z]+)", holdout = ["val"] }
ask = [
    { question = ["colour?"], answer = "{image.label}" },
    { question = ["tone?"], answer = "{audio.label}" },
]

[data]
val_fraction = 0.2

[train]
device = "cpu"
threads = 1
precision = "fp32"
batch_size = 12
lr = 1e-2
warmup_steps = 1
log_every = 50
val_every = 1000
save_every = 1000
sample_every = 1000

[train.thinker]
steps = 2

[train.image]
steps = 60

[train.audio]
steps = 150

[train.omni]
init = "random"
lr = 5e-3
steps = 220
"""


def make_world(folder: Path) -> None:
    """Two pictures of each colour and two sounds of each tone to learn from, and others to be asked about."""
    (folder / "text.txt").write_text("".join(f"Line {n}: red green blue low high.\n" for n in range(60)))
    for color, parts in COLORS.items():
        (folder / "pictures" / color).mkdir(parents=True)
        for name, shade in (("train_a", 0), ("train_b", 12), ("val_c", 6)):
            shown = Image.new("RGB", (16, 16), tuple(part + shade for part in parts))
            shown.save(folder / "pictures" / color / f"{name}.png")
    (folder / "sounds").mkdir()
    for tone, pitch in TONES.items():
        for number, name in enumerate(("train_a", "train_b", "val_c", "val_d")):
            times = np.arange(16000 * (8 + number) // 20) / 16000
            soundfile.write(folder / "sounds" / f"{name}_{tone}.wav", 0.4 * np.sin(2 * np.pi * pitch * times), 16000)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe ``test_config``, and its run, of which all stages are trained."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    (folder / "small.toml").write_text(RECIPE)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MUOMNI_CACHE", str(folder / "cache"))
        train("all", "small.toml")
    return folder


@pytest.fixture
def run(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("small", "--json")`` gives the exit code, stdout and stderr."""
    return evaluation_in(trained, monkeypatch, capsys)


def evaluation_in(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``muomni eval`` in a folder that has a cache of its own."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MUOMNI_CACHE", str(folder / "cache"))

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as raised:
            app.main(["eval", *words])
        assert isinstance(raised.value.code, int)
        return raised.value.code, *capsys.readouterr()

    return call

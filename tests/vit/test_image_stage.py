"""`muomni train image` on drawn scenes: it resumes bit for bit, and leaves an encoder that others open."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from muomni_cli.commands.train import train
from muomni_cli.runs.checkpoint import open_part, read_checkpoint
from muomni_cli.runs.run import RunFolder
from muomni_vit.model import Vit

RECIPE = """
name = "seeing"

[encoders.image]
use = "vit"
size = 32
patch = 8
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
tokens = 2
augment = { shift = 2, erase = 0.5 }
words = { d_model = 16, n_layers = 1, n_heads = 2, hidden = 0.2 }

[[data.image]]
use = "scenes"
count = 40
size = 32

[data]
val_fraction = 0.2

[train.image]
device = "cpu"
threads = 1
steps = 6
batch_size = 4
optimizer = "muon"
schedule = "constant"
val_every = 3
save_every = 3
sample_every = 6
"""


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory, with ``seeing.toml``."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    Path("seeing.toml").write_text(RECIPE)


def weights(run: str) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(Path(f"runs/{run}/image/last.safetensors")).tensors)


@pytest.mark.parametrize("learn", ["labels", "contrast", "captions"])
def test_resumed_is_never_stopped_and_what_is_left_is_an_encoder(learn: str) -> None:
    chosen = f'encoders.image.learn="{learn}"'
    train("image", "seeing.toml", [chosen], run="whole")
    train("image", "seeing.toml", [chosen, "train.image.steps=3"], run="halves")
    train("image", "seeing.toml", ["train.image.steps=6"], run="halves", resume=True)
    whole, halves = weights("whole"), weights("halves")
    assert whole.keys() == halves.keys()
    assert [name for name in whole if not whole[name].equal(halves[name])] == []
    encoder, path = open_part(RunFolder(Path("runs/whole")), "image", "")
    assert isinstance(encoder, Vit)
    saved = read_checkpoint(path).section("model")
    assert all(saved[f"encoder.{name}"].equal(tensor) for name, tensor in encoder.state_dict().items())
    assert (Path("runs/whole/image/samples") / "000006-pictures.png").read_bytes().startswith(b"\x89PNG")

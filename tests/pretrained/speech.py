"""Recordings of a few words, a recipe that learns to speak them, commands, and codecs, for tests of pretrained
speech parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from muomni_cli import app
from muomni_cli.registry.registry import get_registry, resolve

RATE = 16_000
PITCHES = {"a": 300.0, "b": 500.0, "c": 800.0, "d": 1200.0}
WORDS = ["abc", "cab", "dab", "bad", "add", "dad", "abba", "acdc"]
RECIPE = """
name = "mine"
[encoders.audio]
use = "listener"
n_mels = 32
channels = 4
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
{speech}
[talker]
use = "cursor"
d_text = 16
text_layers = 1
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
[[data.speech]]
use = "manifest"
modality = "audio"
path = "words.jsonl"
[data]
val_fraction = 0.3
[train]
device = "cpu"
threads = 1
steps = 2
batch_size = 2
val_every = 2
"""


def write_world(speech: str) -> None:
    """The recipe ``mine.toml`` with the tables ``speech``, and its recordings, in the working directory."""
    for word in WORDS:
        t = np.arange(RATE // 5) / RATE
        said = [0.3 * np.sin(2 * np.pi * PITCHES[letter] * t) * np.hanning(t.size) for letter in word]
        soundfile.write(f"{word}.wav", np.concatenate([np.zeros(RATE // 10), *said]), RATE)
    rows = [{"audio": f"{word}.wav", "text": word, "voice": "ann"} for word in WORDS]
    Path("words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("mine.toml").write_text(RECIPE.format(speech=speech))


def codec_config(use: str, folder: Path, **more: Any) -> Any:
    """The settings of a pretrained codec whose weights are in ``folder``."""
    part = get_registry().get("codec", use).part
    return part.config.model_validate({"weights": str(folder), **more}, context={"recipe": "mine"})


def opened_codec(use: str, folder: Path, **more: Any) -> Any:
    """A codec with the weights in ``folder``."""
    part, config = get_registry().get("codec", use).part, codec_config(use, folder, **more)
    module = resolve(part.build, "the codec")(config).eval()
    assert resolve(part.pretrained, "the codec")(module, config) == str(folder)
    return module


def noise(rows: int, samples: int) -> torch.Tensor:
    """(B,N) samples of noise."""
    return 0.5 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(7))


def run(*words: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as left:
        app.main(list(words))
    return int(left.value.code or 0)


def spoken(*words: str) -> np.ndarray[Any, Any]:
    """What ``muomni tts`` says."""
    assert run("tts", "abba cab", "-o", "said.wav", *words) == 0
    return soundfile.read("said.wav", dtype="float32")[0]

"""Recordings of a few words, a recipe that learns to speak them, and commands, for tests of pretrained speech parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from muomni_cli import app

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


def run(*words: str) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as left:
        app.main(list(words))
    return int(left.value.code or 0)


def spoken(*words: str) -> np.ndarray[Any, Any]:
    """What ``muomni tts`` says."""
    assert run("tts", "abba cab", "-o", "said.wav", *words) == 0
    return soundfile.read("said.wav", dtype="float32")[0]

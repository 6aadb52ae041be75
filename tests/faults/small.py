"""A run of every stage that trains in seconds, and the folder it is trained in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000
WORDS = ["abc", "cab", "dab", "bad", "add", "dad", "abba", "acdc", "bacd", "cdab", "ad", "cb"]
PITCHES = {"a": 300.0, "b": 500.0, "c": 800.0, "d": 1200.0}
STAGES = ("tokenizer", "thinker", "image", "audio", "codec", "talker", "omni")

BLOCKS = "n_layers = 1\nn_heads = 2\nd_ff = 32\n"
RECIPE = f"""
name = "small"
seed = 3

[tokenizer]
use = "bpe"
vocab_size = 300

[thinker]
use = "transformer"
d_model = 32
ctx_len = 128
{BLOCKS}
[encoders.image]
use = "vit"
size = 16
patch = 8
d_model = 16
learn = "labels"
{BLOCKS}
[encoders.audio]
use = "listener"
n_mels = 32
channels = 4
d_model = 16
{BLOCKS}
[codec]
use = "rvq"
codebook_size = 16
code_dim = 8
width = 16
fine_width = 16
encoder_layers = 1
decoder_layers = 1
crop_seconds = 0.8

[vocoder]
use = "griffin-lim"

[talker]
use = "cursor"
d_text = 16
text_layers = 1
d_model = 16
{BLOCKS}
[[data.text]]
use = "tales"
count = 200
conversations = 0.5

[[data.image]]
use = "scenes"
count = 60

[[data.speech]]
use = "manifest"
modality = "audio"
path = "words.jsonl"

[[data.omni]]
use = "conversations"
path = "talks.jsonl"

[data]
val_fraction = 0.3

[train]
steps = 12
batch_size = 4
val_every = 4
save_every = 2
log_every = 2
precision = "fp32"
threads = 1

[chat]
template = "roles"
temperature = 0.0
max_tokens = 8
"""


def tones(word: str) -> np.ndarray:
    """A fifth of a second a letter, a pause at each end."""
    t = np.arange(RATE // 5) / RATE
    letters = [0.3 * np.sin(2 * np.pi * PITCHES[letter] * t) * np.hanning(t.size) for letter in word]
    return np.concatenate([np.zeros(RATE // 10), *letters, np.zeros(RATE // 10)])


def make_world(folder: Path) -> Path:
    """The recipe ``small.toml``, twelve words in two voices and 24 pictures asked about, in a new folder."""
    folder.mkdir(parents=True)
    for word in WORDS:
        soundfile.write(folder / f"{word}.wav", tones(word), RATE)
    rows = [{"audio": f"{word}.wav", "text": word, "voice": ("ann", "bob")[n % 2]} for n, word in enumerate(WORDS)]
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    talks = []
    for number in range(24):
        color = ("red", "blue", "black", "green")[number % 4]
        Image.new("RGB", (24, 24), color).save(folder / f"{number}.png")
        asked = {"role": "user", "content": f"Which color, {number}?", "image": f"{number}.png"}
        talks.append({"messages": [asked, {"role": "assistant", "content": f"It is {color}."}]})
    (folder / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    (folder / "small.toml").write_text(RECIPE)
    return folder


def muomni(*words: str) -> list[str]:
    """A command line of muomni."""
    return [sys.executable, "-m", "muomni_cli", *words]


def environment(folder: Path) -> dict[str, str]:
    """Of a process that keeps its cache and settings in ``folder``."""
    paths = os.pathsep.join(str(ROOT / root) for root in ("", "plugins", "exports"))
    own = {"MUOMNI_CACHE": str(folder / "cache"), "MUOMNI_CONFIG": str(folder / "config"), "OMP_NUM_THREADS": "1"}
    return {name: value for name, value in os.environ.items() if name != "MUOMNI_MODEL"} | own | {"PYTHONPATH": paths}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One command in ``folder``, to its end."""
    return subprocess.run(
        muomni(*words), cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )

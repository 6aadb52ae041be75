"""A recipe with every part in it, coloured squares, tones, and questions about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

COLORS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220)}
TONES = {"low": 200.0, "high": 2500.0}

RECIPE = """
name = "small"

[tokenizer]
use = "bpe"
vocab_size = 300

[thinker]
use = "transformer"
d_model = 32
n_layers = 2
n_heads = 2
d_ff = 64
ctx_len = 64

[encoders.image]
use = "vit"
size = 32
patch = 8
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
tokens = 2

[encoders.audio]
use = "listener"
n_mels = 32
channels = 4
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32

[[data.text]]
use = "text"
path = "text.txt"
split = "line"

[[data.omni]]
use = "conversations"
path = "world.jsonl"

[data]
val_fraction = 0.2

[train]
device = "cpu"
threads = 1
precision = "fp32"

[train.omni]
init = "random"
steps = 6
batch_size = 4
lr = 5e-3
warmup_steps = 1
log_every = 1
val_every = 3
save_every = 3
sample_every = 3

[chat]
template = "roles"
temperature = 0.0
max_tokens = 8
"""


def paint(path: Path, color: str, shade: int = 0) -> Path:
    """A picture of one colour, a little lighter by ``shade``."""
    Image.new("RGB", (32, 32), tuple(min(255, part + shade) for part in COLORS[color])).save(path)
    return path


def play(path: Path, tone: str, seconds: float = 0.3, phase: float = 0.0) -> Path:
    """A tone."""
    times = np.arange(round(16000 * seconds)) / 16000
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * TONES[tone] * times + phase), 16000)
    return path


def conversation(question: str, answer: str, split: str, **media: str) -> dict[str, object]:
    """One line of JSON Lines."""
    messages = [{"role": "user", "content": question, **media}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "split": split}


def make_world() -> None:
    """``small.toml`` in the working directory, and questions about nine pictures and six sounds."""
    Path("small.toml").write_text(RECIPE)
    Path("text.txt").write_text("".join(f"Line {n}: what colour? red green blue low high {n}.\n" for n in range(99)))
    lines = []
    for split, shade in (("train", 0), ("train", 12), ("val", 6)):
        for color in COLORS:
            picture = paint(Path(f"{color}{shade}.png"), color, shade).name
            lines.append(conversation("What colour?", color, split, image=picture))
            for tone in TONES:
                sound = play(Path(f"{tone}{shade}.wav"), tone, 0.3 + shade / 100, shade).name
                lines.append(conversation("Which tone?", tone, split, audio=sound, image=picture))
                lines.append(conversation("What colour?", color, split, audio=sound, image=picture))
    Path("world.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

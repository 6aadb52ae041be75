"""Every stage of a recipe with every part, in two processes, by the command line: the losses of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from muomni_cli.core.errors import ROOT

pytestmark = pytest.mark.long

STAGES = ("thinker", "image", "audio", "codec", "vocoder", "talker", "omni")
COLORS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220)}
WORDS = ["abc", "cab", "dab", "bad", "add", "dad", "abba", "acdc", "bacd", "cdab", "ad", "cb"]
PITCHES = {"a": 300.0, "b": 500.0, "c": 800.0, "d": 1200.0}
RATE = 16000


def write_world() -> None:
    """Pictures of three colors, spoken letters, and questions about them, some with a picture, some with a sound."""
    times = np.arange(RATE // 5) / RATE
    for word in WORDS:
        letters = [0.3 * np.sin(2 * np.pi * PITCHES[c] * times) * np.hanning(times.size) for c in word]
        pause = np.zeros(RATE // 10)
        soundfile.write(f"{word}.wav", np.concatenate([pause, *letters, pause]), RATE)
    rows = [{"audio": f"{w}.wav", "text": w, "voice": ("ann", "bob")[n % 2]} for n, w in enumerate(WORDS)]
    write_lines("speech.jsonl", rows)
    pictures, talks = [], []
    for shade in (0, 12, 6):
        for number, (color, parts) in enumerate(COLORS.items()):
            name = f"{color}{shade}.png"
            Image.new("RGB", (32, 32), tuple(part + shade for part in parts)).save(name)
            pictures.append({"image": name, "text": color, "label": color})
            split, word = ("val" if shade == 6 else "train"), WORDS[number + shade // 6]
            talks.append(talk("What color?", color, split, image=name))
            talks.append(talk("What is said?", word, split, audio=f"{word}.wav"))
            talks.append(talk("What color?", color, split, audio=f"{word}.wav", image=name))
    write_lines("pictures.jsonl", pictures)
    write_lines("talks.jsonl", talks)
    Path("text.txt").write_text("".join(f"Line {n}: what color? red green blue low high {n}.\n" for n in range(99)))
    Path("all.toml").write_text((Path(__file__).parent / "all.toml").read_text())


def talk(question: str, answer: str, split: str, **media: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question, **media}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "split": split}


def write_lines(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def muomni(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "muomni_cli", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(program, capture_output=True, text=True, timeout=300, env=environment, check=False)


def rows_of(run: str, stage: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"runs/{run}/{stage}/metrics.jsonl").read_text().splitlines()]


def require_same_losses(one: str, other: str, tolerance: float) -> None:
    for stage in STAGES:
        ours, theirs = rows_of(one, stage), rows_of(other, stage)
        assert len(ours) == len(theirs) >= 5, stage
        for a, b in zip(ours, theirs, strict=True):
            assert a.keys() == b.keys(), stage
            for name in (name for name in a if name == "loss" or name.startswith("val_")):
                assert b[name] == pytest.approx(a[name], rel=tolerance, abs=1e-6), (stage, a["step"], name)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUOMNI_CACHE", str(tmp_path / "cache"))
    write_world()


@pytest.mark.usefixtures("world")
def test_two_processes_train_every_stage_as_one_does() -> None:
    for words in (("--run", "one"), ("--run", "two", "--devices", "2")):
        done = muomni("train", "all", "all.toml", *words)
        assert done.returncode == 0, done.stderr[-2000:]
    assert "in 2 processes (ddp)" in done.stderr
    assert done.stderr.count("next: ") == 1
    assert done.stderr.count("wrote runs/two/omni/last.safetensors") == 1
    require_same_losses("one", "two", 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--devices", "4"), ("--devices", "2", 'parallel="fsdp"')], ids=["four", "fsdp"])
@pytest.mark.usefixtures("world")
def test_others_train_every_stage_as_one_does(options: tuple[str, ...]) -> None:
    assert muomni("train", "all", "all.toml", "--run", "one").returncode == 0
    done = muomni("train", "all", "all.toml", "--run", "other", *options)
    assert done.returncode == 0, done.stderr[-2000:]
    require_same_losses("one", "other", 1e-4)

"""One's own data, in small amounts: every stage trains, says how many items validate, and is evaluated honestly."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muomni_cli.app import main
from muomni_cli.commands.train import train

HEAD = """
name = "own"
[tokenizer]
use = "bytes"
[thinker]
use = "transformer"
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
ctx_len = 32
[encoders.image]
use = "vit"
size = 16
patch = 8
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
tokens = 1
learn = "labels"
[encoders.audio]
use = "listener"
n_mels = 16
channels = 8
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
[codec]
use = "rvq"
codebooks = 2
codebook_size = 8
[train]
device = "cpu"
threads = 1
precision = "fp32"
steps = 2
batch_size = 2
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def recipe(data: str) -> None:
    Path("own.toml").write_text(HEAD + data)


def tone(path: Path, pitch: float, seconds: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.sin(2 * np.pi * pitch * np.arange(round(seconds * 16_000)) / 16_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 9_000).astype("<i2").tobytes())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n\n".join(f"Document {number} has a few words." for number in range(3)), "1 of 3 documents held out"),
        ("\n".join(f"Line {number} of one paragraph." for number in range(200)), "the end of the only document"),
        ("One enormous line without an end. " * 2_000, "the end of the only document"),
    ],
    ids=["three", "paragraph", "line"],
)
def test_a_few_texts(text: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.txt").write_text(text)
    recipe('[[data.text]]\nuse = "text"\npath = "text.txt"\n')
    train("tokenizer", "own.toml")
    train("thinker", "own.toml", dry_run=True)
    assert told in capsys.readouterr().err
    train("thinker", "own.toml")
    assert told in capsys.readouterr().err


def test_five_conversations(capsys: pytest.CaptureFixture[str]) -> None:
    says = [{"role": "user", "content": "How much is it?"}, {"role": "assistant", "content": "It is "}]
    lines = [
        json.dumps({"messages": [says[0], {**says[1], "content": f"It is {number}."}]}) + "\n" for number in range(5)
    ]
    Path("talks.jsonl").write_text("".join(lines))
    recipe('[[data.text]]\nuse = "conversations"\npath = "talks.jsonl"\n')
    train("tokenizer", "own.toml")
    train("thinker", "own.toml")
    assert "1 of 5 conversations held out" in capsys.readouterr().err


def test_ten_pictures_in_two_folders(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(10):
        path = Path("pictures") / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (20 * number, 20, 30)).save(path)
    recipe('[[data.image]]\nuse = "folder"\npath = "pictures"\n')
    train("image", "own.toml")
    told = capsys.readouterr().err
    assert "image, 0-folder: 2 of 10 pictures held out" in told
    assert "warning: image, 0-folder: 2 pictures held out: scores are uncertain by ±0.50" in told
    with pytest.raises(SystemExit):
        main(["eval", "own", "--json"])
    (result,) = json.loads(capsys.readouterr().out)
    assert result["n"] == 2
    assert result["high"] - result["low"] > 0.6
    assert result["low"] <= result["value"] <= result["high"]


def test_sounds_in_four_folders(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(24):
        tone(Path("sounds") / ("low", "mid", "high", "top")[number % 4] / f"{number}.wav", 200.0 * (1 + number % 4))
    recipe('[[data.audio]]\nuse = "folder"\npath = "sounds"\n')
    train("audio", "own.toml")
    assert "audio, 0-folder: 5 of 24 sounds held out" in capsys.readouterr().err


def test_eight_sounds_of_speech(capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for number in range(8):
        tone(Path(f"{number}.wav"), 200.0 + 30 * number, 0.5)
        rows.append(json.dumps({"audio": f"{number}.wav", "text": f"number {number}"}) + "\n")
    Path("list.jsonl").write_text("".join(rows))
    recipe('[[data.speech]]\nuse = "manifest"\nmodality = "audio"\npath = "list.jsonl"\n')
    train("codec", "own.toml")
    assert "speech, 0-manifest: 2 of 8 sounds held out" in capsys.readouterr().err

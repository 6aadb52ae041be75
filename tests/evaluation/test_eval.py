"""``muomni eval``: what tiny trained models are scored by, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from muomni_cli import app
from muomni_cli.commands.train import train

COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220)}
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
    for colour, parts in COLOURS.items():
        (folder / "pictures" / colour).mkdir(parents=True)
        for name, shade in (("train_a", 0), ("train_b", 12), ("val_c", 6)):
            shown = Image.new("RGB", (16, 16), tuple(part + shade for part in parts))
            shown.save(folder / "pictures" / colour / f"{name}.png")
    (folder / "sounds").mkdir()
    for tone, pitch in TONES.items():
        for number, name in enumerate(("train_a", "train_b", "val_c", "val_d")):
            times = np.arange(16000 * (8 + number) // 20) / 16000
            soundfile.write(folder / "sounds" / f"{name}_{tone}.wav", 0.4 * np.sin(2 * np.pi * pitch * times), 16000)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe ``small``, and its run, of which all stages are trained."""
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
    monkeypatch.chdir(trained)
    monkeypatch.setenv("MUOMNI_CACHE", str(trained / "cache"))

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as raised:
            app.main(["eval", *words])
        assert isinstance(raised.value.code, int)
        return raised.value.code, *capsys.readouterr()

    return call


def by_name(out: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(card["stage"], card["task"], card["metric"]): card for card in json.loads(out)}


def test_an_overfitted_model_is_perfect_at_all_of_it(run: Run) -> None:
    code, out, err = run("small", "--split", "train", "--json", "--limit", "24")
    assert code == 0, err
    cards = by_name(out)
    assert set(cards) == {
        ("thinker", "text", "bits_per_byte"),
        ("image", "colours", "accuracy"),
        ("audio", "tones", "exact"),
        ("audio", "tones", "choice"),
        ("omni", "text", "bits_per_byte"),
        ("omni", "world", "exact"),
        ("omni", "world/image", "exact"),
        ("omni", "world/audio", "exact"),
        ("omni", "world/image", "exchanged"),
        ("omni", "world/audio", "exchanged"),
    }
    for name, card in cards.items():
        if name[1] != "text":
            assert (card["value"], card["low"], card["high"]) == (1.0, 1.0, 1.0), name
    assert cards["image", "colours", "accuracy"]["n"] == 6
    assert cards["image", "colours", "accuracy"]["chance"] == pytest.approx(1 / 3)
    assert cards["audio", "tones", "choice"]["chance"] == 0.5
    assert cards["audio", "tones", "exact"]["chance"] is None
    assert cards["omni", "world", "exact"]["n"] == 24


def test_held_out_examples_are_what_is_asked_by_default(run: Run) -> None:
    code, out, _ = run("small.toml", "--json")
    assert code == 0
    cards = by_name(out)
    assert cards["image", "colours", "accuracy"]["n"] == 3
    assert cards["audio", "tones", "choice"]["n"] == 4
    assert cards["omni", "world", "exact"]["n"] == 24
    kinds = [cards["omni", f"world/{kind}", "exact"]["n"] for kind in ("image", "audio")]
    assert sum(kinds) == 24


def test_a_card_is_a_line(run: Run) -> None:
    code, out, _ = run("small", "--limit", "2")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["STAGE", "TASK", "METRIC", "VALUE"]
    assert any(line.startswith("image") and "colours" in line and "accuracy" in line for line in lines)
    assert run("small", "--limit", "2")[1] == out


def test_captions_are_compared_word_for_word(run: Run) -> None:
    train("image", "small.toml", ['encoders.image.learn="captions"', "train.image.steps=150"], run="captions")
    code, out, _ = run("small.toml", "-m", "captions", "--split", "train", "--json")
    assert code == 0
    card = by_name(out)["image", "colours", "exact"]
    assert (card["value"], card["chance"]) == (1.0, None)


def test_contrast_is_asked_to_choose(run: Run) -> None:
    train("image", "small.toml", ['encoders.image.learn="contrast"', "train.image.steps=2"], run="contrast")
    code, out, err = run("small.toml", "-m", "contrast", "--json")
    assert code == 0
    assert by_name(out)["image", "colours", "retrieval"]["chance"] == pytest.approx(1 / 3)
    assert "left out: omni is not trained" in err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("nothing",), "nothing"),
        (("small", "-m", "nobody"), "there is no run 'nobody'"),
        (("small.toml", "data.image.0.path=nowhere"), "nowhere"),
        (("small", "--split", "test"), "there is no side 'test'"),
        (("small.toml", "-m", "text"), "nothing of run runs/text can be evaluated"),
        ((), "missing argument"),
    ],
)
def test_wrong_requests(words: tuple[str, ...], what: str, run: Run) -> None:
    if "text" in words and not Path("runs/text").exists():
        train("tokenizer", "small.toml", run="text")
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert what in err
    assert "Traceback" not in err


def test_an_encoder_without_answers_is_refused(run: Run) -> None:
    from muomni_cli.registry import get_registry

    part = get_registry().get("encoder", "vit").part
    train("image", "small.toml", ["train.image.steps=1"], run="eyes")
    answer = part.answer  # type: ignore[attr-defined]
    object.__setattr__(part, "answer", None)  # a declaration is frozen
    try:
        code, _, err = run("small.toml", "-m", "eyes")
    finally:
        object.__setattr__(part, "answer", answer)
    assert code == 2
    assert "image (vit) gives no answers" in err

"""All stages of a recipe that speaks, with the built-in parts: what each needs, leaves, and carries on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from muomni_cli import app
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.entries import part_entry
from muomni_cli.runs.run import RunFolder
from muomni_cli.training.base_model import load_pretrained
from muomni_cli.training.context import TrainingContext

RATE = 16000
PITCHES = {"a": 300.0, "b": 500.0, "c": 800.0, "d": 1200.0}

RECIPE = """
name = "small"

[tokenizer]
use = "bytes"

[thinker]
use = "transformer"
d_model = 32
n_layers = 1
n_heads = 2
d_ff = 32
ctx_len = 64

[encoders.audio]
use = "listener"
n_mels = 32
channels = 4
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32

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
n_layers = 1
n_heads = 2
d_ff = 32

[[data.text]]
use = "text"
path = "text.txt"
split = "line"

[[data.speech]]
use = "manifest"
modality = "audio"
path = "world.jsonl"

[data]
val_fraction = 0.3

[train]
steps = 4
batch_size = 4
val_every = 2
save_every = 2
sample_every = 4
precision = "bf16"
threads = 1
"""


def tones(word: str) -> np.ndarray[Any, Any]:
    """A fifth of a second a letter, a pause at each end."""
    t = np.arange(RATE // 5) / RATE
    said = [0.3 * np.sin(2 * np.pi * PITCHES[letter] * t) * np.hanning(t.size) for letter in word]
    return np.concatenate([np.zeros(RATE // 10), *said, np.zeros(RATE // 10)])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recipe, twelve words, and how they sound."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUOMNI_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    words = ["abc", "cab", "dab", "bad", "add", "dad", "abba", "acdc", "bacd", "cdab", "ad", "cb"]
    for word in words:
        soundfile.write(f"{word}.wav", tones(word), RATE)
    rows = [{"audio": f"{w}.wav", "text": w, "voice": ("ann", "bob")[n % 2]} for n, w in enumerate(words)]
    Path("world.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("text.txt").write_text("".join(f"{word} and {word}\n" for word in words) * 4)
    Path("small.toml").write_text(RECIPE)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as done:
        app.main(list(words))
    code = done.value.code
    return int(code or 0), capsys.readouterr().err


@pytest.mark.usefixtures("world")
def test_a_dry_run_of_everything_needs_nothing_trained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        app.main(["train", "all", "small.toml", "--dry-run", "--json"])
    said = capsys.readouterr()
    assert not done.value.code, said.err
    tried = {one["stage"]: one for one in json.loads(said.out)}
    assert list(tried) == ["thinker", "audio", "codec", "talker"]
    assert all(one["total_seconds"] > 0 and one["validations"] == 2 for one in tried.values())
    assert not Path("runs").exists()


def test_every_stage_trains_and_the_run_speaks(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = run(capsys, "train", "all", "small.toml")
    assert code == 0, told
    model = json.loads((world / "runs/small/model.json").read_text())
    assert list(model["stages"]) == ["tokenizer", "thinker", "audio", "codec", "talker"]
    assert {stage["status"] for stage in model["stages"].values()} == {"finished"}
    talker = model["parts"]["talker"]
    assert talker["codes"] == {"codebooks": 2, "size": 16, "seconds": 0.08}
    assert (talker["voices"], talker["thinker_width"]) == (["ann", "bob"], 32)
    assert "speech" in json.loads((world / "runs/small/lock.json").read_text())["data"]
    code, told = run(capsys, "tts", "abba cab", "-m", "small", "-o", "out.wav", "--seed", "1")
    assert code == 0, told
    samples, rate = soundfile.read("out.wav")
    assert rate == RATE
    assert len(samples) % 1280 == 0
    assert np.isfinite(samples).all()
    assert run(capsys, "tts", "abba cab", "-m", "small", "-o", "bob.wav", "--voice", "bob")[0] == 0
    code, told = run(capsys, "tts", "abba cab", "-m", "small", "-o", "eve.wav", "--voice", "eve")
    assert (code, Path("eve.wav").exists()) == (2, False)
    assert "ann, bob" in told


@pytest.mark.parametrize(
    ("stage", "without", "fix"),
    [
        ("talker", "codec", "muomni train codec small.toml"),
        ("talker", "audio", "muomni train audio small.toml"),
        ("talker", "thinker", "muomni train thinker small.toml"),
        ("codec", "", ""),
    ],
)
@pytest.mark.usefixtures("world")
def test_what_a_stage_needs_is_named_with_its_command(
    capsys: pytest.CaptureFixture[str], stage: str, without: str, fix: str
) -> None:
    for before in ("tokenizer", "thinker", "audio", "codec"):
        if before not in (without, stage) and (stage == "talker"):
            assert run(capsys, "train", before, "small.toml", "train.steps=1", "train.val_every=0")[0] == 0
    code, told = run(capsys, "train", stage, "small.toml", "train.steps=1")
    assert code == (2 if without else 0), told
    assert fix in told


@pytest.mark.usefixtures("world")
def test_a_talker_that_stopped_ends_as_if_it_never_had(capsys: pytest.CaptureFixture[str]) -> None:
    even = ['train.schedule="constant"']  # what a schedule does depends on all its steps
    for stage in ("tokenizer", "thinker", "audio", "codec"):
        assert run(capsys, "train", stage, "small.toml", "train.steps=1", "train.val_every=0")[0] == 0
    assert run(capsys, "train", "talker", "small.toml", "train.talker.steps=4", *even)[0] == 0
    whole = load_file("runs/small/talker/last.safetensors")
    assert run(capsys, "train", "talker", "small.toml", "train.talker.steps=2", "--force", *even)[0] == 0
    assert run(capsys, "train", "talker", "small.toml", "train.talker.steps=4", "--resume", *even)[0] == 0
    again = load_file("runs/small/talker/last.safetensors")
    weights = [name for name in whole if name.startswith("model.")]
    assert weights
    assert all(torch.equal(whole[name], again[name]) for name in weights)


@pytest.mark.usefixtures("world")
def test_speech_stages_start_from_the_weights_of_another_run(capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("tokenizer", "thinker", "audio", "codec", "talker"):
        assert run(capsys, "train", stage, "small.toml", "train.steps=1", "train.val_every=0")[0] == 0
    still = ("--run", "other", "--init", "small", "train.steps=1", "train.val_every=0", "train.lr=1e-12")
    for stage in ("thinker", "audio", "codec", "talker"):
        code, told = run(capsys, "train", stage, "small.toml", *still, "train.muon_lr=1e-12")
        assert code == 0, told
    for stage in ("codec", "talker"):
        first, then = (load_file(f"runs/{name}/{stage}/last.safetensors") for name in ("small", "other"))
        weights = [
            name for name in first if name.startswith("model.") and "quantizer" not in name
        ]  # which has averages
        assert len(weights) > 10
        assert all(torch.allclose(first[name], then[name]) for name in weights), stage


@pytest.mark.usefixtures("world")
def test_what_starts_from_another_run_has_the_settings_of_its_own_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Also those that matter in training alone, in which the two may differ."""
    assert run(capsys, "train", "audio", "small.toml", "train.steps=1", "train.val_every=0")[0] == 0
    recipe = load_recipe("small.toml", ["encoders.audio.dropout=0.25", "encoders.audio.augment.noise=0.5"])
    base = load_pretrained("small", "audio")
    assert base is not None
    part, weights = base.own_part("audio", recipe.encoders["audio"])
    assert part.config == recipe.encoders["audio"].config
    held = load_file(weights)
    for name, tensor in part.state_dict().items():
        assert torch.equal(tensor, held.get(f"ema.encoder.{name}", held[f"model.encoder.{name}"]))


def test_speech_is_encoded_once(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("tokenizer", "thinker", "audio", "codec", "talker"):
        assert run(capsys, "train", stage, "small.toml", "train.steps=1", "train.val_every=0")[0] == 0
    made = sorted(path.name for path in (world / "cache/speech").iterdir())
    assert run(capsys, "train", "talker", "small.toml", "train.steps=1", "--force", "train.val_every=0")[0] == 0
    assert sorted(path.name for path in (world / "cache/speech").iterdir()) == made
    assert run(capsys, "train", "codec", "small.toml", "train.steps=2", "--force", "train.val_every=0")[0] == 0
    assert run(capsys, "train", "talker", "small.toml", "train.steps=1", "--force", "train.val_every=0")[0] == 0
    assert len(list((world / "cache/speech").iterdir())) == len(made) + 1


def test_the_decoded_sounds_are_shared_between_runs(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The encoder, which may level what it reads, and the codec decode once each; other sizes decode nothing again."""
    for stage in ("audio", "codec"):
        assert run(capsys, "train", stage, "small.toml", "train.steps=1", "train.val_every=0")[0] == 0
    assert len(list((world / "cache/examples").iterdir())) == 2
    code, told = run(capsys, "train", "codec", "small.toml", "codec.width=24", "--force", "train.steps=1")
    assert code == 0, told
    assert len(list((world / "cache/examples").iterdir())) == 2


@pytest.mark.usefixtures("world")
def test_a_vocoder_that_another_process_has_only_begun_is_none_yet() -> None:
    Path("small.toml").write_text(RECIPE.replace('"griffin-lim"', '"vocos"'))
    recipe, folder = load_recipe("small.toml"), RunFolder(Path("runs/small"))
    context = TrainingContext(recipe, "codec", recipe.train_for("codec"), 0, torch.device("cpu"), folder)
    assert recipe.vocoder is not None
    part = part_entry(recipe.vocoder.registered, recipe.vocoder.config, "vocoder/last.safetensors")
    folder.record("vocoder", {"status": "unfinished"}, part)
    assert context.vocoder() is None

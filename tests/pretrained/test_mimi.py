"""Mimi computes here, from files, the codes and samples of transformers, and a Talker speaks in its codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from muomni_cli.api import RequestError
from muomni_cli.audio.mel import encode_waves, wave_stream
from muomni_cli.recipe.load import load_recipe
from muomni_cli.runs.references import KEY
from muomni_cli.runs.run import RunFolder
from tests.pretrained.speech import codec_config, noise, opened_codec, run, spoken, write_world

SIZES = {
    "sampling_rate": 16_000, "num_filters": 4, "upsampling_ratios": [16, 20], "hidden_size": 16,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 24,
    "sliding_window": 6, "upsample_groups": 16, "codebook_size": 16, "codebook_dim": 8,
    "vector_quantization_hidden_dimension": 8, "num_quantizers": 4,
}  # fmt: skip
SPEECH = """
[codec]
use = "mimi"
weights = "mimi"
codebooks = 3
"""


@pytest.fixture(scope="session")
def mimi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mimi with random weights, as transformers writes it."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(6)
    model, folder = transformers.MimiModel(transformers.MimiConfig(**SIZES)), tmp_path_factory.mktemp("mimi")
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.normal_(std=0.2)
        for name, tensor in model.named_buffers():
            if name.endswith("embed_sum"):
                tensor.normal_()
            elif name.endswith("cluster_usage"):
                tensor.uniform_(0.5, 2.0)
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def test_codes_and_samples_are_those_of_transformers(mimi: Path) -> None:
    import transformers

    theirs = transformers.MimiModel.from_pretrained(mimi, local_files_only=True).eval()
    ours, waves = opened_codec("mimi", mimi, codebooks=3), noise(2, 40 * 640)
    assert (ours.frame, ours.sample_rate, ours.codebooks, ours.codebook_size) == (640, 16_000, 3, 16)
    codes = ours.encode(waves)
    assert codes.shape == (2, 40, 3)
    assert all(len(codes[..., book].unique()) > 2 for book in range(3))
    assert torch.equal(codes, theirs.encode(waves[:, None], num_quantizers=3).audio_codes.transpose(1, 2))
    samples = ours.decode(codes)
    expected = theirs.decode(codes.transpose(1, 2)).audio_values[:, 0]
    assert expected.std() > 0.05
    assert (samples - expected).abs().max() < 1e-4
    stream = wave_stream(ours, 2)
    made = [stream.push(piece) for piece in (codes[:, :9], codes[:, 9:30], codes[:, 30:])]
    assert [piece.shape[1] for piece in made] == [8 * 640, 16 * 640, 0]
    assert (torch.cat([*made, stream.finish()], dim=1) - expected).abs().max() < 1e-4


def test_recordings_of_different_lengths_have_the_codes_that_each_has_alone(mimi: Path) -> None:
    codec = opened_codec("mimi", mimi, codebooks=3)
    waves = [noise(1, count)[0].numpy() for count in (5_000, 640, 12_800, 1)]
    together = encode_waves(codec, waves)
    assert [len(codes) for codes in together] == [8, 1, 20, 1]
    for codes, wave in zip(together, waves, strict=True):
        assert np.array_equal(codes, encode_waves(codec, [wave])[0])


@pytest.mark.parametrize(
    ("changes", "more", "told"),
    [
        ({"model_type": "clip"}, {}, 'model of type "?.clip'),
        ({"use_causal_conv": False, "audio_channels": 2}, {}, "audio_channels = 2; use_causal_conv = False"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, {}, "rope_type = yarn"),
        ({"upsampling_ratios": "wide"}, {}, "damaged"),
        ({}, {"codebooks": 5}, "codebooks 5 must be from 2 to 4"),
        ({}, {"sample_rate": 24_000}, "sample_rate of the checkpoint in .* is 16000: leave sample_rate out"),
        ({}, {"d_model": 32}, "d_model of the checkpoint in .* is 16: leave d_model out"),
    ],
)
def test_what_is_not_supported_is_named(changes: Any, more: Any, told: str, mimi: Path, tmp_path: Path) -> None:
    held = json.loads((mimi / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(held | changes))
    with pytest.raises(ValidationError, match=told):
        codec_config("mimi", tmp_path, **{"codebooks": 3, **more})


def test_a_recipe_with_a_vocoder_beside_it_is_refused(
    mimi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(mimi, "mimi")
    write_world(SPEECH + '[vocoder]\nuse = "griffin-lim"\n')
    with pytest.raises(RequestError, match=r"the codec mimi makes samples itself: leave \[vocoder\] out"):
        load_recipe("mine.toml")


@pytest.mark.slow
def test_a_talker_speaks_in_its_codes_with_and_without_pytorch(
    mimi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(mimi, "mimi")
    write_world(SPEECH)
    assert run("train", "all", "mine.toml", "--dry-run") == 0
    assert run("train", "all", "mine.toml", "train.sample_every=2") == 0
    model = RunFolder(tmp_path / "runs/mine").model()
    assert list(model["stages"]) == ["audio", "codec", "talker"]
    assert model["parts"]["codec"][KEY]["folder"] == str((tmp_path / "mimi").resolve())
    assert model["parts"]["talker"]["codes"] == {"codebooks": 3, "size": 16, "seconds": 0.04}
    assert list((tmp_path / "runs/mine/talker/samples").rglob("*.wav"))

    said, slow = spoken("-m", "mine"), spoken("-m", "mine", "--speed", "0.5")
    assert said.std() > 1e-3
    assert said.size % 640 == 0
    assert slow.size > said.size
    capsys.readouterr()
    assert run("tts", "abba", "-m", "mine", "-o", "no.wav", "--vocoder", "griffin-lim") == 2
    assert "makes samples itself" in capsys.readouterr().err
    for words in (("trace", "-m", "mine", "--speech", "abba cab", "--html", "page.html"), ("eval", "mine")):
        assert run(*words) == 0, words

    assert run("export", "--onnx", "-m", "mine", "-o", "bundle") == 0
    assert run("export", "check", "bundle") == 0
    shutil.move("mimi", "away")
    assert np.abs(said - spoken("-m", "bundle")).max() < 1e-3
    assert run("trace", "-m", "bundle", "--speech", "abba cab") == 0
    capsys.readouterr()
    assert run("tts", "abba", "-m", "mine", "-o", "no.wav") == 2
    assert "the codec mimi needs the weights in" in capsys.readouterr().err

"""EnCodec computes here, from files, the codes and samples of transformers, and a Talker speaks in its codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from muomni_cli.api import RequestError
from muomni_cli.audio.mel import encode_waves, wave_stream
from muomni_cli.conformance.codecs import causal
from muomni_cli.models.locate import model_named
from muomni_cli.models.package_run import describe
from muomni_cli.runs.references import KEY
from muomni_cli.runs.run import RunFolder
from tests.pretrained.speech import codec_config, noise, opened_codec, run, spoken, write_world

FRAME = 320
SIZES = {
    "sampling_rate": 16_000, "num_filters": 4, "upsampling_ratios": [16, 20], "hidden_size": 16, "codebook_size": 16,
    "num_residual_layers": 2, "target_bandwidths": [0.4, 0.6, 0.8],
}  # fmt: skip
SPEECH = """
[codec]
use = "encodec"
weights = "encodec"
bandwidth = 0.6
"""


def written(folder: Path, **changes: Any) -> Path:
    """A tiny EnCodec with random weights, as transformers writes it."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(6)
    model = transformers.EncodecModel(transformers.EncodecConfig(**SIZES, **changes))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith("original0"):  # lengths of the weights
                tensor.fill_(1.5)
            else:
                tensor.normal_(std=0.3)
        for name, tensor in model.named_buffers():
            if name.endswith(".embed"):
                tensor.normal_(std=0.4)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encodec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("encodec"))


def theirs(folder: Path) -> Any:
    import transformers

    return transformers.EncodecModel.from_pretrained(folder, local_files_only=True).eval()


@torch.no_grad()
@pytest.mark.parametrize(
    ("changes", "bandwidth", "books"),
    [
        ({}, 0.6, 3),
        ({"use_conv_shortcut": False, "num_lstm_layers": 1, "pad_mode": "constant"}, 0.4, 2),
        ({"pad_mode": "replicate", "residual_kernel_size": 5, "compress": 1}, 0.8, 4),
    ],
)
def test_codes_and_samples_are_those_of_transformers(
    changes: Any, bandwidth: float, books: int, tmp_path: Path
) -> None:
    model = theirs(written(tmp_path, **changes))
    ours, waves = opened_codec("encodec", tmp_path, bandwidth=bandwidth), noise(2, 40 * FRAME)
    assert (ours.frame, ours.sample_rate, ours.codebooks, ours.codebook_size) == (FRAME, 16_000, books, 16)
    codes = ours.encode(waves)
    assert codes.shape == (2, 40, books)
    assert all(len(codes[..., book].unique()) > 2 for book in range(books))
    assert torch.equal(codes, model.encode(waves[:, None], bandwidth=bandwidth).audio_codes[0].transpose(1, 2))
    for count in (40, 7, 1):
        some = codes[:, :count]
        expected = model.decode(some.transpose(1, 2)[None], [None]).audio_values[:, 0]
        assert expected.std() > 0.03
        assert (ours.decode(some) - expected).abs().max() < 1e-4
    expected = ours.decode(codes)
    stream = wave_stream(ours, 2)
    made = [stream.push(piece) for piece in (codes[:, :9], codes[:, 9:30], codes[:, 30:])]
    assert [piece.shape[1] for piece in made] == [8 * FRAME, 16 * FRAME, 0]
    assert (torch.cat([*made, stream.finish()], dim=1) - expected).abs().max() < 1e-4


@torch.no_grad()
def test_only_the_first_frames_depend_on_later_ones(encodec: Path) -> None:
    codec, waves = opened_codec("encodec", encodec, bandwidth=0.6).double(), noise(1, 12 * FRAME).double()
    codes, first = codec.encode(waves), codec.config.lookahead + 1
    assert first == 7
    latents, samples = codec.latents(waves), codec.decode(codes)
    for count, free in ((first, True), (first + 2, True), (first - 2, False)):
        louder, other = waves.clone(), codes.clone()
        louder[:, count * FRAME :] *= 3
        other[:, count:] = (other[:, count:] + 1) % 16
        same = [
            torch.equal(codec.latents(louder)[:, :count], latents[:, :count]),
            torch.equal(codec.decode(other)[:, : count * FRAME], samples[:, : count * FRAME]),
        ]
        assert same == [free, free], count


def test_a_codec_that_looks_ahead_does_not_conform(encodec: Path) -> None:
    from muomni_transformers.encodec import Encodec

    class LooksAhead(Encodec):
        def decode(self, codes: torch.Tensor) -> torch.Tensor:
            return super().decode(codes.roll(-1, dims=1))

    class HearsTheEnd(Encodec):
        def latents(self, waves: torch.Tensor) -> torch.Tensor:
            return super().latents(waves) + 100 * waves[:, -1, None, None]

    right = opened_codec("encodec", encodec, bandwidth=0.6)
    failed = []
    for build in (Encodec, HearsTheEnd, LooksAhead):
        module = build(right.config).eval()
        module.load_state_dict(right.state_dict())
        subject: Any = SimpleNamespace(lively=module)
        failed.append([number.where for number in causal(subject) if not number.holds])
    assert failed == [
        [],
        ["codes before another sound", "codes before silence"],
        ["samples before other codes"],
    ]


def test_recordings_of_different_lengths_have_the_codes_that_each_has_alone(encodec: Path) -> None:
    codec = opened_codec("encodec", encodec, bandwidth=0.8)
    waves = [noise(1, count)[0].numpy() for count in (5_000, 640, 12_800, 1)]
    together = encode_waves(codec, waves)
    assert [len(codes) for codes in together] == [16, 2, 40, 1]
    for codes, wave in zip(together, waves, strict=True):
        assert np.array_equal(codes, encode_waves(codec, [wave])[0])


@torch.no_grad()
def test_weights_under_the_names_of_older_files_are_the_same(encodec: Path, tmp_path: Path) -> None:
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    tensors = load_file(encodec / "model.safetensors")
    for new, old in names.items():
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    assert any(name.endswith("weight_g") for name in tensors)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    shutil.copy(encodec / "config.json", tmp_path)
    waves = noise(1, 10 * FRAME)
    ours, others = (opened_codec("encodec", folder, bandwidth=0.6).latents(waves) for folder in (encodec, tmp_path))
    assert torch.equal(ours, others)


@pytest.mark.parametrize(
    ("changes", "more", "told"),
    [
        ({"model_type": "mimi"}, {}, "model of type 'mimi', not encodec; write use = \"mimi\""),
        ({"audio_channels": 2, "normalize": True, "chunk_length_s": 1.0}, {},
         r"audio_channels = 2; normalize = True; chunk_length_s = 1\.0; use another checkpoint"),
        ({"use_causal_conv": False, "norm_type": "time_group_norm"}, {},
         "use_causal_conv = False; norm_type = time_group_norm"),
        ({"pad_mode": "circular", "trim_right_ratio": 0.5}, {}, "trim_right_ratio = 0.5; pad_mode = circular"),
        ({"codebook_dim": 8}, {}, "codebook_dim = 8"),
        ({"target_bandwidths": "wide"}, {}, "damaged"),
        ({"codebook_size": 15}, {}, "codebook_size 15 is no power of 2"),
        ({"kernel_size": 11}, {}, "the first 11 frames depend on each other: at most 8 may"),
        ({}, {"bandwidth": 6.0}, "bandwidth 6 must be one of 0.4, 0.6, 0.8, which the checkpoint was trained for"),
        ({"target_bandwidths": [0.8, 0.6, 0.4]}, {"bandwidth": 0.8},
         "bandwidth 0.8 needs 4 codebooks, and the checkpoint has 2"),
        ({}, {"sample_rate": 24_000}, "sample_rate of the checkpoint in .* is 16000: leave sample_rate out"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(changes: Any, more: Any, told: str, encodec: Path, tmp_path: Path) -> None:
    held = json.loads((encodec / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(held | changes))
    with pytest.raises(ValidationError, match=told):
        codec_config("encodec", tmp_path, **{"bandwidth": 0.6, **more})


def test_a_preprocessor_of_another_rate_is_refused(encodec: Path, tmp_path: Path) -> None:
    shutil.copy(encodec / "config.json", tmp_path)
    held = {"feature_size": 2, "sampling_rate": 48_000, "chunk_length_s": 1.0}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(held))
    told = "sampling_rate = 48000 of the preprocessor, where the codec has 16000; feature_size = 2 .*; chunk_length_s"
    with pytest.raises(ValidationError, match=told):
        codec_config("encodec", tmp_path, bandwidth=0.6)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors: tensors.pop("decoder.layers.1.lstm.bias_hh_l1"), "lack decoder.layers.1.lstm.bias_hh_l1"),
        (lambda tensors: tensors.update(more=torch.zeros(2)), "have the unknown more"),
        (lambda tensors: tensors["quantizer.layers.1.codebook.embed"].fill_(float("nan")), "not finite"),
        (lambda tensors: tensors.update({"encoder.layers.0.conv.bias": torch.zeros(3)}), "do not fit"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change: Any, told: str, encodec: Path, tmp_path: Path) -> None:
    tensors = load_file(encodec / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    shutil.copy(encodec / "config.json", tmp_path)
    with pytest.raises(RequestError, match=told):
        opened_codec("encodec", tmp_path, bandwidth=0.6)


@pytest.mark.parametrize(
    ("others", "told"),
    [([], "there is no model.safetensors in .*/[^,]*$"), (["pytorch_model.bin"], "pytorch_model.bin may run any code")],
)
def test_a_folder_without_safetensors_is_refused(others: list[str], told: str, encodec: Path, tmp_path: Path) -> None:
    shutil.copy(encodec / "config.json", tmp_path)
    for name in others:
        (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(RequestError) as caught:
        opened_codec("encodec", tmp_path, bandwidth=0.6)
    assert re.search(told, caught.value.what)
    assert caught.value.fix == "name a folder with weights in safetensors format"


@pytest.mark.slow
def test_a_talker_speaks_in_its_codes_with_and_without_pytorch(
    encodec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(encodec, "encodec")
    write_world(SPEECH)
    assert run("train", "all", "mine.toml") == 0
    model = RunFolder(tmp_path / "runs/mine").model()
    assert list(model["stages"]) == ["audio", "codec", "talker"]
    assert model["parts"]["talker"]["codes"] == {"codebooks": 3, "size": 16, "seconds": 0.02}

    count = sum(weight.numel() for weight in opened_codec("encodec", encodec, bandwidth=0.6).parameters())
    assert model["parts"]["codec"][KEY]["parameters"] == count
    rows = {part["part"]: part for part in describe(model_named("mine"))["parts"]}
    assert (rows["codec"]["numbers"], rows["codec"]["borrowed"]) == (count, True)
    assert not rows["talker"]["borrowed"]
    capsys.readouterr()
    assert run("models", "info", "mine") == 0
    assert f"{count:,} (borrowed)" in capsys.readouterr().out

    said = spoken("-m", "mine")
    assert said.std() > 1e-3
    assert said.size % FRAME == 0
    assert run("eval", "mine") == 0
    for precision in ("fp32", "int8", "fp16"):
        assert run("export", "--onnx", "-m", "mine", "-o", precision, "--precision", precision) == 0
        assert run("export", "check", precision) == 0
    shutil.move("encodec", "away")
    assert np.abs(said - spoken("-m", "fp32")).max() < 1e-3
    assert run("trace", "-m", "fp32", "--speech", "abba cab") == 0

"""Pretrained vocoders make here, from files, the sound that their checkpoints make elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import ValidationError
from safetensors.torch import save_file

from muomni_cli.api import MelConfig, RequestError
from muomni_cli.audio.dsp import log_mel
from muomni_cli.audio.mel import LogMel
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.references import KEY
from muomni_cli.runs.run import RunFolder
from muomni_cli.training.initial_weights import borrowed_part
from tests.pretrained.speech import run, spoken, write_world

GENERATOR = {
    "model_in_dim": 20, "sampling_rate": 16_000, "upsample_initial_channel": 16, "upsample_rates": [8, 20],
    "upsample_kernel_sizes": [16, 40], "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3], [1, 2]],
}  # fmt: skip
SPEECH = """
[codec]
use = "rvq"
codebook_size = 16
code_dim = 8
width = 16
fine_width = 16
encoder_layers = 1
decoder_layers = 1
crop_seconds = 0.8
[codec.mel]
n_mels = 20
n_fft = 1024
window = 1024
hop = 160
f_min = 80.0
f_max = 7600.0
mel_floor = 1e-10
mel_clip = true
spectrum = "magnitude"
filters = "slaney"
log = "log10"
padding = "reflect"
[vocoder]
use = "hifigan"
weights = "vocoder"
"""


@pytest.fixture(scope="session")
def hifigan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny HiFi-GAN with random weights and statistics, as transformers writes it."""
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(4)
    model, folder = transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**GENERATOR)), tmp_path_factory
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.normal_(std=0.2)
        model.mean.normal_()
        model.scale.uniform_(0.5, 2.0)
    model.save_pretrained(made := folder.mktemp("hifigan"))
    return made


def config_of(folder: Path, use: str = "hifigan", **more: Any) -> Any:
    part = get_registry().get("vocoder", use).part
    return part.config.model_validate({"weights": str(folder), **more}, context={"recipe": "mine"})


def opened(folder: Path, use: str = "hifigan", **more: Any) -> Any:
    part, config = get_registry().get("vocoder", use).part, config_of(folder, use, **more)
    module = resolve(part.build, "the vocoder")(config, config.mel).eval()
    assert resolve(part.pretrained, "the vocoder")(module, config) == str(folder)
    return module


def noise(samples: int) -> Any:
    return np.random.default_rng(2).normal(scale=0.1, size=samples).astype(np.float32)


@pytest.mark.parametrize("samples", [16_000, 4_321, 700])
def test_the_log_mel_is_that_of_transformers(samples: int) -> None:
    from transformers.models.speecht5.feature_extraction_speecht5 import SpeechT5FeatureExtractor

    wave, mel = noise(samples), get_registry().get("vocoder", "hifigan").part.config().mel
    theirs = SpeechT5FeatureExtractor()(audio_target=wave, sampling_rate=16_000)["input_values"][0]
    ours = LogMel(mel)(torch.from_numpy(wave)[None])[0]
    assert ours.shape == (samples // 256, 80)
    assert np.abs(ours.numpy() - theirs[: len(ours)]).max() < 1e-4
    assert np.abs(log_mel(wave, mel) - theirs[: len(ours)]).max() < 1e-4


def test_silence_has_the_level_that_its_settings_say() -> None:
    for mel in (MelConfig(), get_registry().get("vocoder", "hifigan").part.config().mel):
        assert torch.allclose(LogMel(mel)(torch.zeros(1, 3000)), torch.tensor(mel.silent_level))


@torch.no_grad()
def test_samples_are_those_of_transformers(hifigan: Path) -> None:
    import transformers

    theirs = transformers.SpeechT5HifiGan.from_pretrained(hifigan, local_files_only=True).eval()
    ours = opened(hifigan)
    assert (ours.config.mel.n_mels, ours.config.mel.hop, ours.config.channels) == (20, 160, 16)
    mel = torch.randn(2, 150, 20)
    expected = theirs(mel)
    assert expected.std() > 0.1
    assert (ours(mel) - expected).abs().max() < 1e-5
    stream = ours.stream(2)
    made = [stream.push(piece) for piece in (*mel[:, :9].split(1, dim=1), mel[:, 9:120], mel[:, 120:])]
    assert sum(piece.shape[1] for piece in made) > 80 * 160
    assert (torch.cat([*made, stream.finish()], dim=1) - expected).abs().max() < 1e-5


def test_another_log_mel_is_an_error_that_names_the_settings(hifigan: Path) -> None:
    config = config_of(hifigan)
    build = resolve(get_registry().get("vocoder", "hifigan").part.build, "the vocoder")
    with pytest.raises(RequestError, match=r"n_mels 128 instead of 20.*log ln instead of log10") as refused:
        build(config, MelConfig())
    assert 'log = "log10"' in refused.value.fix
    other = config_of(hifigan, mel={"log": "ln", "mel_floor": 1e-5})  # a recipe may say more than the checkpoint
    assert (other.mel.log, other.mel.mel_floor, other.mel.spectrum) == ("ln", 1e-5, "magnitude")
    with pytest.raises(ValidationError, match=r"mel\.n_mels of the checkpoint in .* is 20: leave n_mels out"):
        config_of(hifigan, mel={"n_mels": 80})


@pytest.mark.parametrize(
    ("config", "processor", "told"),
    [
        ({"model_type": "siglip"}, None, 'use = "siglip"'),
        ({"upsample_kernel_sizes": [15, 40]}, None, "even number: 15 at rate 8"),
        ({"upsample_rates": [[8], 20]}, None, "damaged"),
        ({"quantization_config": {}}, None, "quantized weights"),
        ({}, {"num_mel_bins": 80, "sampling_rate": 16_000}, "num_mel_bins = 80 of the preprocessor"),
    ],
)
def test_what_is_not_supported_is_named(config: Any, processor: Any, told: str, hifigan: Path, tmp_path: Path) -> None:
    held = json.loads((hifigan / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(held | config))
    if processor:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    with pytest.raises(ValidationError, match=told):
        config_of(tmp_path)


def test_a_preprocessor_beside_it_sets_the_log_mel(hifigan: Path, tmp_path: Path) -> None:
    shutil.copy(hifigan / "config.json", tmp_path)
    given = {"num_mel_bins": 20, "hop_length": 10, "win_length": 32, "fmin": 20, "fmax": 7000, "mel_floor": 1e-6}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(given))
    mel = config_of(tmp_path).mel
    assert (mel.window, mel.n_fft, mel.f_min, mel.f_max, mel.mel_floor) == (512, 512, 20, 7000, 1e-6)


@pytest.mark.slow
def test_a_run_refers_to_its_vocoder_and_the_bundle_holds_it(
    hifigan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(hifigan, "vocoder")
    write_world(SPEECH)
    assert run("train", "all", "mine.toml", "codec.mel.n_mels=24") == 2
    assert "the vocoder hifigan was trained on another log-mel" in capsys.readouterr().err
    assert run("train", "vocoder", "mine.toml", "--dry-run") == 2
    assert run("train", "all", "mine.toml") == 0
    assert run("train", "vocoder", "mine.toml") == 0
    entry = RunFolder(tmp_path / "runs/mine").model()["parts"]["vocoder"]
    assert entry[KEY]["folder"] == str((tmp_path / "vocoder").resolve())
    assert (tmp_path / "runs/mine/vocoder/last.safetensors").stat().st_size < 4_000
    said = spoken("-m", "mine")
    assert said.std() > 1e-3
    assert run("export", "--onnx", "-m", "mine", "-o", "bundle") == 0
    assert run("models", "pack", "mine", "-o", "packed") == 2

    # the bundle needs neither; the run says what is gone
    shutil.move("vocoder", "away")
    again = spoken("-m", "bundle")
    assert np.abs(said - again).max() < 1e-3
    capsys.readouterr()
    assert run("tts", "abba", "-m", "mine", "-o", "no.wav") == 2
    assert "the vocoder hifigan needs the weights in" in capsys.readouterr().err


def test_without_weights_there_is_nothing_to_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from muomni_cli.recipe.load import load_recipe

    monkeypatch.chdir(tmp_path)
    write_world(SPEECH.replace('weights = "vocoder"', "rates = [8, 20]\nkernels = [16, 40]\n[vocoder.mel]\n" + MEL))
    recipe = load_recipe("mine.toml")
    assert recipe.vocoder is not None
    with pytest.raises(RequestError, match=r"\[vocoder\] has no weights"):
        borrowed_part(recipe, "vocoder", recipe.vocoder)


FEATURES = {"sample_rate": 24_000, "n_fft": 64, "hop_length": 16, "n_mels": 6, "padding": "center"}
PUBLISHED = {
    "feature_extractor": {"class_path": "vocos.feature_extractors.MelSpectrogramFeatures", "init_args": FEATURES},
    "backbone": {
        "class_path": "vocos.models.VocosBackbone",
        "init_args": {"input_channels": 6, "dim": 16, "intermediate_dim": 24, "num_layers": 2},
    },
    "head": {
        "class_path": "vocos.heads.ISTFTHead",
        "init_args": {"dim": 16, "n_fft": 64, "hop_length": 16, "padding": "center"},
    },
}


def vocos_tensors() -> dict[str, torch.Tensor]:
    """The tensors of a Vocos by the names and shapes of the published ones, random."""
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.embed.weight": (16, 6, 7), "backbone.embed.bias": (16,), "head.out.weight": (66, 16),
        "head.out.bias": (66,), "head.istft.window": (64,), "feature_extractor.mel_spec.mel_scale.fb": (33, 6),
    }  # fmt: skip
    shapes |= {f"backbone.{norm}.{what}": (16,) for norm in NORMS for what in ("weight", "bias")}
    for layer in range(2):
        own = {"dwconv.weight": (16, 1, 7), "dwconv.bias": (16,), "norm.weight": (16,), "norm.bias": (16,)}
        own |= {"pwconv1.weight": (24, 16), "pwconv1.bias": (24,), "pwconv2.weight": (16, 24), "pwconv2.bias": (16,)}
        shapes |= {f"backbone.convnext.{layer}.{name}": shape for name, shape in {**own, "gamma": (16,)}.items()}
    torch.manual_seed(5)
    return {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}


NORMS = ("norm", "final_layer_norm")


@pytest.fixture
def vocos(tmp_path: Path) -> Path:
    save_file(vocos_tensors(), tmp_path / "model.safetensors")
    (tmp_path / "config.yaml").write_text(json.dumps(PUBLISHED))  # which is YAML, too
    return tmp_path


def vocos_samples(tensors: dict[str, torch.Tensor], mel: torch.Tensor) -> torch.Tensor:
    """(B,M,F) log-mel -> (B, 16*(M-1)) samples, written from the paper and the names of the tensors."""

    def affine(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def normed(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (16,), tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-6)

    def conv(name: str, x: torch.Tensor, groups: int = 1) -> torch.Tensor:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return F.conv1d(x.transpose(1, 2), weight, bias, padding=3, groups=groups).transpose(1, 2)

    x = normed("backbone.norm", conv("backbone.embed", mel))
    for at in ("backbone.convnext.0", "backbone.convnext.1"):
        inner = affine(f"{at}.pwconv1", normed(f"{at}.norm", conv(f"{at}.dwconv", x, 16)))
        x = x + tensors[f"{at}.gamma"] * affine(f"{at}.pwconv2", F.gelu(inner))
    size, phase = affine("head.out", normed("backbone.final_layer_norm", x)).transpose(1, 2).chunk(2, dim=1)
    spectrum = torch.polar(size.exp().clip(max=100), phase)
    return torch.istft(spectrum, 64, 16, window=torch.hann_window(64), center=True)


@torch.no_grad()
def test_samples_are_those_of_a_published_vocos(vocos: Path) -> None:
    ours, mel = opened(vocos, "vocos-checkpoint"), torch.randn(2, 150, 6)
    expected = vocos_samples(vocos_tensors(), mel)
    assert expected.std() > 0.05
    made = ours(mel)
    assert made.shape == (2, 150 * 16)
    assert (made[:, : 149 * 16] - expected).abs().max() < 1e-5
    stream = ours.stream(2)
    streamed = [stream.push(piece) for piece in (mel[:, :9], mel[:, 9:120], mel[:, 120:])]
    assert sum(piece.shape[1] for piece in streamed) > 80 * 16
    assert (torch.cat([*streamed, stream.finish()], dim=1) - made).abs().max() < 1e-5


def test_the_log_mel_of_vocos_is_that_of_torchaudio() -> None:
    torchaudio = pytest.importorskip("torchaudio")
    mel, wave = get_registry().get("vocoder", "vocos-checkpoint").part.config().mel, torch.from_numpy(noise(9_000))
    theirs = torchaudio.transforms.MelSpectrogram(24_000, n_fft=1024, hop_length=256, n_mels=100, power=1)(wave)
    expected = theirs.clip(min=1e-7).log().T
    assert (LogMel(mel)(wave[None])[0] - expected[: 9_000 // 256]).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("table", "changes", "told"),
    [
        ("head", {"padding": "same"}, "padding same of the transform"),
        ("head", {"dim": 32}, "a head of other sizes"),
        ("backbone", {"adanorm_num_embeddings": 4}, "normalization by bandwidth"),
        ("backbone", {"num_layers": "many"}, "damaged"),
        ("feature_extractor", {"n_mels": 7}, "a backbone of 6 channels for 7 mel bins"),
    ],
)
def test_what_is_not_supported_of_a_vocos_is_named(table: str, changes: Any, told: str, vocos: Path) -> None:
    held = json.loads(json.dumps(PUBLISHED))
    held[table]["init_args"] |= changes
    (vocos / "config.yaml").write_text(json.dumps(held))
    with pytest.raises(ValidationError, match=told):
        config_of(vocos, "vocos-checkpoint")


@pytest.mark.parametrize("content", ["", "[1", "a: *b", "x: 1"])
def test_a_damaged_config_of_a_vocos_is_refused(content: str, vocos: Path) -> None:
    (vocos / "config.yaml").write_text(content)
    with pytest.raises(ValidationError, match="damaged"):
        config_of(vocos, "vocos-checkpoint")


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "nan", "cut", "pickle"])
def test_weights_of_a_vocos_that_do_not_fit_are_refused(damage: str, vocos: Path) -> None:
    tensors, file, name = vocos_tensors(), vocos / "model.safetensors", "backbone.convnext.1.pwconv1.weight"
    if damage == "missing":
        del tensors[name]
    elif damage == "unknown":
        tensors[name.replace(".1.", ".2.")] = torch.zeros(3)
    elif damage == "shape":
        tensors[name] = tensors[name][:-1].contiguous()
    elif damage == "nan":
        tensors[name][0, 0] = float("nan")
    save_file(tensors, file)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "pickle":
        file.rename(vocos / "pytorch_model.bin")
    with pytest.raises(RequestError) as refused:
        opened(vocos, "vocos-checkpoint")
    assert str(vocos) in str(refused.value)


MEL = SPEECH.partition("[codec.mel]\n")[2].partition("[vocoder]")[0]

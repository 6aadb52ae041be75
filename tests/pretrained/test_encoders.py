"""Pretrained encoders compute here, from files, what their checkpoints compute in transformers."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from muomni_cli.api import RequestError
from muomni_cli.registry.registry import get_registry, resolve
from tests.pretrained.conftest import Checkpoint, model_of, processor_of, tower_of

NEAR = 1e-5
PICTURES = ["siglip", "siglip, vision alone", "clip", "dinov2"]
FAMILIES = [*PICTURES, "whisper"]


def config_of(family: str, folder: Path, **more: Any) -> Any:
    """The settings of an encoder as a recipe has them."""
    part = get_registry().get("encoder", family.partition(",")[0]).part
    return part.config.model_validate({"weights": str(folder), **more}, context={"recipe": "mine"})


def opened(family: str, folder: Path, **more: Any) -> Any:
    part = get_registry().get("encoder", family.partition(",")[0]).part
    config = config_of(family, folder, **more)
    module = resolve(part.build, "the encoder")(config).eval()
    assert resolve(part.pretrained, "the encoder")(module, config) == str(folder)
    return module


def read(family: str, config: Any, content: bytes) -> Any:
    part = get_registry().get("encoder", family.partition(",")[0]).part
    return resolve(part.read, "the encoder")(config, io.BytesIO(content), "a file")


def theirs(folder: Path, family: str) -> Any:
    return tower_of(type(model_of(family)).from_pretrained(folder, local_files_only=True)).eval()


def picture(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height))


@pytest.mark.parametrize("size", [(32, 32), (90, 60), (47, 151), (20, 20)])
@pytest.mark.parametrize("family", PICTURES)
@torch.no_grad()
def test_a_picture_gives_the_hidden_states_of_transformers(
    family: str, size: tuple[int, int], checkpoint: Checkpoint
) -> None:
    folder, image, file = checkpoint(family), picture(*size), io.BytesIO()
    image.save(file, "PNG")
    pixels = processor_of(family)(image, return_tensors="pt")["pixel_values"]
    expected = theirs(folder, family)(pixels.float())
    for tokens in ("patches", "pooled"):
        ours = opened(family, folder, tokens=tokens)
        inputs = torch.from_numpy(read(family, ours.config, file.getvalue()))[None]
        assert (ours.normalize(inputs) - pixels).abs().max() < NEAR
        states = expected.pooler_output[:, None] if tokens == "pooled" else expected.last_hidden_state[:, ours.first :]
        assert states.std() > 0.1
        made = ours(inputs)
        assert made.tokens.shape == states.shape == (1, ours.config.token_count, ours.width)
        assert (made.tokens - states).abs().max() < NEAR


@torch.no_grad()
def test_patches_are_averaged_to_fewer_tokens(checkpoint: Checkpoint) -> None:
    inputs = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    every, fewer = (opened("siglip", checkpoint("siglip"), tokens=tokens) for tokens in ("patches", 2))
    grid = every(inputs).tokens.unflatten(1, (2, 2, 2, 2))  # squares of 2 x 2, then the patches in each
    torch.testing.assert_close(fewer(inputs).tokens, grid.mean((2, 4)).flatten(1, 2))
    with pytest.raises(ValidationError, match="use 1 or 2 or 4"):
        config_of("siglip", checkpoint("siglip"), tokens=3)


@pytest.mark.parametrize(("rate", "seconds"), [(16_000, 2.0), (16_000, 0.3), (16_000, 0.02), (8_000, 0.7)])
@torch.no_grad()
def test_a_sound_gives_the_hidden_states_of_transformers(rate: int, seconds: float, checkpoint: Checkpoint) -> None:
    folder, file = checkpoint("whisper"), io.BytesIO()
    wave = np.random.default_rng(1).normal(scale=0.1, size=round(rate * seconds)).astype(np.float32)
    soundfile.write(file, wave, rate, "FLOAT", format="WAV")
    single = opened("whisper", folder, stack=1)
    heard = read("whisper", single.config, file.getvalue())
    assert heard.size == round(16_000 * seconds)
    features = processor_of("whisper")(heard, sampling_rate=16_000, return_tensors="pt")["input_features"]
    padded = torch.zeros(1, single.config.window)
    padded[0, : heard.size] = torch.from_numpy(heard)
    assert (single.mel(padded) - features).abs().max() < NEAR
    states = theirs(folder, "whisper")(features).last_hidden_state
    made = single(torch.from_numpy(heard)[None])
    assert states.std() > 0.1
    assert (made.tokens - states[:, : made.tokens.shape[1]]).abs().max() < NEAR
    assert made.lengths == [-(-heard.size // 320)]
    stacked = opened("whisper", folder, stack=5)(torch.from_numpy(heard)[None])
    side_by_side = states[:, : 5 * stacked.lengths[0]].reshape(1, -1, 160)
    assert (stacked.tokens - side_by_side).abs().max() < NEAR


def test_a_sound_that_is_too_long_is_refused(checkpoint: Checkpoint) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(33_000) + 0.1, 16_000, format="WAV")
    with pytest.raises(RequestError, match="2 s"):
        read("whisper", config_of("whisper", checkpoint("whisper")), file.getvalue())


PUBLISHED = {  # as the checkpoints of that name have them
    "siglip": (
        {"model_type": "siglip", "text_config": {"model_type": "siglip_text_model"},
         "vision_config": {"model_type": "siglip_vision_model"}},
        {"do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
         "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}},
        {"d_model": 768, "n_layers": 12, "size": 224, "patch": 16, "resize": 0, "activation": "gelu_pytorch_tanh"},
    ),
    "clip": (
        {"model_type": "clip", "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
            "intermediate_size": 4096, "image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu"}},
        {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3, "size": 224,
         "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]},
        {"d_model": 1024, "n_layers": 24, "patch": 14, "resize": 224, "token_count": 256, "norm_eps": 1e-5},
    ),
    "dinov2": (
        {"model_type": "dinov2", "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6,
         "image_size": 518, "patch_size": 14, "mlp_ratio": 4, "qkv_bias": True, "use_swiglu_ffn": False},
        {"crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_rescale": True, "do_resize": True,
         "do_normalize": True, "size": {"shortest_edge": 256}, "resample": 3, "image_mean": [0.485, 0.456, 0.406],
         "image_std": [0.229, 0.224, 0.225]},
        {"d_model": 384, "d_ff": 1536, "size": 224, "trained_size": 518, "resize": 256, "token_count": 256},
    ),
    "whisper": (
        {"model_type": "whisper", "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20,
         "encoder_ffn_dim": 5120, "num_mel_bins": 128, "max_source_positions": 1500, "activation_function": "gelu"},
        {"chunk_length": 30, "feature_size": 128, "hop_length": 160, "n_fft": 400, "n_samples": 480000,
         "nb_max_frames": 3000, "padding_value": 0.0, "sampling_rate": 16000},
        {"d_model": 1280, "n_mels": 128, "max_seconds": 30.0, "stack": 4},
    ),
}  # fmt: skip


@pytest.mark.parametrize("named", ["preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize("family", PUBLISHED)
def test_configurations_as_they_are_published(family: str, named: str, tmp_path: Path) -> None:
    config, processor, expected = PUBLISHED[family]
    (tmp_path / "config.json").write_text(json.dumps(config))
    nested = {("feature_extractor" if family == "whisper" else "image_processor"): processor}
    (tmp_path / named).write_text(json.dumps(processor if named.startswith("pre") else nested))
    found = config_of(family, tmp_path, d_model=expected["d_model"])
    assert {name: getattr(found, name) for name in expected} == expected
    if family != "whisper":
        assert found.mean == tuple(processor["image_mean"])


def changed(folder: Path, place: Path, config: Any = None, processor: Any = None) -> Path:
    """A copy of a checkpoint's configuration with changes, and without any weights."""
    for name, changes in {"config.json": config, "preprocessor_config.json": processor}.items():
        held = json.loads((folder / name).read_text())
        for key, value in (changes or {}).items():
            table = held.get("vision_config", held) if name == "config.json" and key != "model_type" else held
            table[key] = value
        (place / name).write_text(json.dumps(held))
    return place


@pytest.mark.parametrize(
    ("family", "config", "processor", "told"),
    [
        ("siglip", {"model_type": "siglip2"}, {}, "siglip2"),
        ("siglip", {"model_type": "clip"}, {}, 'use = "clip"'),
        ("siglip", {"hidden_act": "mish", "num_channels": 1}, {"do_pad": True}, "channels.*do_pad = true.*mish"),
        ("siglip", {}, {"size": {"height": 64, "width": 64}}, "pictures of 64 pixels for positions of 32"),
        ("clip", {}, {"do_center_crop": False}, "shortest_edge"),
        ("clip", {"image_size": [32, 48]}, {}, "not square"),
        ("clip", {"hidden_size": "wide"}, {}, "damaged"),
        ("dinov2", {"qkv_bias": False, "quantization_config": {}}, {}, "without a bias; quantized"),
        ("whisper", {}, {"chunk_length": 30, "sampling_rate": 8000}, "sampling_rate = 8000.*chunk_length = 30"),
    ],
)
def test_what_is_not_supported_is_named_before_weights_are_read(
    family: str, config: Any, processor: Any, told: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = changed(checkpoint(family), tmp_path, config, processor)
    with pytest.raises(ValidationError, match=told):
        config_of(family, folder)


def test_a_size_of_the_recipe_that_is_not_the_checkpoints_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(ValidationError, match=r"n_layers of the checkpoint in .* is 2: leave n_layers out"):
        config_of("clip", checkpoint("clip"), n_layers=1)


@pytest.mark.parametrize("damage", ["missing", "unknown", "shape", "nan", "cut", "pickle"])
@pytest.mark.parametrize("family", ["siglip", "whisper"])
def test_weights_that_do_not_fit_are_refused(family: str, damage: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint(family), tmp_path / "copy"))
    file = folder / "model.safetensors"
    tensors = load_file(file)
    ends = ("encoder.layers.1.fc1.weight", "vision_model.encoder.layers.1.mlp.fc1.weight")
    name = next(one for one in tensors if one.endswith(ends))
    if damage == "missing":
        del tensors[name]
    elif damage == "unknown":
        tensors[name.replace(".1.", ".2.")] = torch.zeros(3)
    elif damage == "shape":
        tensors[name] = tensors[name][:-1].contiguous()
    elif damage == "nan":
        tensors[name][0, 0] = float("nan")
    save_file(tensors, file, {"format": "pt"})
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "pickle":
        file.rename(folder / "pytorch_model.bin")
    with pytest.raises(RequestError) as refused:
        opened(family, folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in refused.value.what


def test_settings_that_a_run_states_need_no_folder(checkpoint: Checkpoint) -> None:
    config = config_of("siglip", checkpoint("siglip"))
    stated = {**config.model_dump(mode="json"), "weights": "/nowhere"}
    again = type(config).model_validate(stated)
    assert again.model_dump(exclude={"weights"}) == config.model_dump(exclude={"weights"})

"""A whole tiny model with random weights, as training leaves one: it reads, sees, hears, thinks, transcribes and
speaks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import nn

from muomni_cli import app
from muomni_cli.api import CodeShape, EncoderPart
from muomni_cli.omni import OmniModel
from muomni_cli.registry.entries import open_entry, part_entry
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.checkpoint import build_part, model_tensors, write_checkpoint
from muomni_cli.runs.run import RunFolder

BLOCKS = {"n_layers": 1, "n_heads": 2, "d_ff": 32}
THINKER = {"d_model": 32, **BLOCKS, "ctx_len": 192}
IMAGE = {"size": 32, "patch": 8, "d_model": 16, **BLOCKS, "tokens": 2}
AUDIO = {"n_mels": 32, "channels": 4, "d_model": 16, **BLOCKS}
CODEC = {
    "mel": {"sample_rate": 8000, "n_fft": 256, "window": 160, "hop": 40, "n_mels": 20}, "codebook_size": 32,
    "code_dim": 8, "width": 16, "encoder_layers": 1, "decoder_layers": 1, "fine_width": 16, "mel_scale": 0.5,
}  # fmt: skip
TALKER = {"d_text": 16, "text_layers": 1, "d_model": 16, **BLOCKS, "max_duration": 6, "ctx_len": 256}
VOCODER = {"channels": 16, "layers": 1, "hidden": 16}
VOICES = ("ann", "bob")
PICTURE, SOUND = "picture.png", "sound.wav"


@dataclass(frozen=True, slots=True)
class Whole:
    """The model twice, as the ``run`` and as the ``bundle`` exported of it, and a ``picture`` and a ``sound``."""

    run: Path
    bundle: Path
    picture: Path
    sound: Path


def make_whole(folder: Path) -> Whole:
    """All of it, in ``folder``; takes half a minute."""
    torch.set_num_threads(1)
    export(make_run(folder / "run").root, folder / "bundle")
    make_media(folder)
    return whole_in(folder)


def whole_in(folder: Path) -> Whole:
    """What :func:`make_whole` made in ``folder``."""
    return Whole(folder / "run", folder / "bundle", folder / PICTURE, folder / SOUND)


def make_run(root: Path) -> RunFolder:
    """A run of all stages, in the folder ``root``."""
    run = RunFolder(root)
    torch.manual_seed(3)
    bytes_ = get_registry().get("tokenizer", "bytes")
    tokenizer = resolve(str(bytes_.part.objective))(bytes_.part.config(), iter(()))
    tokenizer.save(run.stage("tokenizer"))
    chat = {"template": "roles", "temperature": 0.0, "max_tokens": 24}
    run.record("tokenizer", {"status": "finished"}, part_entry(bytes_, bytes_.part.config(), "tokenizer"), chat)
    _speech(run)
    made = {
        "thinker": _part("thinker", "transformer", THINKER, vocab_size=tokenizer.vocab_size),
        "image": _part("encoder", "vit", IMAGE),
        "audio": _part("encoder", "listener", AUDIO),
    }
    modules = {name: module for name, (_, module) in made.items()}
    _ear(run, *made["audio"])
    omni = OmniModel(modules.pop("thinker"), modules)
    _write(run, "omni", omni)
    run.record("omni", {"status": "finished", "parts": {name: entry for name, (entry, _) in made.items()}})
    return run


def _ear(run: RunFolder, entry: dict[str, Any], encoder: Any) -> None:
    """The audio encoder's own stage: the encoder with the head that transcribes."""
    registered, config = open_entry(entry)
    assert isinstance(registered.part, EncoderPart)
    lesson = _lively(resolve(str(registered.part.transcribe))(config))
    lesson.encoder.load_state_dict(encoder.state_dict())
    _write(run, "audio", lesson)
    run.record("audio", {"status": "finished"}, {**entry, "weights": "audio/last.safetensors"})


def _speech(run: RunFolder) -> None:
    entry, codec = _part("codec", "rvq", CODEC)
    codes = asdict(CodeShape(codec.codebooks, codec.codebook_size, codec.frame * codec.mel.hop / codec.mel.sample_rate))
    talker = _part("talker", "cursor", TALKER, codes=codes, voices=list(VOICES), thinker_width=THINKER["d_model"])
    vocoder = _part("vocoder", "vocos", VOCODER, mel=codec.mel.model_dump(mode="json"))
    stages = {
        "codec": (entry, codec),
        "talker": talker,
        "vocoder": (vocoder[0], nn.ModuleDict({"vocoder": vocoder[1]})),
    }
    for stage, (described, module) in stages.items():
        _write(run, stage, module)
        run.record(stage, {"status": "finished"}, described)


def _part(kind: str, use: str, sizes: dict[str, Any], **more: Any) -> tuple[dict[str, Any], Any]:
    registered = get_registry().get(kind, use)
    config = registered.part.config.model_validate(sizes)
    stage = {"encoder": "omni", "thinker": "omni"}.get(kind, kind)
    entry = part_entry(registered, config, f"{stage}/last.safetensors", **more)
    return entry, _lively(build_part(registered, config, more))


def _lively(module: Any) -> Any:
    """With weights that are large enough for answers to differ."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2.0)
    return module.eval()


def _write(run: RunFolder, stage: str, module: nn.Module) -> None:
    write_checkpoint(run.stage(stage) / "last.safetensors", {"step": 3}, {"model": model_tensors(module)})


def export(run: Path, bundle: Path) -> None:
    """As ``muomni export`` does it."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")
    with pytest.raises(SystemExit) as left:
        app.main(["export", "--onnx", "-m", str(run), "-o", str(bundle)])
    assert left.value.code == 0


def make_media(folder: Path) -> None:
    """A picture and a sound of a second."""
    rng = np.random.default_rng(4)
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / PICTURE)
    times = np.arange(16000) / 16000
    wave = 0.3 * np.sin(2 * np.pi * (200 + 900 * times) * times) + 0.02 * rng.standard_normal(16000)
    soundfile.write(folder / SOUND, wave, 16000)

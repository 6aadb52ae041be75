"""A stranger's vocoder, installed by pip: in a recipe, spoken with, checked, exported, and run without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from muomni_cli.api import CodeShape
from muomni_cli.registry.entries import part_entry
from muomni_cli.registry.registry import get_registry
from muomni_cli.runs.checkpoint import build_part, model_tensors, write_checkpoint
from muomni_cli.runs.run import RunFolder
from tests.installing import Site

RECIPE = """
name = "tiny"

[codec]
use = "rvq"
codebooks = 1

[talker]
use = "cursor"

[vocoder]
use = "dudley"
pitch = 200.0
"""
TEXT = "two hens, one egg"
RATE = 8000
SIZES = {
    "codec": {
        "mel": {"sample_rate": 8000, "n_fft": 256, "window": 160, "hop": 40, "n_mels": 20},
        "codebooks": 1, "codebook_size": 32, "width": 16, "encoder_layers": 1, "decoder_layers": 1, "fine_width": 16,
        "mel_scale": 0.5,
    },
    "talker": {
        "d_text": 16, "text_layers": 1, "d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32, "max_duration": 6,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def site(pip: Callable[..., Site]) -> Site:
    return pip("vocoder")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a recipe with this vocoder, whose codec and Talker are tiny and as training leaves them."""
    root = tmp_path_factory.mktemp("model") / "tiny"
    root.mkdir()
    (root / "recipe.toml").write_text(RECIPE)
    torch.manual_seed(3)
    codec = _trained(RunFolder(root), "codec", "rvq")
    shape = CodeShape(codec.codebooks, codec.codebook_size, codec.frame * codec.mel.hop / codec.mel.sample_rate)
    _trained(RunFolder(root), "talker", "cursor", codes=asdict(shape), voices=["ann"], thinker_width=0)
    return root


def _trained(run: RunFolder, kind: str, use: str, **more: Any) -> Any:
    registered = get_registry().get(kind, use)
    config = registered.part.config.model_validate(SIZES[kind])
    module: Any = build_part(registered, config, more)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2.0 if parameter.ndim > 1 else 1.0)
    write_checkpoint(run.stage(kind) / "last.safetensors", {"step": 3}, {"model": model_tensors(module)})
    run.record(kind, {"status": "finished"}, part_entry(registered, config, f"{kind}/last.safetensors", **more))
    return module


def speak(site: Site, folder: Path, file: str, *words: str | Path) -> NDArray[np.float64]:
    """The samples of what ``muomni tts`` says; they are checked to be this vocoder's."""
    told = site.muomni("tts", TEXT, *words, "-o", file, "--json", cwd=folder)
    assert json.loads(told.stdout)["vocoder"] == "dudley"
    samples, rate = soundfile.read(folder / file)
    assert rate == RATE
    return samples


def pitch(samples: NDArray[np.float64]) -> float:
    """What the sound repeats itself by, in Hz, from 80 to 280."""
    likeness = np.fft.irfft(np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2)
    first, last = RATE // 280, RATE // 80
    return RATE / (first + int(likeness[first:last].argmax()))


def test_it_is_listed_and_its_recipe_is_right(site: Site, tmp_path: Path) -> None:
    listed = json.loads(site.muomni("plugins", "info", "dudley", "--json", cwd=tmp_path).stdout)
    described = next(one for one in (listed if isinstance(listed, list) else [listed]) if "origin" in one)
    assert described["origin"] == "muomni-dudley"
    site.muomni("recipes", "copy", "robot", "robot.toml", cwd=tmp_path)
    site.muomni("recipes", "check", "robot.toml", cwd=tmp_path)


@pytest.mark.slow
def test_it_keeps_every_law(site: Site, tmp_path: Path) -> None:
    told = site.muomni("plugins", "check", "dudley", "--json", cwd=tmp_path)
    (report,) = [one for one in json.loads(told.stdout) if one["kind"] == "vocoder"]
    results = {check["check"]: check["state"] for check in report["checks"]}
    assert {results[check] for check in ("shapes", "batch", "streams", "exports", "serves", "light")} == {"held"}
    assert report["holds"]


def test_a_run_speaks_with_it(site: Site, run: Path, tmp_path: Path) -> None:
    """By its recipe, and where it is named in place of the recipe's."""
    recipe = run / "recipe.toml"
    own = speak(site, tmp_path, "own.wav", "-m", run)
    recipe.write_text(RECIPE.replace("dudley", "griffin-lim").replace("pitch = 200.0", ""))
    named = speak(site, tmp_path, "named.wav", "-m", run, "--vocoder", "dudley")
    recipe.write_text(RECIPE)
    assert own.std() > 0.001
    assert len(named) == len(own) > 4000
    assert not np.array_equal(named, own)  # it is not the recipe's pitch
    assert pitch(own) == pytest.approx(200, abs=4)
    assert pitch(named) == pytest.approx(110, abs=3)


@pytest.mark.slow
def test_a_bundle_speaks_with_it_alike(site: Site, run: Path, tmp_path: Path) -> None:
    site.muomni("export", "--onnx", "-m", run, "-o", "bundle", cwd=tmp_path)
    own, bundle = speak(site, tmp_path, "own.wav", "-m", run), speak(site, tmp_path, "packed.wav", "-m", "bundle")
    assert len(bundle) == len(own) > 4000
    assert np.abs(bundle - own).max() < 1e-3


def test_a_recipe_without_the_package_is_told_so(run: Path, tmp_path: Path) -> None:
    told = Site(tmp_path).muomni("tts", TEXT, "-m", run, "-o", "a.wav", cwd=tmp_path, code=2)
    assert "there is no vocoder 'dudley'" in told.stderr

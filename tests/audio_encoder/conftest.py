"""A voice that no file holds: it can be written at any sampling rate, and is the same sound in each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from muomni_audio_encoder.model import AudioEncoder, build
from muomni_audio_encoder.plugin import AudioEncoderConfig

Wave = NDArray[np.float64]

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def voice() -> Callable[..., Wave]:
    """``voice(rate, seconds, pitch)``: gliding harmonics under two moving formants, four syllables a second, nothing
    above 3.4 kHz."""

    def speak(rate: int, seconds: float = 1.0, pitch: float = 120.0) -> Wave:
        t = np.arange(round(rate * seconds)) / rate
        phase = 2 * np.pi * (pitch * t + 12 * np.sin(2 * np.pi * 1.5 * t) / 1.5)
        formants = (500 + 200 * np.sin(2 * np.pi * 2 * t), 1500 + 500 * np.cos(2 * np.pi * 3 * t))
        wave = np.zeros_like(t)
        for harmonic in range(1, int(3400 / (pitch + 120))):
            frequency = harmonic * pitch
            gain = sum(np.exp(-(((frequency - center) / 250) ** 2)) for center in formants) + 0.02
            wave += gain * np.sin(harmonic * phase)
        return 0.06 * wave * np.sin(np.pi * 4 * t) ** 2

    return speak


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """``written(samples, rate, name, subtype)``: the path of a sound file that holds them."""

    def write(samples: NDArray[np.floating], rate: int = 16000, name: str = "a.wav", subtype: str = "FLOAT") -> Path:
        path = tmp_path / name
        soundfile.write(path, samples, rate, subtype=subtype)
        return path

    return write


TINY = AudioEncoderConfig(n_mels=32, channels=8, d_model=32, n_layers=2, n_heads=2, d_ff=64)


@pytest.fixture(scope="session")
def lively() -> Callable[..., AudioEncoder]:
    """``lively(**settings)``: a small encoder whose weights are large enough for differences to show."""

    def make(**settings: float) -> AudioEncoder:
        torch.manual_seed(1)
        model = build(TINY.model_copy(update=settings)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim == 2:
                    parameter.mul_(4)
                elif name.endswith("bias"):
                    parameter.uniform_(-0.5, 0.5)  # a bias of zero would hide frames that padding leaks into
        return model

    return make

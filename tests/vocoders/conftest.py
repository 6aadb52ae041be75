"""A voice that no file holds, and mel settings of three kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from muomni_cli.api import MelConfig

SETTINGS = {
    "default": MelConfig(),
    "telephone": MelConfig(sample_rate=8000, n_fft=512, window=400, hop=80, n_mels=64, f_min=60),
    "80 bins, hop of no divisor": MelConfig(n_fft=800, window=600, hop=250, n_mels=80, f_max=7600),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(params=list(SETTINGS))
def mel(request: pytest.FixtureRequest) -> MelConfig:
    return SETTINGS[request.param]


@pytest.fixture(scope="session")
def voice() -> Callable[..., Tensor]:
    """``voice(rate, seconds, pitch)``, (1,N): gliding harmonics under two moving formants, four syllables a second,
    nothing above 3.4 kHz."""

    def speak(rate: int = 16000, seconds: float = 1.0, pitch: float = 120.0) -> Tensor:
        t = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
        phase = 2 * torch.pi * (pitch * t + 12 * torch.sin(2 * torch.pi * 1.5 * t) / 1.5)
        formants = (500 + 200 * torch.sin(2 * torch.pi * 2 * t), 1500 + 500 * torch.cos(2 * torch.pi * 3 * t))
        wave = torch.zeros_like(t)
        for harmonic in range(1, int(3400 / (pitch + 120))):
            gains = [torch.exp(-(((harmonic * pitch - center) / 250) ** 2)) for center in formants]
            wave += (gains[0] + gains[1] + 0.02) * torch.sin(harmonic * phase)
        return (0.06 * wave * torch.sin(torch.pi * 4 * t) ** 2).float()[None]

    return speak

"""A vocoder after a stretched log-mel: the length changes; pitch and level stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muomni_cli.api import MelConfig
from muomni_cli.audio.dsp import log_mel
from muomni_cli.audio.stretch import MelStretch
from muomni_vocoders.griffin_lim import GriffinLim
from muomni_vocoders.plugin import GriffinLimConfig


@pytest.mark.parametrize("speed", [0.75, 1.5])
@pytest.mark.parametrize("pitch", [140, 230])
def test_pitch_and_level_stay(pitch: int, speed: float) -> None:
    time, config = np.arange(16000) / 16000, MelConfig()
    wave = (sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 8)) * 0.2).astype(np.float32)
    stretch = MelStretch(speed, config.n_mels)
    mel = np.concatenate([stretch.push(log_mel(wave, config)), stretch.finish()])
    with torch.no_grad():
        made = GriffinLim(GriffinLimConfig(iterations=8), config)(torch.from_numpy(mel)[None])[0].numpy()
    assert abs(made.size - wave.size / speed) <= config.hop
    inner = made[1600:-1600]
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(inner.size)))
    spectrum[: round(0.5 * pitch * inner.size / 16000)] = 0
    lowest = spectrum[: round(1.5 * pitch * inner.size / 16000)].argmax()
    assert lowest * 16000 / inner.size == pytest.approx(pitch, rel=0.03)
    assert inner.std() == pytest.approx(wave.std(), rel=0.15)

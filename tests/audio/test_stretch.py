"""Speech made faster or slower: exact lengths, the same however it is split, the same pitch and level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.audio.stretch import TimeStretch

RATES = st.sampled_from([8000, 16000, 22050])
SPEEDS = st.floats(0.4, 2.5)


def stretched(wave: np.ndarray, rate: int, speed: float, cuts: list[int]) -> np.ndarray:
    stream, begin, made = TimeStretch(rate, speed), 0, []
    for cut in [*sorted(min(cut, wave.size) for cut in cuts), wave.size]:
        made.append(stream.push(wave[begin:cut]))
        begin = cut
    return np.concatenate([*made, stream.finish()])


@settings(max_examples=40, deadline=None)
@given(RATES, SPEEDS, st.integers(0, 9000), st.lists(st.integers(0, 9000), max_size=8))
def test_pieces_are_the_whole_and_the_length_is_exact(rate: int, speed: float, count: int, cuts: list[int]) -> None:
    wave = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    whole = stretched(wave, rate, speed, [])
    assert np.array_equal(stretched(wave, rate, speed, cuts), whole)
    assert abs(whole.size - count / speed) <= 1


@pytest.mark.parametrize("speed", [0.55, 0.8, 1.25, 1.8])
@pytest.mark.parametrize("pitch", [90, 140, 230])
def test_pitch_and_level_stay(pitch: int, speed: float) -> None:
    time = np.arange(16000) / 16000
    wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 8)).astype(np.float32)
    made = stretched(wave, 16000, speed, [])[800:-800]
    spectrum = np.abs(np.fft.rfft(made * np.hanning(made.size)))
    assert abs(spectrum.argmax() * 16000 / made.size - pitch) < 4
    assert made.std() == pytest.approx(wave.std(), rel=0.05)

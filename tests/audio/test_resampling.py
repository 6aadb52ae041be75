"""The resampler: what may pass passes unchanged, what must not pass is gone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from muomni_cli.audio.dsp import resample

RATES = [8000, 11025, 12345, 22050, 32000, 44100, 48000, 96000]


def sine(hertz: float, rate: int, seconds: float = 0.5) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def decibels(wave: NDArray[np.float32]) -> float:
    """Largest sample of the middle, clear of both ends."""
    return float(20 * np.log10(np.abs(wave[1600:-1600]).max() + 1e-9))


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate != 12345])
@pytest.mark.parametrize("hertz", [60.0, 440.0, 3500.0])
def test_a_sine_stays_the_same_sine(rate: int, hertz: float) -> None:
    resampled, expected = resample(sine(hertz, rate), rate, 16000), sine(hertz, 16000)
    assert resampled.shape == expected.shape == (8000,)
    assert resampled.dtype == np.float32
    assert decibels(resampled - expected) < -80


@pytest.mark.parametrize("rate", [22050, 32000, 44100, 48000, 96000])
def test_what_lies_above_the_new_rate_does_not_fold_back(rate: int) -> None:
    for hertz in np.linspace(8050, rate / 2 - 100, 7):
        assert decibels(resample(sine(hertz, rate), rate, 16000)) < -60


@pytest.mark.parametrize("rate", [8000, 11025])
def test_going_up_adds_no_images(rate: int) -> None:
    spectrum = np.abs(np.fft.rfft(resample(sine(1000, rate), rate, 16000) * np.hanning(8000)))
    above = spectrum[round(rate / 2 * 8000 / 16000) :]
    assert 20 * np.log10(above.max() / spectrum.max()) < -60


def test_an_odd_rate_is_met_within_a_part_in_two_thousand() -> None:
    for rate in (12345, 16008, 44099, 47999):
        resampled = resample(sine(1000, rate, 2.0), rate, 16000)
        assert resampled.size == 32000
        spectrum = np.abs(np.fft.rfft(resampled * np.hanning(32000), 1 << 18))
        assert abs(int(spectrum.argmax()) * 16000 / (1 << 18) - 1000) < 0.5


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", [1, 2, 99, 4410, 4411])
def test_the_length_is_that_of_the_time_it_took(rate: int, size: int) -> None:
    assert resample(np.ones(size, np.float32), rate, 16000).shape == (-(-size * 16000 // rate),)


def test_a_click_stays_where_it_was_and_a_constant_what_it_was() -> None:
    click = np.zeros(48000, np.float32)
    click[30000] = 1
    assert int(np.abs(resample(click, 48000, 16000)).argmax()) == 10000
    middle = resample(np.full(44100, 0.25, np.float32), 44100, 16000)[1000:-1000]
    np.testing.assert_allclose(middle, 0.25, atol=1e-4)


def test_the_same_rate_is_untouched() -> None:
    wave = sine(440, 16000)
    assert resample(wave, 16000, 16000) is wave

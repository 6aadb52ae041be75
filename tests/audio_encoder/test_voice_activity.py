"""Speech is found wherever it lies in a recording, at any level, over any steady noise; noise alone is left alone."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from muomni_audio_encoder.ctc import BLANK, Alphabet, loudness
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_audio_encoder.runtime import RecognizerRunner
from muomni_audio_encoder.voice_activity import active, prepared, read
from muomni_cli.api import RequestError

RATE = 16000
CONFIG = AudioEncoderConfig(level=(-28.0, -18.0), silence=0.25, max_seconds=5.0)
TOKEN = CONFIG.shortest / RATE
WORD = 0.6  # seconds

Wave = NDArray[np.float32]


def word() -> NDArray[np.float64]:
    """Two syllables of harmonics at about -15 dB, with soft edges."""
    t = np.arange(round(WORD * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * 120 * n * t + n) / n for n in range(1, 20))
    return np.asarray(0.3 * wave * np.sin(2 * np.pi * t / WORD) ** 2)


def recording(before: float, after: float, level: float, noise: float | None, seed: int = 0) -> Wave:
    """A word at ``level`` dB below its own, ``noise`` dB below it (None: digital silence)."""
    wave = np.pad(word(), (round(before * RATE), round(after * RATE)))
    if noise is not None:
        wave += 0.2 * 10 ** (-noise / 20) * np.random.default_rng(seed).standard_normal(wave.size)
    return np.asarray(wave * 10 ** (-level / 20), np.float32)


@settings(max_examples=60, deadline=None)
@given(
    before=st.floats(0, 8),
    after=st.floats(0, 8),
    level=st.floats(-6, 40),
    noise=st.none() | st.floats(20, 70),
    seed=st.integers(0, 99),
)
def test_a_word_is_found_wherever_it_lies_and_however_quiet_it_is(
    before: float, after: float, level: float, noise: float | None, seed: int
) -> None:
    wave = recording(before, after, level, noise, seed)
    found, stay = prepared(CONFIG, wave)
    begin, end = round(before * RATE), round((before + WORD) * RATE)
    speaking = np.repeat(stay, CONFIG.shortest)[begin + 400 : end - 400]
    assert speaking.all(), "nothing of the word is cut"
    assert found.size / RATE <= WORD + 2 * CONFIG.silence + 4 * TOKEN
    levels = loudness(found, RATE)
    loud = 10 * np.log10((10 ** (levels[active(levels)] / 10)).mean()) if active(levels).any() else -20.0
    assert -30 < loud < -16


@pytest.mark.parametrize("level", [-20, -40, -60, -80])
@pytest.mark.parametrize("kind", ["noise", "tone", "nothing"])
def test_what_is_no_speech_stays_as_it_is(kind: str, level: float) -> None:
    t = np.arange(3 * RATE) / RATE
    made = {"noise": np.random.default_rng(0).standard_normal(t.size), "tone": np.sin(2800 * t), "nothing": 0 * t}
    wave = np.asarray(10 ** (level / 20) * made[kind], np.float32)
    found, stay = prepared(CONFIG, wave)
    assert stay.all()
    np.testing.assert_array_equal(found, wave)


def test_unset_settings_change_nothing() -> None:
    wave = recording(1, 2, 30, 40)
    found, stay = prepared(AudioEncoderConfig(), wave)
    assert found is wave
    assert stay.all()


def test_a_click_is_no_word() -> None:
    wave = recording(2, 2, 0, 50)
    wave[100:140] += 0.9
    _, stay = prepared(CONFIG, wave)
    assert not stay[:30].any()


def heard(wave: Wave) -> NDArray[np.float32]:
    """Scores that spell "a" wherever a token is louder than -40 dB."""
    tokens = CONFIG.num_tokens(wave.size)
    scores = np.full((tokens, 28), -9.0, np.float32)
    rows = np.pad(wave, (0, -wave.size % CONFIG.shortest)).reshape(-1, CONFIG.shortest)[:tokens]
    speaking = np.sqrt((rows**2).mean(1)) > 0.01
    scores[np.arange(tokens), np.where(speaking, Alphabet(CONFIG.characters).encode("a")[0], BLANK)] = 0.0
    return scores


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 639])
@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (3.0, 0.5), (0.5, 3.0), (19.0, 6.0)])
@pytest.mark.parametrize("beam", [0, 4])
def test_words_keep_their_times_where_silence_is_cut(
    before: float, after: float, samples: int, beam: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = RecognizerRunner(CONFIG, {}, {})
    monkeypatch.setattr(runner, "logits", heard)
    wave = np.pad(recording(before, after, 30, 50), (0, samples))
    words = list(runner.words(wave, beam=beam))
    assert words
    assert abs(words[0].start - before) < 0.1
    assert abs(words[-1].end - before - WORD) < 0.1
    assert runner.hear(wave).shape == (CONFIG.num_tokens(wave.size), 28)


def file_of(wave: NDArray[np.floating]) -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format="WAV", subtype="FLOAT")
    file.seek(0)
    return file


def test_a_recording_may_be_longer_than_a_sound_if_its_speech_is_not(voice: Callable[..., NDArray[np.float64]]) -> None:
    assert read(CONFIG, file_of(recording(40, 20, 20, 50)), "a.wav").size < 2 * RATE
    with pytest.raises(RequestError, match="besides silence; at most 5 s") as caught:
        read(CONFIG, file_of(voice(RATE, 9.0)), "a.wav")
    assert caught.value.exit_code == 2
    with pytest.raises(RequestError, match="at most 600 s"):
        read(CONFIG, file_of(np.zeros(601 * RATE, np.float32)), "a.wav")


def test_a_level_that_falls_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="above its end"):
        AudioEncoderConfig(level=(-10.0, -20.0))

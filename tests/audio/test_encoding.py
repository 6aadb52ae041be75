"""Audio that is encoded while it is made is that of the whole file, whatever the pieces."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muomni_cli.audio.dsp import resample
from muomni_cli.audio.encoding import FORMATS, as_bytes, as_integers, encode, encoded

RATE = 16_000
TONE = (0.5 * np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE)).astype(np.float32)


def cut(samples: NDArray[np.float32], places: Sequence[int]) -> list[NDArray[np.float32]]:
    return np.split(samples, sorted(places))


@settings(max_examples=20, deadline=None)
@given(places=st.lists(st.integers(0, TONE.size), max_size=6), form=st.sampled_from(["wav", "flac", "pcm"]))
def test_pieces_do_not_matter_where_nothing_is_lost(places: list[int], form: str) -> None:
    made = b"".join(encoded(cut(TONE, places), RATE, FORMATS[form]))
    if form == "pcm":
        assert np.abs(np.frombuffer(made, "<i2") - as_integers(resample(TONE, RATE, 24_000)).astype(int)).max() <= 1
    else:
        samples, rate = soundfile.read(io.BytesIO(made), dtype="int16")
        assert rate == RATE
        assert np.array_equal(samples, as_integers(TONE))


@pytest.mark.parametrize("form", ["mp3", "opus"])
def test_a_stream_that_loses_something_is_as_long_as_the_sound(form: str) -> None:
    pieces = list(encoded(cut(TONE, range(0, RATE, 1000)), RATE, FORMATS[form]))
    assert len(pieces) > 1
    for content in (b"".join(pieces), encode(TONE, RATE, FORMATS[form])):
        samples, rate = soundfile.read(io.BytesIO(content))
        assert rate == RATE
        assert abs(samples.size - TONE.size) < 0.2 * RATE
        spectrum = np.abs(np.fft.rfft(samples[: RATE // 2]))
        assert abs(spectrum.argmax() * 2 - 440) < 8


def test_headers_of_whole_files_tell_the_length() -> None:
    for form in ("wav", "flac"):
        assert soundfile.info(io.BytesIO(encode(TONE, RATE, FORMATS[form]))).frames == TONE.size
    assert len(encode(TONE, RATE, FORMATS["pcm"])) == 2 * 24_000


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "opus"])
def test_nothing_is_a_file_too(form: str) -> None:
    samples, rate = soundfile.read(io.BytesIO(encode(np.zeros(0, np.float32), RATE, FORMATS[form])))
    assert rate == RATE
    assert samples.size <= 0.2 * RATE
    assert np.abs(samples).max(initial=0) < 1e-3


def test_rates_that_a_format_lacks_are_raised_to_one_that_it_has() -> None:
    assert [FORMATS["opus"].rate(rate) for rate in (8_000, 22_050, 44_100, 96_000)] == [8_000, 24_000, 48_000, 48_000]
    assert FORMATS["wav"].rate(22_050) == 22_050
    assert FORMATS["pcm"].rate(8_000) == 24_000
    samples, rate = soundfile.read(io.BytesIO(encode(TONE, 22_050, FORMATS["opus"])))
    assert rate == 24_000
    assert abs(samples.size / 24_000 - TONE.size / 22_050) < 0.05


def test_samples_are_clipped_at_full_scale() -> None:
    assert as_integers(np.array([-2, -1, 0, 1, 2], np.float32)).tolist() == [-32767, -32767, 0, 32767, 32767]
    assert as_bytes(np.array([1], np.float32)) == b"\xff\x7f"

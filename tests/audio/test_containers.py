"""Containers of sound: one sound is the same in all of them, a wrong length does no harm, and a cut file is told."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_cli.api import RequestError
from muomni_cli.audio import io as audio
from muomni_cli.audio.containers import SLACK, _samples
from muomni_cli.audio.mp3 import Mp3File

CONFIG = AudioEncoderConfig()
WAVE = (0.1 * np.random.default_rng(0).standard_normal(24_000)).clip(-0.5, 0.5).astype(np.float32)
PLAIN = [
    ("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAVEX", "PCM_16"), ("RF64", "PCM_16"),
    ("RF64", "FLOAT"), ("W64", "PCM_16"), ("W64", "DOUBLE"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"),
    ("AU", "ULAW"), ("CAF", "PCM_16"), ("CAF", "PCM_32"), ("SVX", "PCM_16"),
]  # fmt: skip
CODED = [
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "ALAC_16"),
    ("WAV", "IMA_ADPCM"), ("WAV", "GSM610"), ("W64", "MS_ADPCM"), ("NIST", "PCM_16"),
]  # fmt: skip


def stored(form: str, subtype: str, wave: NDArray[np.float32] = WAVE, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, subtype, format=form)
    return file.getvalue()


FILES = {(form, subtype): stored(form, subtype) for form, subtype in PLAIN + CODED}


def heard(content: bytes) -> NDArray[np.float32]:
    return audio.read(CONFIG, io.BytesIO(content), "a sound")


def refusal(content: bytes) -> str:
    with pytest.raises(RequestError) as caught:
        heard(content)
    assert caught.value.fix
    assert "\n" not in caught.value.what + caught.value.fix
    return caught.value.what


@pytest.mark.parametrize("kind", FILES)
def test_whole_files_are_read_to_their_end(kind: tuple[str, str]) -> None:
    file = FILES[kind]
    there, _ = soundfile.read(io.BytesIO(file), dtype="float32")
    np.testing.assert_allclose(heard(file), there, atol=1e-4)


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=12, deadline=None)
@given(share=st.floats(0, 0.98), at=st.integers(0, 4000))
def test_cut_files_are_refused(kind: tuple[str, str], share: float, at: int) -> None:
    file = FILES[kind]
    assert refusal(file[: int(share * (len(file) - SLACK - 1))])
    assert refusal(file[: max(0, len(file) - SLACK - 1 - at)])


@pytest.mark.parametrize(("form", "subtype"), [kind for kind in PLAIN if kind[0] != "SVX"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_wrong_lengths_do_no_harm(form: str, subtype: str, data: st.DataObject) -> None:
    file = bytearray(FILES[form, subtype])
    found = _samples(io.BytesIO(file), bytes(file[:40]), len(file))
    assert found is not None
    assert found.field
    del file[found.start + found.claimed :]
    unknown = [0, 0x7FFF_0000, 0x7FFF_F000, 0x8000_0000, 0xFFFF_FFFF]
    wrong = st.sampled_from(unknown) | st.integers(0, found.claimed + SLACK)
    claim = data.draw(wrong) + found.besides
    file[found.field : found.field + struct.calcsize(found.size)] = struct.pack(
        found.size, min(claim, 256 ** struct.calcsize(found.size) - 1)
    )
    there = heard(bytes(file))
    assert WAVE.size - SLACK <= there.size <= WAVE.size
    np.testing.assert_allclose(there, heard(FILES[form, subtype])[: there.size], atol=1e-6)


@pytest.mark.parametrize(
    ("form", "subtype"), [*PLAIN, ("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"), ("NIST", "PCM_16")]
)
def test_what_follows_the_samples_is_no_sound(form: str, subtype: str) -> None:
    file = FILES[form, subtype]
    whole = heard(file)
    np.testing.assert_array_equal(heard(file + b"TAG" + bytes(125)), whole)
    if form in ("WAV", "WAVEX", "RF64"):
        np.testing.assert_array_equal(heard(file + b"LIST" + struct.pack("<I", 3000) + bytes(3000)), whole)
        np.testing.assert_array_equal(heard(file + b"id3 " + struct.pack("<I", 3000) + bytes(200)), whole)
    if form == "MP3":
        np.testing.assert_array_equal(heard(b"ID3\4\0\0\0\0\7\x68" + bytes(1000) + file), whole)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [*PLAIN, ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("NIST", "PCM_16"), ("FLAC", "PCM_16")],
)
def test_several_recordings_in_one_file_are_told(form: str, subtype: str) -> None:
    assert "several recordings" in refusal(2 * FILES[form, subtype])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_pages_of_an_ogg_file_that_are_missing_are_told(subtype: str) -> None:
    file = stored("OGG", subtype, np.tile(WAVE, 8))
    pages = [at for at in range(len(file)) if file.startswith(b"OggS\0", at)]
    for begin, end in pairwise(pages[3:]):
        assert "missing" in refusal(file[:begin] + file[end:])


def test_formats_whose_end_is_not_known_are_told() -> None:
    for form, subtype in (("VOC", "PCM_16"), ("IRCAM", "FLOAT"), ("PVF", "PCM_16"), ("MAT5", "PCM_16")):
        assert "which is not read" in refusal(stored(form, subtype))


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_of_every_version(rate: int, channels: int) -> None:
    file = stored("MP3", "MPEG_LAYER_III", np.stack([WAVE] * channels, 1), rate)
    there, _ = soundfile.read(io.BytesIO(file), dtype="float32", always_2d=True)
    read = np.concatenate(list(Mp3File(io.BytesIO(file), "a sound").blocks(1000)))
    np.testing.assert_allclose(read, there, atol=1e-3)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_mp3_files_print_nothing(data: st.DataObject, capfd: pytest.CaptureFixture[str]) -> None:
    file = bytearray(FILES["MP3", "MPEG_LAYER_III"])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(file) - 1))
        file[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
    with suppress(RequestError):
        heard(bytes(file))
    assert capfd.readouterr() == ("", "")


@settings(max_examples=40, deadline=None)
@given(gains=st.lists(st.floats(-1, 1).filter(lambda gain: abs(gain) > 0.2), min_size=2, max_size=6))
def test_channels_never_cancel_out(gains: list[float]) -> None:
    """One voice in all channels, each with a gain and a sign of its own."""
    quiet = np.random.default_rng(1).standard_normal((WAVE.size, len(gains))) * 0.003
    mixed = heard(stored("WAV", "FLOAT", (WAVE[:, None] * np.array(gains) * 0.5 + quiet).astype(np.float32)))
    level = float(np.abs(mixed @ WAVE) / (WAVE @ WAVE))
    assert level > 0.5 * 0.2 * 0.5
    assert abs(float(np.corrcoef(mixed, WAVE)[0, 1])) > 0.85


def test_channels_that_do_not_cancel_are_averaged() -> None:
    other = np.random.default_rng(2).permutation(WAVE)
    for channels in (np.stack([WAVE, WAVE / 2], 1), np.stack([WAVE, other], 1), np.stack([WAVE, 0 * WAVE], 1)):
        np.testing.assert_allclose(heard(stored("WAV", "FLOAT", channels)), channels.mean(1), atol=1e-6)


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("form", ["WAV", "AIFF", "CAF"])
def test_integers_of_fewer_bits_in_32(bits: int, form: str) -> None:
    values = np.rint(WAVE * 2 ** (bits - 1)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int32)
    file = io.BytesIO()
    soundfile.write(file, values, 16000, "PCM_32", format=form)
    np.testing.assert_allclose(heard(file.getvalue()), WAVE, atol=1e-4)


def test_a_quiet_recording_of_32_bits_stays_quiet() -> None:
    for left in (WAVE * 1e-2, np.round(WAVE * 2**12) / 2**23):  # the second: 24 bits, left-justified
        np.testing.assert_allclose(heard(stored("WAV", "PCM_32", left.astype(np.float32))), left, atol=1e-8)


def test_near_silence_is_told_and_silence_is_heard() -> None:
    for level in (1e-9, 1e-6, 1e-5):
        assert "quieter than 16 bits" in refusal(stored("WAV", "FLOAT", WAVE * level))
    for heard_level in (0, 1e-3):
        np.testing.assert_array_equal(heard(stored("WAV", "FLOAT", WAVE * heard_level)), WAVE * np.float32(heard_level))
    np.testing.assert_array_equal(heard(stored("WAV", "PCM_16", np.sign(WAVE) / 32768)), np.sign(WAVE) / 32768)


def test_what_a_header_says_of_its_frames_besides_the_length_is_not_believed() -> None:
    for frames in (0, 1, 23_000, 25_000, 2**32 - 1):
        file = bytearray(FILES["AIFF", "PCM_16"])
        at = file.index(b"COMM") + 10
        file[at : at + 4] = struct.pack(">I", frames)
        np.testing.assert_array_equal(heard(bytes(file)), heard(FILES["AIFF", "PCM_16"]))

"""Sound files: one sound stored in many ways is one sound, and nothing hostile does more than one line of harm."""

from __future__ import annotations

import os
import struct
import tarfile
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from muomni_audio_encoder.model import AudioEncoder, build
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_cli.api import FileMedia, RequestError
from muomni_cli.audio import io
from muomni_cli.audio.dsp import resample
from muomni_cli.registry.sets import set_file

CONFIG = AudioEncoderConfig()

Voice = Callable[..., NDArray[np.float64]]
Write = Callable[..., Path]


def read(config: AudioEncoderConfig, path: Path) -> NDArray[np.float32]:
    """As the host reads a file: it opens, and the encoder reads."""
    media = FileMedia("audio", path)
    with media.open() as file:
        return io.read(config, file, media.name)


def in_pieces(config: AudioEncoderConfig, path: Path, max_seconds: float) -> list[NDArray[np.float32]]:
    with FileMedia("audio", path).open() as file:
        return list(io.pieces(config, file, str(path), max_seconds))


@pytest.fixture(scope="module")
def spec() -> AudioEncoder:
    torch.manual_seed(0)
    return build(CONFIG).eval()


@torch.no_grad()
def apart(model: AudioEncoder, one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[float, float]:
    """Mean distance of two sounds' log-mels, in nats, and the relative distance of their tokens."""
    a, b = torch.from_numpy(one)[None], torch.from_numpy(other)[None]
    tokens = model(b).tokens
    return (model.mel(a) - model.mel(b)).abs().mean().item(), ((model(a).tokens - tokens).norm() / tokens.norm()).item()


WAYS = [
    (rate, channels, subtype) for rate in (8000, 16000, 44100, 48000) for channels in (1, 2) for subtype in ("PCM_16",)
]
WAYS += [(16000, 1, "PCM_24"), (44100, 2, "FLOAT"), (48000, 2, "DOUBLE"), (16000, 1, "PCM_32")]


@pytest.mark.parametrize(("rate", "channels", "subtype"), WAYS)
def test_one_voice_stored_in_many_ways(
    rate: int, channels: int, subtype: str, voice: Voice, written: Write, spec: AudioEncoder
) -> None:
    gains = [1.0] if channels == 1 else [1.5, 0.5]
    stored = voice(rate)[:, None] * gains
    heard = read(CONFIG, written(stored, rate, subtype=subtype))
    assert heard.shape == (16000,)
    assert heard.dtype == np.float32
    mel, tokens = apart(spec, heard, voice(16000).astype(np.float32))
    assert mel < 0.02
    assert tokens < 0.02
    mel, tokens = apart(spec, voice(16000, pitch=126.0).astype(np.float32), heard)
    assert mel > 0.3, "a voice 5% higher must be further away than the same voice in another file"
    assert tokens > 0.1


@pytest.mark.parametrize(("rate", "subtype"), [(44100, "PCM_16"), (48000, "PCM_24"), (22050, "FLOAT")])
def test_a_real_voice_at_a_higher_rate(rate: int, subtype: str, written: Write, spec: AudioEncoder) -> None:
    speech = set_file("set:ljspeech-part").find()
    if speech is None:
        pytest.skip("needs: muomni data get ljspeech-part")
    with tarfile.open(speech) as tar:
        clip = next(member for member in tar if member.name.endswith(".flac"))
        file = tar.extractfile(clip)
        assert file is not None
        original, _ = soundfile.read(file, dtype="float32", frames=48000)
    mel, tokens = apart(spec, read(CONFIG, written(resample(original, 16000, rate), rate, subtype=subtype)), original)
    assert mel < 0.15  # the filter takes the highest half kilohertz
    assert tokens < 0.1


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_full_scale_is_one_in_every_format(subtype: str, written: Write) -> None:
    square = np.tile(np.repeat([0.5, -0.5], 100), 40)
    np.testing.assert_allclose(read(CONFIG, written(square, subtype=subtype)), square, atol=1 / 128 + 1e-6)


@pytest.mark.parametrize(("name", "subtype"), [("a.flac", "PCM_16"), ("a.ogg", "VORBIS"), ("a.mp3", "MPEG_LAYER_III")])
def test_other_formats(name: str, subtype: str, voice: Voice, written: Write) -> None:
    heard = read(CONFIG, written(voice(16000), 16000, name, subtype))
    assert abs(heard.size - 16000) < 2500  # MP3 adds what its frames need
    assert abs(np.abs(heard).max() - np.abs(voice(16000)).max()) < 0.1


def test_channels_are_mixed_to_their_mean(written: Write) -> None:
    stored = np.stack([np.full(8000, 0.5), np.full(8000, -0.1), np.full(8000, 0.2)], axis=1)
    np.testing.assert_allclose(read(CONFIG, written(stored)), 0.2, atol=1e-6)


def test_the_encoder_chooses_the_rate(written: Write, voice: Voice) -> None:
    config = AudioEncoderConfig(sample_rate=24000, hop=240)
    assert read(config, written(voice(48000), 48000)).shape == (24000,)


def test_the_shortest_sound_is_one_token(written: Write) -> None:
    assert read(CONFIG, written(np.zeros(640))).shape == (640,)
    assert read(CONFIG, written(np.zeros(320), 8000)).shape == (640,)
    refuses(written(np.zeros(639)), "39.94 ms long, less than one token", "at least 40 ms")
    refuses(written(np.zeros(100)), "6.25 ms", "at least 40 ms")


def test_the_longest_sound_is_the_config_s(written: Write) -> None:
    config = AudioEncoderConfig(max_seconds=0.5)
    assert read(config, written(np.zeros(8000))).shape == (8000,)
    refuses(written(np.zeros(8001)), "at most 500 ms", "max_seconds", config)


def refuses(path: Path, what: str, fix: str, config: AudioEncoderConfig = CONFIG) -> None:
    with pytest.raises(RequestError) as caught:
        read(config, path)
    error = caught.value
    assert what in error.what
    assert str(path) in error.what
    assert fix in error.fix
    assert error.exit_code == 2
    assert "\n" not in error.what + error.fix


def wav(data: bytes, *, claimed: int | None = None, rate: int = 16000, channels: int = 1) -> bytes:
    """A 16-bit WAV file by hand, whose header may claim more or less than there is."""
    size = len(data) if claimed is None else claimed
    head = struct.pack(
        "<4sI4s4sIHHIIHH",
        b"RIFF",
        (size + 36) & 0xFFFFFFFF,
        b"WAVE",
        b"fmt ",
        16,
        1,
        channels,
        rate,
        rate * 2 * channels & 0xFFFFFFFF,
        2 * channels & 0xFFFF,
        16,
    )
    return head + struct.pack("<4sI", b"data", size) + data


@pytest.mark.parametrize(
    ("content", "what", "fix"),
    [
        (b"", "is empty", "holds something"),
        (b"RIFF", "is not a readable audio file", "WAV"),
        (b"Once upon a time there was a file that was no sound.\n" * 50, "is not a readable audio file", "WAV"),
        (wav(b""), "contains no samples", "samples in it"),
        (wav(b"\0" * 200), "6.25 ms", "at least"),
        (wav(b"", claimed=32000), "contains no samples", "samples in it"),
        (wav(b"\0" * 64000, rate=100), "sample rate of 100", "common rate"),
        (wav(b"\0" * 64000, rate=2**31 - 1), "sample rate of 2147483647", "common rate"),
        (wav(b"\0" * 65000, channels=65), "65 channels", "mix it down"),
        (wav(b"\0" * 64000, channels=0), "is not a readable audio file", "WAV"),
    ],
)
def test_files_that_are_no_sound(content: bytes, what: str, fix: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    refuses(path, what, fix)


def test_a_header_that_lies_about_the_length_is_not_believed(tmp_path: Path) -> None:
    path, data = tmp_path / "a.wav", np.full(8000, 8192, "<i2").tobytes()
    for claimed in (16_258, 40_000_000):
        path.write_bytes(wav(data, claimed=claimed))
        refuses(path, f"says {claimed:,} bytes of samples, and 16,000 are there", "correct header")
    for unknown in (2**31 - 1, 2**31, 2**32 - 1):  # as programs write it that do not know
        path.write_bytes(wav(data, claimed=unknown))
        np.testing.assert_allclose(read(CONFIG, path), 0.25)
    for wrong in (0, 4000, 15_000, 16_002, 16_036):
        path.write_bytes(wav(data, claimed=wrong))
        np.testing.assert_allclose(read(CONFIG, path), 0.25)
    path.write_bytes(wav(data, claimed=4000)[:4044] + b"LIST" + struct.pack("<I", 4000) + bytes(4000))
    assert read(CONFIG, path).size == 2000


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers(wrong: float, subtype: str, written: Write) -> None:
    samples = np.zeros(16000, np.float64)
    samples[77] = wrong
    with np.errstate(over="ignore"):
        refuses(written(samples, subtype=subtype), "contains samples that are not finite (1 of 16,000", "again")


def test_integers_written_as_floats(written: Write) -> None:
    refuses(written(np.full(16000, -20000.0)), "samples up to 20000, where full scale is 1", "-1 to 1")


def test_ten_hours_cost_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(wav(b"", claimed=2 * 16000 * 36000))
        file.truncate(44 + 2 * 16000 * 36000)  # sparse: takes no room on the disk
    tracemalloc.start()
    refuses(path, "10.0 h", "max_seconds")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_length_that_no_header_tells_is_cut_off_while_reading(
    written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream of unknown length, as an encoder writes it to a pipe."""
    path = written(np.zeros(64000), name="a.flac", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])  # total samples in STREAMINFO: unknown
    path.write_bytes(content)
    monkeypatch.setattr("muomni_cli.audio.io.AT_ONCE", 4096)
    refuses(path, "at most 2 s", "max_seconds", AudioEncoderConfig(max_seconds=2))


@pytest.mark.parametrize("rate", [16000, 8000, 44100, 48000, 11025])
def test_a_sound_read_in_pieces_is_the_same_sound(
    rate: int, voice: Voice, written: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(voice(rate, 2.5), rate)
    whole = read(CONFIG, path)
    for size in (100, 4096, 30_000):
        monkeypatch.setattr("muomni_cli.audio.io.AT_ONCE", size)
        np.testing.assert_allclose(np.concatenate(in_pieces(CONFIG, path, 3.0)), whole, atol=1e-6)
    with pytest.raises(RequestError, match="at most 2 s"):
        in_pieces(CONFIG, path, 2.0)


def test_long_sounds_in_pieces_cost_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(wav(b"", claimed=2 * 48000 * 600, rate=48000))
        file.truncate(44 + 2 * 48000 * 600)  # ten minutes, sparse
    config = AudioEncoderConfig(max_seconds=1)
    tracemalloc.start()
    with FileMedia("audio", path).open() as file:
        assert sum(piece.size for piece in io.pieces(config, file, "long", 600.0)) == 9_600_000
    assert tracemalloc.get_traced_memory()[1] < 40 << 20  # all of it: 38 MB at 16 kHz, 115 MB at 48 kHz
    tracemalloc.stop()


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    refuses(tmp_path, "is a folder", "name a file in it")
    refuses(tmp_path / "missing.wav", "No such file", "check the path")
    refuses(tmp_path / ("x" * 300), "cannot read", "check the path")
    refuses(tmp_path / "a\0b.wav", "null", "check the path")
    refuses(Path("/dev/zero"), "a device", "save it to a file")
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    refuses(tmp_path / "loop.wav", "cannot read", "check the path")
    (tmp_path / "a.raw").write_bytes(b"\0" * 9000)
    refuses(tmp_path / "a.raw", "is not a readable audio file", "convert")


def test_a_pipe_is_refused_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    thread = threading.Thread(target=refuses, args=(tmp_path / "pipe.wav", "a pipe", "save it to a file"), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(written: Write) -> None:
    path = written(np.zeros(16000))
    path.chmod(0)
    refuses(path, "Permission denied", "permissions")

"""Hostile pictures and sounds on the command line: two lines and exit code 2, or an answer; quick, in little memory."""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from muomni_cli.app import main

MEGABYTES, SECONDS = 200, 20
"""Most that one command may take; the seconds are for a machine that does much else."""

TONE = 0.3 * np.sin(np.arange(16000) / 10)
PCM = (TONE * 32767).astype("<i2").tobytes()


def png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def wav(claimed: int, rate: int = 16000, channels: int = 1) -> bytes:
    """The header of a 16-bit WAV file, which claims so many bytes of samples."""
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, 2 * rate * channels, 2 * channels, 16)
    return (
        b"RIFF"
        + struct.pack("<I", min(36 + claimed, 2**32 - 1))
        + b"WAVEfmt "
        + form
        + b"data"
        + struct.pack("<I", claimed)
    )


def floats(**at: float) -> Callable[[Path], None]:
    """A tone as floats, with one sample that is none."""
    samples = TONE.astype(np.float32)
    samples[500] = at["sample"]
    return lambda path: soundfile.write(path, samples, 16000, subtype="FLOAT")


def sparse(header: bytes, size: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(header)
        os.truncate(path, len(header) + size)

    return make


def holding(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def bomb(path: Path) -> None:
    frames = [Image.new("P", (3000, 3000), n) for n in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def late_bomb(path: Path) -> None:
    """A small screen with a frame of 60,000 x 60,000."""
    Image.new("P", (16, 16)).save(path)
    content = bytearray(path.read_bytes())
    frame = content.index(b",", 13)
    content[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    path.write_bytes(content)


def cut(path: Path) -> None:
    Image.effect_noise((90, 60), 80).save(path)
    path.write_bytes(path.read_bytes()[:2000])


def turned_cmyk(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (60, 30), (10, 200, 30, 0)).save(path, exif=exif)


def moving(path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def multi_scan(path: Path) -> None:
    """A progressive JPEG that claims 3.6 gigapixels, whose coefficients would all be held in memory."""
    Image.new("RGB", (64, 64)).save(path, progressive=True)
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc2")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    path.write_bytes(content)


def mp3(path: Path) -> None:
    """Every third frame of an MP3 file begins with something else."""
    soundfile.write(path, np.tile(TONE, 4), 16000)
    content = bytearray(path.read_bytes())
    content[1440::432] = b"\0" * len(content[1440::432])
    path.write_bytes(content)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'

REFUSED: dict[str, tuple[Callable[[Path], object] | None, str]] = {
    "cut.png": (cut, "damaged"),
    "header.png": (holding(png(50_000, 50_000, b"\0" * 1000)), "too many pixels"),
    "screen.gif": (holding(b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(20)), "picture"),
    "late.gif": (late_bomb, "pixels"),
    "scans.jpg": (multi_scan, "at most 50,000,000 are read"),
    "damaged.mp3": (mp3, "damaged"),
    "picture.svg": (holding(SVG), "not a picture"),
    "text.png": (holding(b"Once upon a time. " * 50), "not a picture"),
    "empty.png": (Path.touch, "empty"),
    "folder.png": (Path.mkdir, "is a folder"),
    "pipe.png": (os.mkfifo, "a pipe or a device"),
    "missing.png": (None, "No such file"),
    "empty.wav": (Path.touch, "empty"),
    "header.wav": (holding(wav(0)), "contains no samples"),
    "hollow.wav": (holding(wav(2**32 - 1)), "contains no samples"),
    "claims_more.wav": (holding(wav(40_000_000) + PCM), "says 40,000,000 bytes"),
    "cut.wav": (holding(wav(32000)[:30]), "is not a readable audio file"),
    "nan.wav": (floats(sample=np.nan), "not finite"),
    "inf.wav": (floats(sample=-np.inf), "not finite"),
    "short.wav": (lambda path: soundfile.write(path, TONE[:100], 16000), "6.25 ms"),
    "ten_hours.wav": (sparse(wav(2 * 16000 * 36000), 2 * 16000 * 36000), "10.0 h"),
    "channels.wav": (holding(wav(32000, channels=1000) + PCM), "1000 channels"),
    "text.wav": (holding(b"Once upon a time. " * 50), "is not a readable audio file"),
    "folder.wav": (Path.mkdir, "is a folder"),
    "pipe.wav": (os.mkfifo, "a pipe or a device"),
    "missing.wav": (None, "No such file"),
}

ANSWERED: dict[str, Callable[[Path], object]] = {
    "one.png": lambda path: Image.new("RGB", (1, 1)).save(path),
    "high.png": lambda path: Image.new("RGB", (1, 60_000)).save(path),
    "moving.webp": moving,
    "bomb.gif": bomb,
    "turned.jpg": turned_cmyk,
    "photo.jpg": lambda path: Image.new("L", (12_000, 9_000), 255).save(path),
    "deep.png": lambda path: Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16).save(path),
    "palette.png": lambda path: Image.new("P", (40, 40), 3).save(path, transparency=3),
    "really_a.png": lambda path: Image.new("RGB", (40, 40)).save(path, format="JPEG"),
    "claims_unknown.wav": holding(wav(2**31) + PCM),
    "claims_nothing.wav": holding(wav(0) + PCM),
    "claims_less.wav": holding(wav(16000) + PCM),
}


@contextmanager
def bounded() -> Iterator[None]:
    """Fails if what is inside takes too long or too much memory."""
    begin = time.perf_counter()
    measured = _reset_peak()
    before = _kilobytes("VmRSS") if measured else 0
    yield
    assert time.perf_counter() - begin < SECONDS
    if measured:
        assert _kilobytes("VmHWM") - before < MEGABYTES << 10


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _kilobytes(name: str) -> int:
    return next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)
    )


def commands(path: Path) -> list[list[str]]:
    """What may be told to look at or listen to a file."""
    sees = path.suffix not in (".wav", ".mp3")
    shown = ["--image" if sees else "--audio", str(path)]
    asked = [["chat", "-m", "small", "What?", *shown], ["trace", "-m", "small", "What?", *shown]]
    return asked if sees else [asked[0], ["listen", "-m", "small", str(path)]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], trained: Path) -> Callable[..., tuple[int, str, list[str]]]:  # noqa: ARG001
    """Exit code, stdout, and the lines on stderr that do not say which model it is."""

    def call(words: list[str]) -> tuple[int, str, list[str]]:
        with pytest.raises(SystemExit) as left, bounded():
            main(words)
        out, err = capsys.readouterr()
        said = [line for line in err.splitlines() if not line.startswith(("model: ", "listening with "))]
        return int(left.value.code or 0), out, said

    return call


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused(
    name: str, run: Callable[..., tuple[int, str, list[str]]], tmp_path: Path
) -> None:
    make, reason = REFUSED[name]
    path = tmp_path / name
    if make is not None:
        make(path)
    for words in commands(path):
        code, out, said = run(words)
        assert code == 2
        assert out.strip() == ""
        assert [line.partition(": ")[0] for line in said] == ["error", "  fix"]
        assert reason in said[0]
        assert name in said[0]


@pytest.mark.parametrize("name", ANSWERED)
def test_what_is_only_odd_is_answered(
    name: str, run: Callable[..., tuple[int, str, list[str]]], tmp_path: Path
) -> None:
    path = tmp_path / name
    ANSWERED[name](path)
    for words in commands(path):
        code, out, said = run(words)
        assert (code, [line for line in said if "tokens are used" not in line]) == (0, [])
        assert out


def test_devices_are_refused(run: Callable[..., tuple[int, str, list[str]]]) -> None:
    for words in (["--image", "/dev/zero"], ["--audio", "/dev/zero"], ["--attach", "image=/dev/zero"]):
        code, _, said = run(["chat", "-m", "small", "What?", *words])
        assert code == 2
        assert "a pipe or a device" in said[0]

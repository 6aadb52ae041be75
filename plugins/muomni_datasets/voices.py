"""Speech programs that read training text aloud: flite, a command, and hibari, a Python package.

Both are far faster than speech (about 65 and 118 times real time on one core). A voice is varied by duration and pitch,
so that no text sounds the same twice.
"""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muomni_cli.api import RequestError

if TYPE_CHECKING:
    from hibari import Hibari

Program = Literal["flite", "hibari"]
Choice = Literal["auto", "flite", "hibari"]
"""What a recipe may ask for; "auto": flite where it is installed, else hibari."""

PITCH = {"slt": 172, "awb": 130, "kal16": 95, "rms": 100}
"""Mean pitch of flite's voices in Hz. rms is made of recordings and keeps its own pitch."""

HIBARI_PITCH = {"slt": 1.0, "awb": 0.86, "kal16": 0.78, "rms": 0.92}
"""Pitch and formants of hibari's one voice, relative to its own, where it stands in for a voice of flite."""

TIMEOUT = 60
"""Seconds that flite may take; it takes a fraction of one."""

INSTALL = "install one: apt install flite (Debian, Ubuntu), brew install flite (macOS), or pip install 'muomni[voices]'"


def choose_program(asked: Choice) -> Program:
    """The program that speaks.

    Raises:
        RequestError: it is not installed.
    """
    if asked != "hibari" and shutil.which("flite"):
        return "flite"
    if asked != "flite" and importlib.util.find_spec("hibari"):
        return "hibari"
    if asked == "auto":
        raise RequestError("no speech program is installed (flite or hibari)", INSTALL)
    raise RequestError(f"{asked}, which speaks these texts, is not installed", INSTALL)


def program_files(asked: Choice) -> list[Path]:
    """The file that decides how the chosen program sounds; none where no program is installed."""
    flite = shutil.which("flite")
    if asked != "hibari" and flite:
        return [Path(flite)]
    found = importlib.util.find_spec("hibari") if asked != "flite" else None
    return [Path(found.origin).parent / "assets" / "hibari.onnx"] if found and found.origin else []


def synthesize(program: Program, text: str, voice: str, stretch: float, pitch: float) -> bytes:
    """A text as WAV.

    Args:
        program: that speaks.
        text: printable English.
        voice: of flite; hibari stands in for it at :data:`HIBARI_PITCH`.
        stretch: duration, relative to the voice's own.
        pitch: relative to the voice's own.

    Raises:
        RequestError: the program failed.
    """
    if program == "flite":
        return _say_flite(text, voice, stretch, round(PITCH[voice] * pitch))
    return _say_hibari(text, stretch, HIBARI_PITCH[voice] * pitch)


def require_voices(program: Program, voices: Sequence[str]) -> None:
    """Refuse a voice that the installed flite does not have: it would speak with another one without a word.

    Raises:
        RequestError: naming the voices that it has.
    """
    if program != "flite":
        return
    told = subprocess.run([_flite(), "-lv"], stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    _, _, names = told.stdout.partition("Voices available:")
    lacking = sorted(set(voices) - set(names.split()))
    if names and lacking:
        raise RequestError(
            f"the program flite has no voice {', '.join(lacking)}", f"write voices = [...] of these: {names.strip()}"
        )


def _say_flite(text: str, voice: str, stretch: float, pitch: int) -> bytes:
    settings = ["--setf", f"duration_stretch={stretch}", "--setf", f"int_f0_target_mean={pitch}"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        command = [_flite(), "-voice", voice, *settings, "-t", text, "-o", str(file)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
            sound = file.read_bytes()
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise RequestError(f"flite did not say {text[:40]!r}: {error}", "leave that text out") from error
    if done.returncode:
        raise RequestError(f"flite failed on {text[:40]!r} (exit code {done.returncode})", "leave that text out")
    return sound


def _flite() -> str:
    program = shutil.which("flite")
    if program is None:
        raise RequestError("flite, which speaks these texts, is not installed", INSTALL)
    return program


def _say_hibari(text: str, stretch: float, pitch: float) -> bytes:
    """Pitch is changed by the sample rate that the file claims, so the formants move with it as between people; the
    speed makes up for the change of duration."""
    import soundfile  # type: ignore[import-untyped]

    engine = _hibari()
    speed = min(max(1 / (stretch * pitch), 0.5), 2.0)
    samples = engine(text, speed=speed, seed=zlib.crc32(text.encode()))
    if not len(samples):
        raise RequestError(f"hibari said nothing for {text[:40]!r}", "leave that text out")
    file = io.BytesIO()
    soundfile.write(file, samples.clip(-1, 1), round(engine.sample_rate * pitch), subtype="PCM_16", format="WAV")
    return file.getvalue()


@cache
def _hibari() -> Hibari:
    from hibari import Hibari

    return Hibari()

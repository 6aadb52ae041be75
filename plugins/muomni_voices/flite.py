"""The program flite: four voices inside, about 65 times faster than real time on one core."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError
from muomni_voices.plugin import FLITE_PITCH, INSTALL, FliteConfig

TIMEOUT = 60  # time limit in seconds; it usually takes a fraction of one


class FliteProgram:
    """A :class:`muomni_cli.contract.speech.SpeechProgram`. ``rms`` is concatenative and ignores the pitch."""

    def __init__(self, config: FliteConfig) -> None:
        self._config = config

    @property
    def file(self) -> Path | None:
        program = shutil.which("flite")
        return Path(program) if program else None

    def require(self, voices: Collection[str]) -> None:
        """Also checks that the installed program has the voices: it would silently use another one."""
        if self.file is None:
            raise RequestError("the program flite, which speaks these texts, is not installed", INSTALL)
        listed = subprocess.run(
            [str(self.file), "-lv"], stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True
        )  # fmt: skip
        _, _, names = listed.stdout.partition("Voices available:")
        lacking = ", ".join(sorted(set(voices) - set(names.split())))
        if names and lacking:
            raise RequestError(f"the program flite has no voice {lacking}", f"set voices to some of: {names.strip()}")

    def say(self, text: str, voice: str, stretch: float, pitch: float) -> tuple[NDArray[np.float32], int]:
        import soundfile  # type: ignore[import-untyped]

        mean = round(FLITE_PITCH[voice] * pitch)
        settings = ["--setf", f"duration_stretch={stretch}", "--setf", f"int_f0_target_mean={mean}"]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "speech.wav"
            command = [str(self.file), "-voice", voice, *settings, "-t", text, "-o", str(file)]
            try:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False
                )  # fmt: skip
                samples, rate = soundfile.read(file, dtype="float32")
            except (OSError, ValueError, RuntimeError, subprocess.TimeoutExpired) as error:
                raise RequestError(f"flite failed on {text[:40]!r}: {error}", "remove that text") from error
        if done.returncode:
            raise RequestError(f"flite failed on {text[:40]!r} (exit code {done.returncode})", "remove that text")
        return samples, rate

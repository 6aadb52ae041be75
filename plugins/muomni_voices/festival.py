"""The program festival, with the voices of Debian's festvox packages. One process speaks all texts."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Collection
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError
from muomni_voices.plugin import FESTIVAL_VOICES, INSTALL, FestivalConfig

DONE = "has been said"  # what the process prints after each text


class FestivalProgram:
    """A :class:`muomni_cli.contract.speech.SpeechProgram`."""

    def __init__(self, config: FestivalConfig) -> None:
        self._config = config

    @property
    def file(self) -> Path | None:
        program = shutil.which("festival")
        return Path(program) if program else None

    def require(self, voices: Collection[str]) -> None:
        if self.file is None:
            raise RequestError("the program festival, which speaks these texts, is not installed", INSTALL)
        listed = subprocess.run(
            [str(self.file), "--batch", "(print (voice.list))"], capture_output=True, check=False, text=True
        ).stdout  # fmt: skip
        for voice in voices:
            if FESTIVAL_VOICES[voice] not in listed:
                raise RequestError(f"festival has no voice {voice}", INSTALL)

    def say(self, text: str, voice: str, stretch: float, pitch: float) -> tuple[NDArray[np.float32], int]:
        """Pitch is changed by the sample rate, and the formants with it; the program's stretch compensates for the
        duration."""
        import soundfile  # type: ignore[import-untyped]

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "speech.wav"
            words = "".join(character for character in text if character not in '"\\')
            try:
                _process().say(FESTIVAL_VOICES[voice], words, stretch * pitch, file)
                samples, rate = soundfile.read(file, dtype="float32")
            except (OSError, RuntimeError) as error:
                _process.cache_clear()
                raise RequestError(f"festival failed on {text[:40]!r}: {error}", "remove that text") from error
        return samples, round(rate * pitch)


class _Process:
    def __init__(self) -> None:
        program = shutil.which("festival")
        assert program, "require comes first"
        self._running = subprocess.Popen(
            [program, "--pipe"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._voice = ""

    def say(self, voice: str, text: str, stretch: float, file: Path) -> None:
        asked = self._running.stdin
        heard = self._running.stdout
        assert asked is not None
        assert heard is not None
        if voice != self._voice:
            asked.write(f"(voice_{voice})\n")
            self._voice = voice
        asked.write(f"(Parameter.set 'Duration_Stretch {stretch:.3f})\n")
        if voice.endswith("_hts"):  # its engine has a rate of its own
            rate = f'(list (list "-r" {1 / stretch:.3f}))'
            asked.write(f"(set! hts_engine_params (append {rate} {voice}::hts_engine_params))\n")
        asked.write(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{file}" \'riff)\n')
        asked.write(f'(print "{DONE}") (fflush nil)\n')
        asked.flush()
        for line in heard:
            if DONE in line:
                return
        raise OSError("it ended")


@cache
def _process() -> _Process:
    return _Process()

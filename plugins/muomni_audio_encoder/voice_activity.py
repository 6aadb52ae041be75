"""Voice activity by energy: the level of speech in a recording, and the silence around it.

What is louder than the recording's own noise is active, whether speech or another sound. A recording without a quiet
part, such as a tone or noise alone, has no active part and is left as it is, because there is no telling speech from
background by energy.

Shapes: N samples, T tokens, S steps of :data:`muomni_audio_encoder.ctc.STEP` seconds.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from muomni_audio_encoder.ctc import STEP, loudness
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_cli.api import RequestError
from muomni_cli.audio import io

Wave = NDArray[np.float32]

BELOW = 30.0  # dB below the loudest part at which a sound counts as quiet
ABOVE = 5.0  # dB above the background up to which a noisy recording counts as quiet
LEAST = 12.0
"""dB below the loudest part at which it counts as quiet unless the background is steady: what has little background may
have quiet words instead."""

STEADY = 3.0  # dB between the percentiles QUIETEST and BACKGROUND of a steady background
ALONE = 8.0  # dB between background and loudest part below which a recording is noise or a tone alone
LOUDEST = 0.06  # seconds that are at least as loud as the loudest part: a click is shorter
QUIETEST, BACKGROUND = 5, 20  # percentiles of the loudness; the second is taken for the background's
SHORTEST = 0.04  # seconds of the shortest active part: clicks are shorter, syllables longer
MOST_GAIN = 60.0  # dB
MOST_SECONDS = 600.0  # of a recording from which silence is cut; it is held in memory


def active(levels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(S,) loudness in dB -> which steps hold speech or another sound; none in steady noise."""
    loud = min(round(LOUDEST / STEP), levels.size)
    top, (quietest, low) = np.partition(levels, -loud)[-loud], np.percentile(levels, (QUIETEST, BACKGROUND))
    if top - low < ALONE:
        return np.zeros(levels.size, bool)
    noisy = low + ABOVE if low - quietest < STEADY else min(low + ABOVE, top - LEAST)
    found: NDArray[np.bool_] = levels >= max(top - BELOW, noisy)
    turns = np.flatnonzero(np.diff(np.concatenate([[False], found, [False]])))
    for begin, end in zip(turns[::2], turns[1::2], strict=True):
        found[begin:end] = end - begin >= SHORTEST / STEP
    return found


def at_level(config: AudioEncoderConfig, wave: Wave) -> Wave:
    """(N,) samples with the level of their active part within ``config.level``; noise alone stays as quiet as it is."""
    if config.level is None:
        return wave
    levels = loudness(wave, config.sample_rate)
    speaking = active(levels)
    if not speaking.any():
        return wave
    level = 10 * np.log10((10 ** (levels[speaking] / 10)).mean())
    gain = np.clip(level, *config.level) - level
    return wave * np.float32(10 ** (min(gain, MOST_GAIN) / 20))


def kept(config: AudioEncoderConfig, wave: Wave) -> NDArray[np.bool_]:
    """Which tokens of (N,) samples stay, the last one perhaps incomplete: those within ``config.silence`` seconds of an
    active part; all if nothing is active."""
    tokens = -(-wave.size // config.shortest)
    if not config.silence:
        return np.ones(tokens, bool)
    speaking = np.flatnonzero(active(loudness(wave, config.sample_rate)))
    places = speaking * STEP * config.sample_rate / config.shortest
    around = config.silence * config.sample_rate / config.shortest
    edges = np.zeros(tokens + 1, np.int64)
    np.add.at(edges, np.floor(places - around).astype(np.int64).clip(0, tokens), 1)
    np.add.at(edges, np.floor(places + around + 1).astype(np.int64).clip(0, tokens), -1)
    stay: NDArray[np.bool_] = edges.cumsum()[:-1] > 0
    return stay if stay[: wave.size // config.shortest].any() else np.ones(tokens, bool)


def prepared(config: AudioEncoderConfig, wave: Wave) -> tuple[Wave, NDArray[np.bool_]]:
    """(N,) samples as the encoder takes them, at their level and without long silence, and the tokens that stayed."""
    wave = at_level(config, wave)
    stay = kept(config, wave)
    return (wave if stay.all() else wave[np.repeat(stay, config.shortest)[: wave.size]]), stay


def read(config: AudioEncoderConfig, file: BinaryIO, name: str) -> Wave:
    """:func:`muomni_cli.audio.io.read`, at the level of ``config.level`` and without silence beyond ``config.silence``.
    With the latter, a recording may be as long as :data:`MOST_SECONDS` if what stays is within ``max_seconds``."""
    if not config.silence:
        return at_level(config, io.read(config, file, name))
    longest = max(MOST_SECONDS, config.max_seconds)
    wave, _ = prepared(config, io.read(config.model_copy(update={"max_seconds": longest}), file, name))
    if (seconds := wave.size / config.sample_rate) > config.max_seconds:
        raise RequestError(
            f"{name} holds audio of {seconds:.4g} s besides silence; at most {config.max_seconds:.4g} s can be read",
            "cut it, or raise max_seconds of the encoder",
        )
    return wave

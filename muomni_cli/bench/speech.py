"""A whole voice, from text to samples: real-time factor and time to the first sound, sentence by sentence.

All vocoders that the run can speak with take turns on each sentence, so that a noisy machine troubles all alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from muomni_cli.api import Said
from muomni_cli.bench.report import machine
from muomni_cli.speaking.open import find_speaking_run, open_voice, speaking_with, usable_vocoders
from muomni_cli.speaking.speech import Drawing, Speech
from muomni_cli.speaking.voice import Voice
from muomni_cli.training.device import set_threads

SENTENCES = (
    "Yes.",
    "Good morning.",
    "Turn on the light.",
    "What time is it now?",
    "The dog is in the garden.",
    "Please open the red door.",
    "Seven four two nine one.",
    "She has a blue hat and a green coat.",
    "We will go to the sea tomorrow.",
    "The small boat came back before the rain.",
    "He gave me three apples and two pears.",
    "Can you tell me where the station is?",
    "My brother plays the piano every evening.",
    "The old man sat under a tree and read a book.",
    "Set a timer for twenty five minutes.",
    "There is nothing in the box but a letter.",
    "In the winter the birds fly south over the hills.",
    "I would like a cup of tea and a piece of bread.",
    "The teacher asked a question, and nobody knew the answer.",
    "When the sun went down, the children walked home along the river.",
)


@dataclass(frozen=True, slots=True)
class Spread:
    """What half of the sentences stay below, and what nineteen of twenty do."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class VoiceSpeed:
    """One vocoder over all sentences: real-time factors, milliseconds to the first sound, and the sound made."""

    vocoder: str
    factor: Spread
    first_ms: Spread
    seconds: float


def measure_speech(
    model: str | None, *, rounds: int, device: str, threads: int, progress: Callable[[str], None]
) -> list[VoiceSpeed]:
    """Speak every sentence ``rounds`` times with each vocoder.

    Args:
        model: which run speaks; see :func:`find_speaking_run`.
        rounds: how often; the best time of a sentence counts.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads; 0 for PyTorch's choice.
        progress: told what is measured.

    Raises:
        RequestError: no such run, or it cannot speak.
    """
    set_threads(threads)
    run = find_speaking_run(model)
    names: list[str | None] = [*usable_vocoders(run)] or [None]  # None: says what is missing
    opened = [open_voice(speaking_with(run, name), device) for name in names]
    voices = {voice.vocoder_name: voice for voice in opened}
    progress(f"measuring {run.root} with {', '.join(voices)}: {len(SENTENCES)} sentences, {rounds} rounds")
    return measure_voices(voices, SENTENCES, rounds)


def measure_voices(voices: Mapping[str, Voice], sentences: Sequence[str], rounds: int) -> list[VoiceSpeed]:
    """Let the voices take turns on each sentence; a first one is not counted."""
    spoken: dict[str, dict[str, list[Speech]]] = {name: {} for name in voices}
    for turn in range(-1, rounds):
        for sentence in sentences if turn >= 0 else sentences[:1]:
            for name, voice in voices.items():
                speech = Speech(voice.sample_rate)
                for _ in voice.say([Said(sentence)], voice.manner(), Drawing(), speech):
                    pass
                if turn >= 0 and speech.samples:
                    spoken[name].setdefault(sentence, []).append(speech)
    return [_speed(name, list(of.values())) for name, of in spoken.items() if of]


def _speed(name: str, sentences: list[list[Speech]]) -> VoiceSpeed:
    return VoiceSpeed(
        name,
        _spread([min(speech.factor for speech in times) for times in sentences]),
        _spread([min(1000 * (speech.first or 0.0) for speech in times) for times in sentences]),
        sum(times[0].seconds for times in sentences),
    )


def _spread(values: list[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0])
    return Spread(statistics.median(values), statistics.quantiles(values, n=20, method="inclusive")[-1])


def headings() -> tuple[str, ...]:
    """Over :func:`rows`."""
    return ("VOCODER", "RTF P50", "RTF P95", "FIRST MS P50", "FIRST MS P95", "SECONDS")


def rows(speeds: Sequence[VoiceSpeed]) -> list[tuple[str, ...]]:
    """One row a vocoder."""
    return [
        (
            one.vocoder,
            f"{one.factor.p50:.3f}",
            f"{one.factor.p95:.3f}",
            f"{one.first_ms.p50:.0f}",
            f"{one.first_ms.p95:.0f}",
            f"{one.seconds:.1f}",
        )
        for one in speeds
    ]


def as_json(speeds: Sequence[VoiceSpeed]) -> dict[str, Any]:
    """The same as plain data, with the machine it was measured on."""
    return {"machine": machine(("muomni", "torch")), "voices": [asdict(one) for one in speeds]}

"""A whole voice, from text to samples: real-time factor and time to the first sound, sentence by sentence.

All voices take turns on each sentence, so that a noisy machine troubles all alike: every vocoder that a run can speak
with, and other models, whatever runs them. Imports torch only to open those of a run.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from muomni_cli.bench.report import machine, short_names
from muomni_cli.contract.speech import Said
from muomni_cli.core.errors import RequestError
from muomni_cli.models.engines import CAN_SPEAK, open_found
from muomni_cli.models.find import find, named
from muomni_cli.speaking.speech import Drawing, Speech
from muomni_cli.speaking.voice import Voice, voice_of

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
class Ratio:
    """Our speed over theirs, sentence by sentence: above 1 means that we are faster."""

    p50: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """Who speaks: the model as it was named, and the vocoder it speaks with."""

    model: str
    vocoder: str


@dataclass(frozen=True, slots=True)
class VoiceSpeed:
    """One voice over all sentences: real-time factors, milliseconds to the first sound, and the sound made. ``ratio``:
    of the first model's real-time factors with the same vocoder, else with its first; None for its own."""

    model: str
    vocoder: str
    factor: Spread
    first_ms: Spread
    seconds: float
    ratio: Ratio | None = None


def measure_speech(
    model: str | None,
    versus: Sequence[str] = (),
    *,
    rounds: int,
    device: str,
    threads: int,
    progress: Callable[[str], None],
) -> list[VoiceSpeed]:
    """Speak every sentence ``rounds`` times with each voice.

    Args:
        model: which one speaks; see :func:`muomni_cli.models.find.find`.
        versus: others, with the vocoders of the first.
        rounds: how often; the best time of a sentence counts.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads; 0 leaves the choice to what runs.
        progress: told what is measured.

    Raises:
        RequestError: no such model, or it cannot speak.
    """
    models = [model or find(None, CAN_SPEAK).spec, *versus]
    voices: dict[Spoken, Voice] = {}
    for name, spec in short_names(models).items():
        wanted = [one.vocoder for one in voices] or None
        voices |= {Spoken(name, voice.vocoder_name): voice for voice in open_voices(spec, device, threads, wanted)}
    told = ", ".join(f"{one.model} with {one.vocoder}" for one in voices)
    progress(f"measuring {told}: {len(SENTENCES)} sentences, {rounds} rounds")
    return measure_voices(voices, SENTENCES, rounds)


def open_voices(model: str, device: str, threads: int, vocoders: Sequence[str] | None = None) -> list[Voice]:
    """The voices of a model, one for every vocoder that it can use.

    Args:
        model: a bundle or a run.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads; 0 leaves the choice to what runs.
        vocoders: those that are wanted, where the model has them.

    Raises:
        RequestError: no such model, it cannot speak, or it has none of ``vocoders``.
    """
    engine = open_found(named(model), device=device, threads=threads or None)
    usable = list(engine.vocoders)
    if len(usable) < 2:
        return [voice_of(engine)]
    names = [name for name in usable if vocoders is None or name.rpartition(":")[2] in vocoders]
    if not names:
        raise RequestError(f"{engine.label} has none of the vocoders {', '.join(vocoders or ())}", "name another model")
    return [voice_of(engine, name) for name in names]


def measure_voices(voices: Mapping[Spoken, Voice], sentences: Sequence[str], rounds: int) -> list[VoiceSpeed]:
    """Let the voices take turns on each sentence; a first one is not counted. The first voice's model is ours."""
    spoken: dict[Spoken, dict[str, list[Speech]]] = {who: {} for who in voices}
    for turn in range(-1, rounds):
        for sentence in sentences if turn >= 0 else sentences[:1]:
            for who, voice in voices.items():
                speech = Speech(voice.sample_rate)
                for _ in voice.say([Said(sentence)], voice.manner(), Drawing(), speech):
                    pass
                if turn >= 0 and speech.samples:
                    spoken[who].setdefault(sentence, []).append(speech)
    ours = next(iter(voices))
    return [
        _speed(
            who, said, None if who.model == ours.model else spoken.get(Spoken(ours.model, who.vocoder), spoken[ours])
        )
        for who, said in spoken.items()
        if said
    ]


def _speed(
    who: Spoken, sentences: Mapping[str, Sequence[Speech]], ours: Mapping[str, Sequence[Speech]] | None
) -> VoiceSpeed:
    factors = {sentence: min(speech.factor for speech in times) for sentence, times in sentences.items()}
    ratio = None
    if ours is not None:
        both = [theirs / min(speech.factor for speech in ours[s]) for s, theirs in factors.items() if s in ours]
        ratio = Ratio(statistics.median(both), min(both), max(both)) if both else None
    return VoiceSpeed(
        who.model,
        who.vocoder,
        _spread(list(factors.values())),
        _spread([min(1000 * (speech.first or 0.0) for speech in times) for times in sentences.values()]),
        sum(times[0].seconds for times in sentences.values()),
        ratio,
    )


def _spread(values: list[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0])
    return Spread(statistics.median(values), statistics.quantiles(values, n=20, method="inclusive")[-1])


def headings(speeds: Sequence[VoiceSpeed]) -> tuple[str, ...]:
    """Over :func:`rows`."""
    plain = ("VOCODER", "RTF P50", "RTF P95", "FIRST MS P50", "FIRST MS P95", "SECONDS")
    return ("MODEL", *plain, "OURS / THEIRS", "FROM", "TO") if _several(speeds) else plain


def rows(speeds: Sequence[VoiceSpeed]) -> list[tuple[str, ...]]:
    """One row a voice; models and ratios where there are several models."""
    table: list[tuple[str, ...]] = []
    for one in speeds:
        plain = (
            one.vocoder,
            f"{one.factor.p50:.3f}",
            f"{one.factor.p95:.3f}",
            f"{one.first_ms.p50:.0f}",
            f"{one.first_ms.p95:.0f}",
            f"{one.seconds:.1f}",
        )
        ratio = ("", "", "")
        if one.ratio is not None:
            ratio = (f"{one.ratio.p50:.2f}", f"{one.ratio.least:.2f}", f"{one.ratio.most:.2f}")
        table.append((one.model, *plain, *ratio) if _several(speeds) else plain)
    return table


def as_json(speeds: Sequence[VoiceSpeed]) -> dict[str, Any]:
    """The same as plain data, with the machine it was measured on."""
    return {"machine": machine(), "voices": [asdict(one) for one in speeds]}


def _several(speeds: Sequence[VoiceSpeed]) -> bool:
    return len({one.model for one in speeds}) > 1

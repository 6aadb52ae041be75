"""Text to speech (real-time factor, time to first audio) and cold starts of chat and tts."""

from __future__ import annotations

import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from muomni_cli.bench.report import BenchRow, Timed, machine, short_names, take_turns
from muomni_cli.contract.speech import TextChunk
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.models.engines import CAN_SPEAK, open_found
from muomni_cli.models.locate import model_named, resolve_model
from muomni_cli.voice.synthesis import SpeechSampling, SpeechStats, Voice, voice_of

TEXT = "Good morning."
# The first byte on stdout comes with the first token, even if it is empty: then the line ends.
CHAT = ("chat", TEXT, "--max-tokens", "1", "--temperature", "0")
TTS = ("tts", TEXT, "--raw", "-o", "-")  # without a header, so the first byte is audio
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


def measure_start(
    models: Sequence[str], *, rounds: int, device: str, threads: int, progress: Callable[[str], None]
) -> list[BenchRow]:
    """Cold start in a new process: a row for the first token of ``muomni chat``, and one for the first audio of
    ``muomni tts``, of the models that can do it.

    Args:
        models: runs or bundles; the first is ours.
        rounds: measured processes per model and command.
        device, threads: options of the commands; 0 threads for the runtime's default.
        progress: receives progress messages.

    Raises:
        RequestError: there is no such model, or the first one can do neither.
        MuomniError: a command failed.
    """
    named = short_names(models)
    parts = {name: set(open_found(model_named(model)).parts) for name, model in named.items()}
    options = ["--device", device, *(["--threads", str(threads)] if threads else [])]
    lines = []
    for what, words, needed in (("first token", CHAT, {"thinker"}), ("first audio", TTS, {"talker", "codec"})):
        able = [name for name, its in parts.items() if needed <= its]
        if able and able[0] == next(iter(named)):
            progress(f"measuring {words[0]}: {what}")
            processes = {name: _process([*words, "-m", named[name], *options]) for name in able}
            lines.append(BenchRow(f"{words[0]}: {what}", take_turns(processes, rounds=rounds), "start"))
    if not lines:
        raise RequestError(f"{models[0]} can neither chat nor speak", "name another model with -m")
    return lines


def first_byte(words: Sequence[str]) -> float:
    """Seconds from the start of ``muomni WORDS`` to its first byte on stdout; returns after it has exited. MuomniError
    if it failed, or wrote nothing."""
    command = [sys.executable, "-m", "muomni_cli", *words]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        came = process.stdout.read1(1)  # type: ignore[attr-defined]
        seconds = time.perf_counter() - begin
        told = process.communicate()[1].decode(errors="replace").strip().splitlines()
    if process.returncode or not came:
        said = next((line for line in told if line.startswith("error: ")), "it wrote nothing").removeprefix("error: ")
        raise MuomniError(f"muomni {words[0]} failed: {said}", f"run it to see why: {shlex.join(['muomni', *words])}")
    return seconds


def _process(words: Sequence[str]) -> Timed:
    return lambda: (1, first_byte(words))


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 95th percentile over the sentences."""

    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """Our speed divided by theirs, per sentence: above 1 means that ours is faster."""

    p50: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class BenchVoice:
    """The short name of a model, and one of its vocoders."""

    model: str
    vocoder: str


@dataclass(frozen=True, slots=True)
class VoiceSpeed:
    """One voice over all sentences: real-time factors, milliseconds to first audio, and seconds of audio. ``ratio``:
    the first model's speed with the same vocoder (else its first vocoder) over this one; None for the first model."""

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
        model: see :func:`muomni_cli.models.locate.resolve_model`.
        versus: models to compare with, using the vocoders of the first.
        rounds: repetitions; the best time of a sentence counts.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads; 0 for the runtime's default.
        progress: receives progress messages.

    Raises:
        RequestError: no such model, or it cannot speak.
    """
    models = short_names([model or resolve_model(None, CAN_SPEAK).spec, *versus])
    voices: dict[BenchVoice, Voice] = {}
    for name, spec in models.items():
        wanted = [one.vocoder for one in voices] or None
        voices |= {BenchVoice(name, voice.vocoder_name): voice for voice in _voices(spec, device, threads, wanted)}
    listed = ", ".join(f"{one.model} with {one.vocoder}" for one in voices)
    progress(f"measuring {listed}: {len(SENTENCES)} sentences, {rounds} rounds")
    spoken: dict[BenchVoice, dict[str, list[SpeechStats]]] = {who: {} for who in voices}
    for turn in range(-1, rounds):
        for sentence in SENTENCES if turn >= 0 else SENTENCES[:1]:  # the first turn is not measured
            for who, voice in voices.items():
                speech = SpeechStats(voice.sample_rate)
                for _ in voice.say([TextChunk(sentence)], voice.voice_settings(), SpeechSampling(), speech):
                    pass
                if turn >= 0 and speech.samples:
                    spoken[who].setdefault(sentence, []).append(speech)
    first = next(iter(voices))
    speeds = []
    for who, times in spoken.items():
        if times:
            peer = spoken.get(BenchVoice(first.model, who.vocoder), spoken[first])
            speeds.append(_speed(who, times, {} if who.model == first.model else peer))
    return speeds


def _voices(model: str, device: str, threads: int, vocoders: Sequence[str] | None) -> list[Voice]:
    """The voices of a model, one for each usable vocoder; only those of ``vocoders``, if given. RequestError if there
    is no such model, it cannot speak, or it has none of ``vocoders``."""
    engine = open_found(model_named(model), device=device, threads=threads or None)
    usable = list(engine.vocoders)
    if len(usable) < 2:
        return [voice_of(engine)]
    names = [name for name in usable if vocoders is None or name.rpartition(":")[2] in vocoders]
    if not names:
        raise RequestError(f"{engine.label} has none of the vocoders {', '.join(vocoders or ())}", "name another model")
    return [voice_of(engine, name) for name in names]


def _speed(
    who: BenchVoice, sentences: Mapping[str, Sequence[SpeechStats]], ours: Mapping[str, Sequence[SpeechStats]]
) -> VoiceSpeed:
    """``sentences``, ``ours``: the times of each sentence by this voice, and by the one it is compared with."""
    factors = {sentence: min(speech.factor for speech in times) for sentence, times in sentences.items()}
    both = [theirs / min(speech.factor for speech in ours[s]) for s, theirs in factors.items() if s in ours]
    return VoiceSpeed(
        who.model,
        who.vocoder,
        _spread(list(factors.values())),
        _spread([min(1000 * (speech.first or 0.0) for speech in times) for times in sentences.values()]),
        sum(times[0].seconds for times in sentences.values()),
        Ratio(statistics.median(both), min(both), max(both)) if both else None,
    )


def _spread(values: list[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0])
    return Spread(statistics.median(values), statistics.quantiles(values, n=20, method="inclusive")[-1])


def headings(speeds: Sequence[VoiceSpeed]) -> tuple[str, ...]:
    plain = ("VOCODER", "RTF P50", "RTF P95", "FIRST MS P50", "FIRST MS P95", "SECONDS")
    return ("MODEL", *plain, "OURS / THEIRS", "FROM", "TO") if _several(speeds) else plain


def rows(speeds: Sequence[VoiceSpeed]) -> list[tuple[str, ...]]:
    """A row per voice; with several models also names and ratios."""
    several = _several(speeds)
    table: list[tuple[str, ...]] = []
    for one in speeds:
        factors = f"{one.factor.p50:.3f}", f"{one.factor.p95:.3f}"
        firsts = f"{one.first_ms.p50:.0f}", f"{one.first_ms.p95:.0f}"
        plain = (one.vocoder, *factors, *firsts, f"{one.seconds:.1f}")
        ratio = ("", "", "")
        if one.ratio is not None:
            ratio = (f"{one.ratio.p50:.2f}", f"{one.ratio.least:.2f}", f"{one.ratio.most:.2f}")
        table.append((one.model, *plain, *ratio) if several else plain)
    return table


def as_json(speeds: Sequence[VoiceSpeed]) -> dict[str, Any]:
    """The results with the machine."""
    return {"machine": machine(), "voices": [asdict(one) for one in speeds]}


def _several(speeds: Sequence[VoiceSpeed]) -> bool:
    return len({one.model for one in speeds}) > 1

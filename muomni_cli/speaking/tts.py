"""``muomni tts`` from its options to its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.core.console import print_json, say
from muomni_cli.core.errors import RequestError
from muomni_cli.models.engines import CAN_SPEAK, open_engine
from muomni_cli.speaking.aloud import Ways, send, stats_line, tell
from muomni_cli.speaking.speech import Drawing, Speech, checked_speed
from muomni_cli.speaking.text import read_pieces
from muomni_cli.speaking.voice import voice_of
from muomni_cli.speaking.writing import STDOUT

if TYPE_CHECKING:
    from muomni_cli.speaking.voice import Voice


def tts(
    text: str | None,
    file: Path | None,
    ways: Ways,
    drawing: Drawing,
    *,
    voice: str | None = None,
    speed: float = 1.0,
    model: str | None = None,
    vocoder: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    json: bool = False,
    stats: bool = False,
) -> None:
    """Speak a text.

    Args:
        text: what to speak; see :func:`read_pieces`.
        file: where it stands otherwise.
        ways: where the samples go.
        drawing: how codes are drawn, and the longest speech.
        voice: the voice's name.
        speed: relative to its own.
        model: which model speaks; see :func:`muomni_cli.models.find.find`.
        vocoder: which vocoder, in place of the model's own.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads.
        json: print a report on stdout.
        stats: say how fast it was.

    Raises:
        RequestError: the text, the model or an option is wrong; nothing is written then.
    """
    if json and ways.output == STDOUT:
        raise RequestError("--json and -o - both want stdout", "write a file: -o out.wav --json")
    checked_speed(speed)
    pieces = read_pieces(text, file)
    opened = voice_of(open_engine(model, CAN_SPEAK, device=device, threads=threads), vocoder)
    manner = opened.manner(voice, speed)
    say(f"speaking with {opened.label} and {opened.vocoder_name}")
    speech = Speech(opened.sample_rate)
    with ways.open(opened.sample_rate) as write:
        send(opened.say(pieces, manner, drawing, speech), write, speech)
    tell(speech, ways, drawing.max_seconds)
    if stats:
        say(stats_line(speech))
    if json:
        print_json(report(speech, opened, ways, voice, drawing))


def report(speech: Speech, voice: Voice, ways: Ways, name: str | None, drawing: Drawing) -> dict[str, Any]:
    """What was spoken, as plain data."""
    names = list(voice.talker.voices)
    return {
        "file": ways.named,
        "seconds": round(speech.seconds, 4),
        "frames": speech.frames,
        "sample_rate": speech.rate,
        "real_time_factor": round(speech.factor, 4),
        "first_audio_ms": None if speech.first is None else round(1000 * speech.first, 1),
        "cut": speech.cut,
        "voice": name or (names[0] if names else None),
        "seed": drawing.seed,
        "model": voice.label,
        "vocoder": voice.vocoder_name,
    }

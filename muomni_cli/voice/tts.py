"""``muomni tts``: speak text from an argument, a file or stdin."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from muomni_cli.contract.speech import TextChunk
from muomni_cli.core.console import print_json, say
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import open_regular
from muomni_cli.data.media import refuse_url
from muomni_cli.models.engines import CAN_SPEAK, open_engine
from muomni_cli.voice.audio_out import STDOUT, AudioOutput, send, stats_line, tell
from muomni_cli.voice.synthesis import SpeechSampling, SpeechStats, checked_speed, voice_of

if TYPE_CHECKING:
    from muomni_cli.voice.synthesis import Voice

AT_ONCE = 1 << 16
"""Maximum bytes per read."""


def read_pieces(argument: str | None, file: Path | None) -> Iterator[TextChunk]:
    """Pieces of the text, lazily.

    Args:
        argument: the text; ``-`` is stdin, and so is None without a file if stdin is not a terminal.
        file: UTF-8 text file; ``-`` is stdin.

    Raises:
        RequestError: no text, two texts, an empty text, or an unreadable file.
    """
    if argument not in (None, "-") and file is not None:
        raise RequestError("both a text and a file are given", "give one of them")
    if argument not in (None, "-"):
        if not argument.strip():
            raise RequestError("the text is empty", 'give some: muomni tts "Hello." -o hello.wav')
        return iter([TextChunk(argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))])
    if file is not None and file != Path("-"):
        refuse_url(str(file))
        with open_regular(file) as opened:
            content = opened.read()
        _require_text(content, str(file))
        return iter([TextChunk(content.decode("utf-8-sig", "replace"))])
    if sys.stdin is None or (argument is None and file is None and sys.stdin.isatty()):
        raise RequestError("there is no text to speak", 'give some: muomni tts "Hello." -o hello.wav, or -i FILE')
    return _decoded(sys.stdin.buffer)


def _require_text(content: bytes, name: str) -> None:
    """RequestError unless it is text: no NUL, and at most a tenth of it is invalid UTF-8."""
    if b"\0" in content or 10 * content.decode("utf-8", "replace").count("\ufffd") > max(len(content), 20):
        raise RequestError(f"{name} is not a text file", "give a file of UTF-8 text")


def _decoded(file: BinaryIO) -> Iterator[TextChunk]:
    """Text as soon as it arrives; characters are never split."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    read = getattr(file, "read1", file.read)
    while data := read(AT_ONCE):
        _require_text(data, "stdin")
        if text := decoder.decode(data):
            yield TextChunk(text)
    if text := decoder.decode(b"", True):
        yield TextChunk(text)


def tts(
    text: str | None,
    file: Path | None,
    ways: AudioOutput,
    sampling: SpeechSampling,
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
    """Speak a text; the parameters are the options of ``muomni tts``, with ``ways`` for the outputs.

    Raises:
        RequestError: the text, the model or an option is invalid; nothing is written.
    """
    if json and ways.output == STDOUT:
        raise RequestError("--json and -o - both write to stdout", "write a file: -o out.wav --json")
    checked_speed(speed)
    pieces = read_pieces(text, file)
    opened = voice_of(open_engine(model, CAN_SPEAK, device=device, threads=threads), vocoder)
    voice_settings = opened.voice_settings(voice, speed)
    say(f"speaking with {opened.label} and {opened.vocoder_name}")
    speech = SpeechStats(opened.sample_rate)
    with ways.open(opened.sample_rate) as write:
        send(opened.say(pieces, voice_settings, sampling, speech), write, speech)
    tell(speech, ways, sampling.max_seconds)
    if stats:
        say(stats_line(speech))
    if json:
        print_json(report(speech, opened, ways, voice, sampling))


def report(
    speech: SpeechStats, voice: Voice, ways: AudioOutput, name: str | None, sampling: SpeechSampling
) -> dict[str, Any]:
    """The report of ``--json``."""
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
        "seed": sampling.seed,
        "model": voice.label,
        "vocoder": voice.vocoder_name,
    }

"""``muomni tts`` and ``muomni listen``."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from muomni_cli.commands.options import DeviceOption, ModelOption, ThreadsOption, VocoderOption, VoiceOption, as_unicode
from muomni_cli.core.console import print_json, say
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import is_stream, open_regular, replacing

if TYPE_CHECKING:
    from muomni_cli.contract.speech import TextChunk
    from muomni_cli.voice.synthesis import SpeechStats


def tts(
    text: Annotated[str | None, typer.Argument(help="Text to speak; - or a pipe reads stdin.")] = None,
    file: Annotated[
        Path | None, typer.Option("-i", "--input", metavar="FILE", help="Text file to speak; - is stdin.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Output file (.wav, .flac, .ogg, .mp3); - writes WAV to stdout."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write 16-bit little-endian samples without a header.")] = False,
    play: Annotated[bool, typer.Option("--play", help="Play the speech while it is generated.")] = False,
    voice: VoiceOption = None,
    speed: Annotated[float, typer.Option(help="Speaking rate from 0.5 to 2, relative to the voice's own.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same samples.")] = 0,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature; 0 is greedy (default: the model's own).")
    ] = None,
    max_seconds: Annotated[float, typer.Option(help="Maximum length of the speech, in seconds.")] = 3600.0,
    vocoder: VocoderOption = None,
    model: ModelOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON, with the times of the words.")] = False,
    srt: Annotated[
        Path | None, typer.Option("--srt", metavar="FILE", help="Write subtitles (SubRip) of the speech.")
    ] = None,
    stats: Annotated[bool, typer.Option("--stats", help="Print real-time factor and latency to stderr.")] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Speak a text: to a file, to stdout while it is generated, or through the loudspeaker."""
    from muomni_cli.contract.speech import VoiceSettings
    from muomni_cli.inference.transcription import timed
    from muomni_cli.models.engines import CAN_SPEAK, open_engine
    from muomni_cli.voice.audio_out import STDOUT, AudioOutput, progress, send, stats_line
    from muomni_cli.voice.synthesis import SpeechSampling, SpeechStats, voice_of

    audio_output = AudioOutput(output, raw, play)
    sampling = SpeechSampling(seed, temperature, max_seconds)
    if json and output == STDOUT:
        raise RequestError("--json and -o - both write to stdout", "write a file: -o out.wav --json")
    _check_subtitles(srt, output)
    VoiceSettings(speed=speed).require_speed()  # before the text is read
    pieces = _pieces(text, file)
    speaker = voice_of(open_engine(model, CAN_SPEAK, device=device, threads=threads), vocoder)
    voice_settings = speaker.voice_settings(voice, speed)
    speaker = speaker.of(voice)
    say(f"speaking with {speaker.label} and {speaker.vocoder_name}")
    speech = SpeechStats(speaker.sample_rate)
    with audio_output.open(speaker.sample_rate) as write:
        send(speaker.say(pieces, voice_settings, sampling, speech), write, speech)
        if srt is not None:
            _write_subtitles(srt, speech)
    written = None if output in (None, STDOUT) else str(output)
    if speech.limited:
        say(f"truncated after {max_seconds:g} seconds; --max-seconds allows more")
    for loss in speech.losses:
        say(loss)
    say(f"wrote {written}: {progress(speech)}" if written else f"spoke {progress(speech)}")
    if stats:
        say(stats_line(speech))
    if json:
        report = {
            "file": written,
            "seconds": round(speech.seconds, 4),
            "frames": speech.frames,
            "sample_rate": speech.rate,
            "real_time_factor": round(speech.factor, 4),
            "first_audio_ms": None if speech.first is None else round(1000 * speech.first, 1),
            "cut": speech.cut,
            "skipped": speech.skipped,
            "words": timed(speech.words),
            "voice": voice or next(iter(speaker.names), None),
            "seed": seed,
            "model": speaker.label,
            "vocoder": speaker.vocoder_name,
        }
        print_json(report)


def _check_subtitles(srt: Path | None, output: Path | None) -> None:
    """RequestError for a file of subtitles that cannot be written, before anything is synthesized."""
    if srt is None:
        return
    if srt == Path("-"):
        raise RequestError("--srt needs a file", "name one: --srt out.srt")
    if srt.is_dir():
        raise RequestError(f"{srt} is a folder", f"name a file in it: --srt {srt / 'out.srt'}")
    if output is not None and srt.absolute() == output.absolute():
        raise RequestError(f"{srt} is the file of the audio, too", "name another file: --srt out.srt")


def _write_subtitles(srt: Path, speech: SpeechStats) -> None:
    """RequestError if the Talker does not know when it says its words."""
    from muomni_cli.inference.transcription import subtitles

    if not speech.words:
        fix = "leave out --srt, or speak with another model"
        raise RequestError("this model does not know the times of its words", fix)
    with nullcontext(srt) if is_stream(srt) else replacing(srt) as target, target.open("w", encoding="utf-8") as file:
        file.writelines(subtitles(speech.words))


def _pieces(argument: str | None, file: Path | None) -> Iterator[TextChunk]:
    """Pieces of the text, lazily; stdin if the argument or the file is ``-``, or if neither is given and stdin is not a
    terminal. RequestError for no text, two texts, an empty text, or a file that is unreadable or not text."""
    from muomni_cli.contract.speech import TextChunk
    from muomni_cli.data.media import refuse_url

    if argument not in (None, "-") and file is not None:
        raise RequestError("both a text and a file are given", "give one of them")
    if argument not in (None, "-"):
        if not argument.strip():
            raise RequestError("the text is empty", 'give some: muomni tts "Hello." -o hello.wav')
        return iter([TextChunk(as_unicode(argument))])
    if file is not None and file != Path("-"):
        refuse_url(str(file))
        with open_regular(file) as opened:
            content = opened.read()
        _require_text(content, str(file))
        return iter([TextChunk(content.decode("utf-8-sig", "replace"))])
    if sys.stdin is None or (argument is None and file is None and sys.stdin.isatty()):
        raise RequestError("there is no text to speak", 'give some: muomni tts "Hello." -o hello.wav, or -i FILE')
    return (TextChunk(text) for text in _decoded(sys.stdin.buffer) if text)


def _decoded(file: BinaryIO) -> Iterator[str]:
    """Text as soon as it arrives; characters are never split."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    read = getattr(file, "read1", file.read)
    while data := read(1 << 16):
        _require_text(data, "stdin")
        yield decoder.decode(data)
    yield decoder.decode(b"", True)


def _require_text(content: bytes, name: str) -> None:
    """RequestError unless it is text: no NUL, and at most a tenth of it is invalid UTF-8."""
    if b"\0" in content or 10 * content.decode("utf-8", "replace").count("\ufffd") > max(len(content), 20):
        raise RequestError(f"{name} is not a text file", "give a file of UTF-8 text")


def listen(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Audio files of any length; - reads one from stdin.")
    ],
    model: ModelOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON with the times of the words.")] = False,
    srt: Annotated[bool, typer.Option("--srt", help="Print subtitles (SubRip).")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Output file; - is stdout.")] = None,
    beam: Annotated[int, typer.Option(min=0, max=1000, help="Beam size; 0 is greedy decoding.")] = 0,
    max_seconds: Annotated[float, typer.Option(min=0.01, help="Maximum length of a file, in seconds.")] = 4 * 3600,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Transcribe audio files; each word is printed as soon as it is final."""
    from muomni_cli.data.media import media_at, refuse_url, require_one_stdin
    from muomni_cli.inference.model import Model
    from muomni_cli.inference.transcription import write_json, write_lines, write_subtitles
    from muomni_cli.models.engines import CAN_TRANSCRIBE, open_engine, transcribing

    if json and srt:
        raise RequestError("--json and --srt exclude each other", "choose one")
    for file in files:
        refuse_url(file)
    if srt and len(files) > 1:
        raise RequestError("subtitles are written for one file at a time", "name one file with --srt")
    require_one_stdin(files)
    write_transcripts = write_json if json else write_subtitles if srt else write_lines
    with Model(open_engine(model, CAN_TRANSCRIBE, device=device, threads=threads)) as opened:
        part, _ = transcribing(opened.engine)
        media = [media_at(part.modality, path) for path in files]
        for one in media:  # report an unreadable file before the first is transcribed
            one.open().close()
        say(f"listening with {opened.engine.source(part.modality)}")
        heard = [(one.name, opened.words_of(one, beam=beam, max_seconds=max_seconds)) for one in media]
        if output is None or output == Path("-"):
            write_transcripts(heard, lambda piece: print(piece, end="", flush=True))
            return
        streamed = nullcontext(output) if is_stream(output) else replacing(output)
        with streamed as target, target.open("w", encoding="utf-8", buffering=1) as written:
            write_transcripts(heard, written.write)
    say(f"wrote {output}")

"""``muomni tts`` and ``muomni listen``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.commands.options import DeviceOption, ModelOption, ThreadsOption, VocoderOption, VoiceOption
from muomni_cli.core.errors import RequestError


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
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Print real-time factor and latency to stderr.")] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Speak a text: to a file, to stdout while it is generated, or through the loudspeaker."""
    from muomni_cli.voice.audio_out import AudioOutput
    from muomni_cli.voice.synthesis import SpeechSampling
    from muomni_cli.voice.tts import tts as speak

    speak(
        text,
        file,
        AudioOutput(output, raw, play),
        SpeechSampling(seed, temperature, max_seconds),
        voice=voice,
        speed=speed,
        model=model,
        vocoder=vocoder,
        device=device,
        threads=threads,
        json=json,
        stats=stats,
    )


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
    from muomni_cli.data.media import refuse_url
    from muomni_cli.inference.transcription import listen as transcribe

    if json and srt:
        raise RequestError("--json and --srt exclude each other", "choose one")
    for file in files:
        refuse_url(file)
    transcribe(
        files,
        model,
        kind="json" if json else "srt" if srt else "text",
        beam=beam,
        max_seconds=max_seconds,
        device=device,
        threads=threads,
        output=None if output == Path("-") else output,
    )

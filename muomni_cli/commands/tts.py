"""``muomni tts``: a text spoken aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.commands.options import ModelOption


def tts(
    text: Annotated[str | None, typer.Argument(help="What to speak; - or a pipe reads stdin.")] = None,
    file: Annotated[
        Path | None, typer.Option("-i", "--input", metavar="FILE", help="Speak this file; - is stdin.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write there (wav, flac, ogg, mp3); - is WAV on stdout.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write 16-bit little-endian samples without a header.")] = False,
    play: Annotated[bool, typer.Option("--play", help="Play it while it is made.")] = False,
    voice: Annotated[str | None, typer.Option(help="A voice of the model, by name (default: its first).")] = None,
    speed: Annotated[float, typer.Option(help="From 0.5 to 2, relative to the voice's own.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same samples.")] = 0,
    temperature: Annotated[
        float | None, typer.Option(help="0 always takes the most likely code (default: the model's own).")
    ] = None,
    max_seconds: Annotated[float, typer.Option(help="Longest speech, in seconds.")] = 3600.0,
    vocoder: Annotated[str | None, typer.Option(metavar="NAME", help="Use this vocoder, not the run's own.")] = None,
    model: ModelOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print a report as JSON.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Say on stderr how fast it was.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Speak a text: to a file, to stdout as it is made, or to the loudspeaker."""
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

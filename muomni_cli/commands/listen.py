"""``muomni listen``: transcribe audio files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.commands.options import DeviceOption, ModelOption, ThreadsOption
from muomni_cli.core.errors import RequestError


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
    from muomni_cli.data.media_arguments import refuse_url
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

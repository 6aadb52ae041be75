"""``muomni listen``: what is said in sound files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.commands.options import ModelOption
from muomni_cli.core.errors import RequestError


def listen(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Sound files, of any length; - reads one from stdin.")
    ],
    model: ModelOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: words with times.")] = False,
    srt: Annotated[bool, typer.Option("--srt", help="Print subtitles (SubRip).")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write there; - is stdout.")] = None,
    beam: Annotated[int, typer.Option(min=0, max=1000, help="Texts kept in the search; 0 is greedy.")] = 0,
    max_seconds: Annotated[float, typer.Option(min=0.01, help="Longest file, in seconds.")] = 4 * 3600,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Transcribe sound files: each word appears as soon as it is sure."""
    from muomni_cli.data.media_arguments import refuse_url
    from muomni_cli.inference.transcription import listen as transcribe

    if json and srt:
        raise RequestError("--json and --srt cannot both be had", "choose one")
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

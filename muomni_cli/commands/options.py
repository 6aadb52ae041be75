"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

ModelOption = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="Run, bundle or installed model, by folder or name (default: $MUOMNI_MODEL, else the newest run).",
    ),
]
RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="Recipe file or name.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe settings to change, as TOML values.")
]
ImageOption = Annotated[list[str] | None, typer.Option(metavar="FILE", help="Image to show; repeatable.")]
AudioOption = Annotated[list[str] | None, typer.Option(metavar="FILE", help="Audio to play, - from stdin; repeatable.")]
AttachOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=FILE", help="Input file of modality NAME, if the model supports it; repeatable."),
]
LoopGuardOption = Annotated[
    bool | None,
    typer.Option(
        "--loop-guard/--no-loop-guard", help="Stop an answer before it repeats itself (default: as in the recipe)."
    ),
]
VoiceOption = Annotated[str | None, typer.Option(help="Voice name (default: the model's first voice).")]
VocoderOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Vocoder to use (default: the one of the run).")
]
DeviceOption = Annotated[str, typer.Option(help="Device: auto, cpu, cuda or cuda:1.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Number of CPU threads.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def media_words(image: list[str] | None, audio: list[str] | None, attach: list[str] | None) -> list[str]:
    """The media options as ``NAME=FILE`` words. RequestError for a word without a file."""
    from muomni_cli.data.media import check_words

    words = [f"image={path}" for path in image or []] + [f"audio={path}" for path in audio or []] + (attach or [])
    check_words(words)
    return words


def as_unicode(text: str) -> str:
    """``text`` with U+FFFD for bytes that are not UTF-8, which the system passes on as lone surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

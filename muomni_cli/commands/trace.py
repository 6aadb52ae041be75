"""``muomni trace``: what happens to a question inside the model, step by step.

muomni trace "What do you see?" --image x.png --audio y.wav --speech --html
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.commands.options import (
    AttachOption,
    AudioOption,
    DeviceOption,
    ImageOption,
    LoopGuardOption,
    ModelOption,
    ThreadsOption,
    media_words,
)
from muomni_cli.core.console import print_json, say
from muomni_cli.core.errors import RequestError


def trace(
    text: Annotated[str | None, typer.Argument(help="Question to trace; - reads stdin.")] = None,
    image: ImageOption = None,
    audio: AudioOption = None,
    attach: AttachOption = None,
    model: ModelOption = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Trace an untrained model of this recipe, with random weights.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Maximum tokens of the answer.")] = 8,
    loop_guard: LoopGuardOption = None,
    speech: Annotated[bool, typer.Option("--speech", help="Also trace speaking the answer; needs a Talker.")] = False,
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="torch traces inside every part, bundle the graphs of an exported model (default: torch if possible).",
        ),
    ] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of steps.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="[FILE.html]",
            help="Write an HTML page with the steps and pictures of them (default: trace.html) instead of text.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Show every step of an answer: shapes, counts, times, and statistics of the actual tensors."""
    if json and markdown:
        raise RequestError("--json and --markdown exclude each other", "choose one")
    if engine not in ("auto", "torch", "bundle"):
        raise RequestError(f"there is no engine {engine!r}", "write --engine torch or --engine bundle")
    if model and recipe:
        raise RequestError("-m names a trained model and --recipe an untrained one", "choose one")
    from muomni_cli.commands.chat_output import read_prompt
    from muomni_cli.models.engines import CAN_CHAT
    from muomni_cli.models.locate import SPEECH, resolve_capable
    from muomni_cli.trace.report import as_json, as_markdown, as_text
    from muomni_cli.trace.request import TraceRequest, engine_to_trace, recipe_to_trace
    from muomni_cli.trace.request import trace as run

    media = media_words(image, audio, attach)
    request = TraceRequest(
        "" if text is None else read_prompt(text) or "", media, tokens, speech, loop_guard, html is not None
    )
    if recipe is not None:
        opened = recipe_to_trace(recipe, device, threads)
    else:
        abilities = {word.partition("=")[0] for word in media} | ({SPEECH} if speech else set())
        opened = engine_to_trace(resolve_capable(model, CAN_CHAT, abilities), engine, device, threads)
    traced = run(opened, request, untrained=recipe is not None)
    if html is not None:
        from muomni_cli.trace.page import write_page

        write_page(html, traced, opened, request)
        say(f"wrote {html}: open it in a browser")
    if json:
        print_json(as_json(traced.steps))
    elif markdown or html is None:
        print(as_markdown(traced.steps) if markdown else as_text(traced.steps))

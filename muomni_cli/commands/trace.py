"""``muomni trace``: what happens to a question inside the model, step by step."""

from __future__ import annotations

from typing import Annotated

import typer

from muomni_cli.console import print_json, say
from muomni_cli.errors import RequestError


def trace(
    text: Annotated[str | None, typer.Argument(help="What to ask; - reads stdin.")] = None,
    image: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Show a picture; may be given again.")] = None,
    audio: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Play a sound; may be given again.")] = None,
    attach: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="An input of any modality that the model takes.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="A run's folder or name (default: $MUOMNI_MODEL or the newest).")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Instead of a trained model: a recipe with random weights.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to answer with.")] = 8,
    speech: Annotated[bool, typer.Option("--speech", help="Trace the spoken answer, too: needs a Talker.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: a list of steps.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Show every step of an answer: shapes, counts, times, and the statistics of the real tensors."""
    if json and markdown:
        raise RequestError("--json and --markdown cannot both be had", "choose one")
    if model and recipe:
        raise RequestError("-m names a trained model and --recipe an untrained one", "choose one")
    from muomni_cli.chat.attachments import attachments
    from muomni_cli.chat.terminal import read_prompt
    from muomni_cli.trace.aloud import trace_speech
    from muomni_cli.trace.open import open_recipe, open_recipe_mouth, open_run, open_run_mouth
    from muomni_cli.trace.report import as_json, as_markdown, as_text
    from muomni_cli.trace.run import answer_of
    from muomni_cli.trace.run import trace as run_trace
    from muomni_cli.training.device import set_threads

    asked = "" if text is None else read_prompt(text) or ""
    set_threads(threads or 0)
    words = [f"image={path}" for path in image or []] + [f"audio={path}" for path in audio or []] + (attach or [])
    mouth = (open_recipe_mouth(recipe, device) if recipe else open_run_mouth(model, device)) if speech else None
    lines = []
    if mouth is None or mouth.thinks:
        subject = open_recipe(recipe, device) if recipe else open_run(model, device)
        lines = run_trace(subject, asked, attachments(words, subject.model.senses), tokens, say)
    elif words:
        raise RequestError("this model has no Thinker, so it can neither see nor hear", "trace text alone")
    if mouth is not None:
        # What random weights answer is noise, of which hardly anything can be spoken.
        lines += trace_speech(mouth, asked if recipe else answer_of(lines) or asked)
    if json:
        print_json(as_json(lines))
    else:
        print(as_markdown(lines) if markdown else as_text(lines))

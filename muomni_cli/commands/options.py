"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.core.errors import RequestError

if TYPE_CHECKING:
    from muomni_cli.contract.form import Form

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
SystemOption = Annotated[str | None, typer.Option(help="System message.")]
TemperatureOption = Annotated[float | None, typer.Option(help="Sampling temperature; 0 is greedy.")]
TopKOption = Annotated[int | None, typer.Option(help="Sample from the k most likely tokens; 0 for all.")]
TopPOption = Annotated[
    float | None, typer.Option(help="Nucleus sampling: sample from the fewest tokens with this total probability.")
]
MinPOption = Annotated[
    float | None, typer.Option(help="Drop tokens less likely than this fraction of the most likely one.")
]
RepetitionPenaltyOption = Annotated[
    float | None, typer.Option(help="Penalty for tokens that occurred before; 1 for none.")
]
LoopGuardOption = Annotated[
    bool | None,
    typer.Option(
        "--loop-guard/--no-loop-guard", help="Stop an answer before it repeats itself (default: as in the recipe)."
    ),
]
ChoicesOption = Annotated[
    list[str] | None,
    typer.Option(metavar="A,B,...", help="Answer with one of these texts; repeat the option for texts with commas."),
]
JsonSchemaOption = Annotated[
    str | None, typer.Option(metavar="FILE|JSON", help="Answer with JSON of this JSON Schema.")
]
RegexOption = Annotated[str | None, typer.Option(metavar="RE", help="Answer with a match of this regular expression.")]
GrammarOption = Annotated[
    str | None, typer.Option(metavar="FILE|TEXT", help="Answer with a text of this Lark grammar.")
]
VoiceOption = Annotated[str | None, typer.Option(help="Voice name (default: the model's first voice).")]
VocoderOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Vocoder to use (default: the one of the run).")
]
DeviceOption = Annotated[
    str, typer.Option(help="Device: auto, cpu, cuda or cuda:1; for bundles also coreml, directml, openvino, tensorrt, "
    "webgpu.")
]  # fmt: skip
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Number of CPU threads.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def media_words(image: list[str] | None, audio: list[str] | None, attach: list[str] | None) -> list[str]:
    """The media options as ``NAME=FILE`` words. RequestError for a word without a file."""
    from muomni_cli.data.media import check_words

    words = [f"image={path}" for path in image or []] + [f"audio={path}" for path in audio or []] + (attach or [])
    check_words(words)
    return words


def form_option(
    choices: list[str] | None, json_schema: str | None, regex: str | None, grammar: str | None
) -> Form | None:
    """The form that one of the options asks for. RequestError for several, or for a form that cannot be enforced."""
    options: dict[str, object] = {
        "choices": choices, "json_schema": json_schema, "regex": regex, "grammar": grammar,
    }  # fmt: skip
    given = {kind: value for kind, value in options.items() if value is not None and value != []}
    if not given:
        return None
    if len(given) > 1:
        first, second = [f"--{kind.replace('_', '-')}" for kind in given][:2]
        raise RequestError(f"{first} and {second} cannot be combined", "give one of them")
    from muomni_cli.structured_output.grammar import read_form

    ((kind, value),) = given.items()
    if kind == "choices" and choices is not None and len(choices) == 1:
        value = [choice.strip() for choice in choices[0].split(",")]
    return read_form(kind, value)


def as_unicode(text: str) -> str:
    """``text`` with U+FFFD for bytes that are not UTF-8, which the system passes on as lone surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

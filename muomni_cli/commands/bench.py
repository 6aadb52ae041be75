"""``muomni bench``: how fast, as a ratio against a peer that takes turns with us in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.commands.options import ModelOption
from muomni_cli.core.console import print_json, print_table, say
from muomni_cli.core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from muomni_cli.bench.report import BenchRow, Comparison
    from muomni_cli.bench.workload import Workload
    from muomni_cli.recipe import Recipe

RECIPE = "omni"
"""The one that is measured where nothing is named."""

app = typer.Typer(no_args_is_help=True, help="Measure speed against a peer, in alternating runs.")

RecipeArgument = Annotated[
    str | None, typer.Argument(metavar="[RECIPE]", help="A recipe's file or name (default: omni).")
]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe.")]
Versus = Annotated[bool, typer.Option("--vs-transformers", help="Against transformers (pip install 'muomni[bench]').")]
Vary = Annotated[
    list[str] | None,
    typer.Option(metavar="'KEY=VALUE ...'", help="Measure also with this: batch=, length=, count= or recipe keys."),
]
Bundle = Annotated[
    str | None,
    typer.Option(
        "-m", "--model", metavar="BUNDLE", help="Measure this, in place of a recipe: a folder, or an installed model."
    ),
]
VersusModel = Annotated[
    list[str] | None,
    typer.Option("--vs", metavar="MODEL", help="Against this run or bundle; may be given again."),
]
VersusBundle = Annotated[
    list[str] | None,
    typer.Option("--vs", metavar="torch|BUNDLE", help="Against its parts in PyTorch, or another; may be given again."),
]
Rounds = Annotated[int, typer.Option(min=1, help="Counted rounds.")]
Batch = Annotated[int, typer.Option(min=1, help="Rows.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves the choice to what runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: every round, and the machine.")]


@app.callback()
def bench() -> None:
    """Measure speed against a peer, in alternating runs."""


@app.command()
def train(
    recipe: RecipeArgument = None,
    overrides: Overrides = None,
    vs_transformers: Versus = False,
    vary: Vary = None,
    batch: Batch = 8,
    length: Annotated[int, typer.Option(min=1, help="Tokens of a sequence.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Steps a round.")] = 2,
    rounds: Rounds = 5,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Whole training steps of the Thinker, in tokens a second."""
    from muomni_cli.bench.parts import compare_training
    from muomni_cli.bench.workload import Workload

    work = Workload(batch, length, steps, rounds, device, threads)
    _run(compare_training, recipe, overrides or [], work, vary or [], vs_transformers, json)


@app.command()
def generate(
    recipe: RecipeArgument = None,
    overrides: Overrides = None,
    vs_transformers: Versus = False,
    model: Bundle = None,
    vs: VersusBundle = None,
    vary: Vary = None,
    batch: Batch = 1,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of the prompt.")] = 35,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 128,
    prefill: Annotated[
        int, typer.Option(min=0, help="With -m: tokens of a prompt that is only read; 0 for none.")
    ] = 256,
    rounds: Rounds = 11,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Greedy generation with a cache, in new tokens a second; of a bundle, reading a prompt as well."""
    from muomni_cli.bench.workload import Workload

    _require_one(model, recipe, vs_transformers, vs)
    work = Workload(batch, prompt, tokens, rounds, device, threads, prefill)
    if model is not None:
        from muomni_cli.bench.bundles import measure_generation

        _report(measure_generation(model, vs or [], work, vary or [], progress=say), json)
        return
    from muomni_cli.bench.parts import compare_generation

    _run(compare_generation, recipe, overrides or [], work, vary or [], vs_transformers, json)


@app.command()
def encode(
    recipe: RecipeArgument = None,
    overrides: Overrides = None,
    vs_transformers: Versus = False,
    model: Bundle = None,
    vs: VersusBundle = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows, in training.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Training steps a round.")] = 2,
    rounds: Rounds = 7,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """The encoders: one input after the other, and, of a recipe, whole training steps, in inputs a second."""
    from muomni_cli.bench.workload import Workload

    _require_one(model, recipe, vs_transformers, vs)
    work = Workload(batch, 0, steps, rounds, device, threads)
    if model is not None:
        from muomni_cli.bench.bundles import measure_encoding

        _report(measure_encoding(model, vs or [], work, progress=say), json)
        return
    from muomni_cli.bench.parts import compare_encoders
    from muomni_cli.recipe import load_recipe

    loaded = load_recipe(recipe or RECIPE, overrides or [])
    _report(compare_encoders(loaded, work, versus=vs_transformers, progress=say), json)


@app.command()
def tts(
    model: ModelOption = None,
    vs: VersusModel = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each sentence is spoken; the best counts.")] = 1,
    device: Device = "auto",
    threads: Threads = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with the machine.")] = False,
) -> None:
    """A trained voice: real-time factor and time to the first sound, with every vocoder it can use."""
    from muomni_cli.bench import speech

    speeds = speech.measure_speech(model, vs or [], rounds=rounds, device=device, threads=threads, progress=say)
    if json:
        print_json(speech.as_json(speeds))
        return
    print_table(speech.headings(speeds), speech.rows(speeds))


@app.command()
def start(
    model: Annotated[str, typer.Option("-m", "--model", help="A bundle, a run's folder or its name.")],
    vs: VersusModel = None,
    rounds: Annotated[int, typer.Option(min=1, help="Counted processes of each kind.")] = 7,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Cold starts: from the start of a process to the first token of chat, and to the first sound of tts."""
    from muomni_cli.bench.speech import measure_start

    models = [model, *(vs or [])]
    _report(measure_start(models, rounds=rounds, device=device, threads=threads, progress=say), json)


def _require_one(model: str | None, recipe: str | None, vs_transformers: bool, vs: list[str] | None) -> None:
    """Refuse what would be measured in two ways, or in none."""
    if model is None and vs:
        raise RequestError("--vs measures a bundle, and there is none", "name one with -m, or use --vs-transformers")
    if model is not None and recipe is not None:
        raise RequestError(f"both a bundle and the recipe {recipe} are named", "leave one out")
    if model is not None and vs_transformers:
        raise RequestError("--vs-transformers measures a recipe", "leave -m out, or measure --vs torch")


def _run(
    compare: Callable[[Recipe, Workload, Sequence[str]], Comparison],
    recipe: str | None,
    overrides: list[str],
    work: Workload,
    vary: list[str],
    vs_transformers: bool,
    json: bool,
) -> None:
    from muomni_cli.bench.workload import measure

    peers = ["transformers"] if vs_transformers else []
    _report(measure(compare, recipe or RECIPE, overrides, work, vary, peers, progress=say), json)


def _report(lines: list[BenchRow], json: bool) -> None:
    from muomni_cli.bench.report import as_json, by_unit, headings, machine, rows

    if json:
        print_json(as_json(lines))
        return
    for number, (unit, alike) in enumerate(by_unit(lines).items()):
        if number:
            print()
        print_table(headings(unit), rows(alike))
    say("  ".join(f"{key} {value}" for key, value in machine().items()))

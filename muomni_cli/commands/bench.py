"""``muomni bench``: how fast, as a ratio against a peer that takes turns with us in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.console import print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from muomni_cli.bench.measure import Comparison
    from muomni_cli.bench.report import Line
    from muomni_cli.bench.thinker import Workload
    from muomni_cli.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="Measure speed against a peer, in alternating runs.")

RecipeArgument = Annotated[str, typer.Argument(metavar="[RECIPE]", help="A recipe's file or name.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe.")]
Versus = Annotated[bool, typer.Option("--vs-transformers", help="Against transformers (pip install 'muomni[bench]').")]
Vary = Annotated[
    list[str] | None,
    typer.Option(metavar="'KEY=VALUE ...'", help="Measure also with this: batch=, length=, count= or recipe keys."),
]
Rounds = Annotated[int, typer.Option(min=1, help="Counted rounds.")]
Batch = Annotated[int, typer.Option(min=1, help="Rows.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0 for PyTorch's choice.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: every round, and the machine.")]


@app.callback()
def bench() -> None:
    """Measure speed against a peer, in alternating runs."""


@app.command()
def train(
    recipe: RecipeArgument = "omni",
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
    from muomni_cli.bench.thinker import Workload, compare_training

    work = Workload(batch, length, steps, rounds, device, threads)
    _run(compare_training, recipe, overrides or [], work, vary or [], vs_transformers, json)


@app.command()
def generate(
    recipe: RecipeArgument = "omni",
    overrides: Overrides = None,
    vs_transformers: Versus = False,
    vary: Vary = None,
    batch: Batch = 1,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of the prompt.")] = 35,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 128,
    rounds: Rounds = 11,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Greedy generation with a cache, in new tokens a second."""
    from muomni_cli.bench.thinker import Workload, compare_generation

    work = Workload(batch, prompt, tokens, rounds, device, threads)
    _run(compare_generation, recipe, overrides or [], work, vary or [], vs_transformers, json)


@app.command()
def encode(
    recipe: RecipeArgument = "omni",
    overrides: Overrides = None,
    vs_transformers: Versus = False,
    batch: Annotated[int, typer.Option(min=1, help="Rows, in training.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Training steps a round.")] = 2,
    rounds: Rounds = 7,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """The encoders: one input after the other, and whole training steps, in inputs a second."""
    from muomni_cli.bench.encoders import compare_encoders
    from muomni_cli.bench.thinker import Workload
    from muomni_cli.recipe import load_recipe

    work = Workload(batch, 0, steps, rounds, device, threads)
    lines = compare_encoders(load_recipe(recipe, overrides or []), work, versus=vs_transformers, progress=say)
    _report(lines, "input", json)


@app.command()
def tts(
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="A run's folder or name (default: $MUOMNI_MODEL or the newest).")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each sentence is spoken; the best counts.")] = 1,
    device: Device = "auto",
    threads: Threads = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with the machine.")] = False,
) -> None:
    """A trained voice: real-time factor and time to the first sound, with every vocoder it can use."""
    from muomni_cli.bench import speech

    speeds = speech.measure_speech(model, rounds=rounds, device=device, threads=threads, progress=say)
    if json:
        print_json(speech.as_json(speeds))
        return
    print_table(speech.headings(), speech.rows(speeds))


def _run(
    compare: Callable[[Recipe, Workload, Sequence[str]], Comparison],
    recipe: str,
    overrides: list[str],
    work: Workload,
    vary: list[str],
    vs_transformers: bool,
    json: bool,
) -> None:
    from muomni_cli.bench.variations import measure

    peers = ["transformers"] if vs_transformers else []
    _report(measure(compare, recipe, overrides, work, vary, peers, progress=say), "token", json)


def _report(lines: list[Line], unit: str, json: bool) -> None:
    from muomni_cli.bench.report import as_json, headings, machine, rows

    if json:
        print_json(as_json(lines))
        return
    print_table(headings(unit), rows(lines))
    others = [one.name for line in lines for one in line.comparison.contestants[1:]]
    packages = ("muomni", "torch", *(["transformers"] if others else []))
    say("  ".join(f"{key} {value}" for key, value in machine(packages).items()))

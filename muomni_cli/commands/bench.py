"""``muomni bench``: speed relative to a peer that is measured in the same process, in alternating rounds."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.commands.options import ModelOption, OverridesArgument
from muomni_cli.core.console import print_json, print_table, say
from muomni_cli.core.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from muomni_cli.bench.report import BenchRow, Comparison
    from muomni_cli.bench.workload import Workload
    from muomni_cli.recipe.model import Recipe

RECIPE = "omni"  # the default
app = typer.Typer(
    no_args_is_help=True, help="Benchmark against another implementation or model, in alternating rounds."
)

RecipeOrDefault = Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="Recipe file or name (default: omni).")]
Versus = Annotated[
    bool, typer.Option("--vs-transformers", help="Compare with transformers (pip install 'muomni[bench]').")
]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        metavar="'KEY=VALUE ...'", help="Measure these settings as well: batch=, length=, count= or recipe keys."
    ),
]
Bundle = Annotated[
    str | None,
    typer.Option("-m", "--model", metavar="BUNDLE", help="Bundle or installed model to measure instead of a recipe."),
]
VersusModel = Annotated[
    list[str] | None, typer.Option("--vs", metavar="MODEL", help="Compare with this run or bundle; repeatable.")
]
VersusBundle = Annotated[
    list[str] | None,
    typer.Option(
        "--vs", metavar="torch|BUNDLE", help="Compare with the same parts in PyTorch or with a bundle; repeatable."
    ),
]
Rounds = Annotated[int, typer.Option(min=1, help="Measured rounds.")]
Batch = Annotated[int, typer.Option(min=1, help="Batch size.")]
Device = Annotated[str, typer.Option(help="Device: auto, cpu or cuda.")]
Threads = Annotated[int, typer.Option(min=0, help="Number of CPU threads; 0 for the default of the runtime.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: every round, and the machine.")]


@app.command()
def train(
    recipe: RecipeOrDefault = None,
    overrides: OverridesArgument = None,
    vs_transformers: Versus = False,
    vary: Vary = None,
    batch: Batch = 8,
    length: Annotated[int, typer.Option(min=1, help="Tokens per sequence.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Training steps per round.")] = 2,
    rounds: Rounds = 5,
    device: Device = "auto",
    devices: Annotated[
        int, typer.Option(min=0, metavar="N", help="Measure N processes, one a device, against one.")
    ] = 0,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Training throughput of the Thinker: whole training steps, in tokens per second, and its share of the device's
    peak (MFU)."""
    from muomni_cli.bench.workload import Workload

    work = Workload(batch, length, steps, rounds, device, threads)
    if devices > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        if vs_transformers or vary:
            given = "--vs-transformers" if vs_transformers else "--vary"
            raise RequestError(f"--devices measures one setting, and no peer: {given}", f"leave {given} out")
        _scale(recipe or RECIPE, overrides or [], work, devices, json)
        return
    from muomni_cli.bench.parts import compare_training

    _run(compare_training, recipe, overrides or [], work, vary or [], vs_transformers, json)


@app.command()
def generate(
    recipe: RecipeOrDefault = None,
    overrides: OverridesArgument = None,
    vs_transformers: Versus = False,
    model: Bundle = None,
    vs: VersusBundle = None,
    vary: Vary = None,
    batch: Batch = 1,
    prompt: Annotated[int, typer.Option(min=1, help="Prompt tokens.")] = 35,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 128,
    prefill: Annotated[
        int, typer.Option(min=0, help="With -m: prompt tokens of the prefill benchmark; 0 skips it.")
    ] = 256,
    rounds: Rounds = 11,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Greedy generation with a cache, in new tokens per second; for a bundle also prefill, in prompts per second."""
    from muomni_cli.bench.workload import Workload, measure_generation

    _require_one(model, recipe, vs_transformers, vs)
    work = Workload(batch, prompt, tokens, rounds, device, threads, prefill)
    if model is not None:
        _report(measure_generation(model, vs or [], work, vary or [], progress=say), json)
        return
    from muomni_cli.bench.parts import compare_generation  # imports torch

    _run(compare_generation, recipe, overrides or [], work, vary or [], vs_transformers, json)


@app.command()
def encode(
    recipe: RecipeOrDefault = None,
    overrides: OverridesArgument = None,
    vs_transformers: Versus = False,
    model: Bundle = None,
    vs: VersusBundle = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size in training.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Training steps per round.")] = 2,
    rounds: Rounds = 7,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Encoder throughput, one input at a time and (for a recipe) in whole training steps, in inputs per second."""
    from muomni_cli.bench.workload import Workload, measure_encoding

    _require_one(model, recipe, vs_transformers, vs)
    work = Workload(batch, 0, steps, rounds, device, threads)
    if model is not None:
        _report(measure_encoding(model, vs or [], work, progress=say), json)
        return
    from muomni_cli.bench.parts import compare_encoders
    from muomni_cli.recipe.load import load_recipe

    loaded = load_recipe(recipe or RECIPE, overrides or [])
    _report(compare_encoders(loaded, work, versus=vs_transformers, progress=say), json)


@app.command()
def tts(
    model: ModelOption = None,
    vs: VersusModel = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each sentence is spoken; the best time counts.")] = 1,
    device: Device = "auto",
    threads: Threads = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: the results, and the machine.")] = False,
) -> None:
    """Real-time factor and time to first audio of a trained voice, with every vocoder it can use."""
    from muomni_cli.bench import speech

    speeds = speech.measure_speech(model, vs or [], rounds=rounds, device=device, threads=threads, progress=say)
    if json:
        print_json(speech.as_json(speeds))
    else:
        print_table(speech.headings(speeds), speech.rows(speeds))


@app.command()
def start(
    model: Annotated[str, typer.Option("-m", "--model", help="Bundle, or run folder or name.")],
    vs: VersusModel = None,
    rounds: Annotated[int, typer.Option(min=1, help="Measured processes per model and command.")] = 7,
    device: Device = "auto",
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Cold start: time from process start to the first token of chat and to the first audio of tts."""
    from muomni_cli.bench.speech import measure_start

    models = [model, *(vs or [])]
    _report(measure_start(models, rounds=rounds, device=device, threads=threads, progress=say), json)


@app.command()
def overhead(
    model: Annotated[str, typer.Option("-m", "--model", help="Bundle or installed model.")],
    prompt: Annotated[int, typer.Option(min=1, help="Prompt tokens.")] = 8,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 128,
    rounds: Rounds = 11,
    device: Device = "auto",
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """What Python adds to the graphs of a bundle, in microseconds a token and a code frame."""
    from muomni_cli.bench.overhead import HEADINGS, as_json, measure_overhead
    from muomni_cli.bench.workload import Workload

    found = measure_overhead(model, Workload(1, prompt, tokens, rounds, device, threads), say)
    if json:
        print_json(as_json(found))
    else:
        print_table(HEADINGS, [one.row for one in found])


def _scale(recipe: str, overrides: list[str], work: Workload, devices: int, json: bool) -> None:
    """Measure in this process, which is one of several, or start them."""
    if devices > 1:
        from muomni_cli.training.distributed.launch import launch

        sizes = {"--batch": work.batch, "--length": work.length, "--steps": work.count, "--rounds": work.rounds}
        options = [word for name, value in (sizes | {"--threads": work.threads}).items() for word in (name, str(value))]
        words = [recipe, *overrides, *options, "--device", work.device, *(["--json"] if json else [])]
        again = shlex.join(["muomni", "bench", "train", *words, "--devices", str(devices)])
        launch(["bench", "train", *words], devices, cuda=work.device in ("auto", "cuda"), max_restarts=0, again=again)
        return
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # PyTorch's advice to itself, printed by each process
    from muomni_cli.bench.report import scaling_line
    from muomni_cli.bench.scaling import measure_scaling

    found = measure_scaling(recipe, overrides, work, say)
    if int(os.environ["RANK"]) == 0:
        _report([found], json)
        if not json:
            say(scaling_line(found, work.count))


def _require_one(model: str | None, recipe: str | None, vs_transformers: bool, vs: list[str] | None) -> None:
    if model is None and vs:
        raise RequestError("--vs needs a bundle", "name one with -m, or use --vs-transformers")
    if model is not None and recipe is not None:
        raise RequestError(f"-m and the recipe {recipe} exclude each other", "choose one")
    if model is not None and vs_transformers:
        raise RequestError("--vs-transformers needs a recipe, not a bundle", "leave -m out, or use --vs torch")


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
    from muomni_cli.bench.report import as_json, by_unit, headings, machine, rows, utilization_line

    if json:
        print_json(as_json(lines))
        return
    for number, (unit, alike) in enumerate(by_unit(lines).items()):
        if number:
            print()
        print_table(headings(unit), rows(alike))
    for line in filter(None, map(utilization_line, lines)):
        say(line)
    say("  ".join(f"{key} {value}" for key, value in machine().items()))

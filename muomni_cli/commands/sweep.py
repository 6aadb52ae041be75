"""``muomni sweep RECIPE KEY=[VALUE, ...]``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.commands.options import JsonOption
from muomni_cli.commands.train import of_stage
from muomni_cli.core.console import print_json, print_table, say, terminal_safe
from muomni_cli.core.errors import RequestError, require

if TYPE_CHECKING:
    from muomni_cli.training.sweep import Sweep


def sweep(
    recipe: Annotated[str, typer.Argument(help="Recipe file, or a name from `muomni recipes list`.")],
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUES...",
            help="What to try: KEY=[VALUE, VALUE], or KEY={low=1e-5, high=1e-2, log=true}; KEY=VALUE holds for all.",
        ),
    ],
    stage: Annotated[str, typer.Option(metavar="STAGE", help="Stage to train (default: the recipe's only one).")] = "",
    trials: Annotated[
        int, typer.Option(min=0, metavar="N", help="Number of trials (default: every combination, or 20 of ranges).")
    ] = 0,
    sampler: Annotated[
        str, typer.Option(metavar="NAME", help="grid, tpe or random (default: grid of lists, else tpe, by Optuna).")
    ] = "",
    metric: Annotated[str, typer.Option(help="Metric of the validation, without val_.")] = "loss",
    maximize: Annotated[bool, typer.Option("--maximize", help="Higher is better.")] = False,
    base: Annotated[
        str, typer.Option("--base", metavar="RUN", help="Run whose earlier stages each trial begins with.")
    ] = "",
    name: Annotated[str, typer.Option(metavar="NAME", help="Folder under runs/ (default: RECIPE-sweep).")] = "",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Plot the metric against each key: .svg or .png.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a sweep that was interrupted.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Start again; the trials of an earlier sweep are removed.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Train a stage several times with other settings, and compare.

    Each trial is a run in the folder of the sweep: muomni chat -m runs/RECIPE-sweep/trial-003.
    """
    if resume and force:
        raise RequestError("--resume and --force exclude each other", "choose one")
    require("muomni sweep", "torch")
    from muomni_cli.training.sweep import open_sweep, plot_sweep, run_sweep

    if plot is not None and plot.suffix.lower() not in (".svg", ".png"):
        raise RequestError(f"unsupported picture format: {plot.suffix or plot.name}", "name a .svg or .png file")
    asked = _asked(recipe, settings, stage, name, base)
    asked.metric, asked.maximize = metric, maximize
    _choose(asked, sampler, trials)
    found = run_sweep(open_sweep(asked, resume=resume, force=force), say)
    if json:
        print_json([asdict(trial) | {"run": str(found.root / trial.folder)} for trial in found.ranked()])
    else:
        _print(found)
    if plot is not None:
        plot_sweep(found, plot)
        say(f"wrote {plot}")
    best = found.ranked()[0]
    say(f"best: {' '.join(best.words)}, in {found.root / best.folder}")


def _asked(recipe: str, settings: list[str], stage: str, name: str, base: str) -> Sweep:
    """The sweep of these words, without how its trials are chosen."""
    from muomni_cli.core.files import RUNS
    from muomni_cli.recipe.load import load_recipe
    from muomni_cli.recipe.model import stages_of_all
    from muomni_cli.runs.listing import find_run
    from muomni_cli.training.sweep import Sweep, axes_of, default_stage

    loaded = load_recipe(recipe)
    chosen = stage or default_stage(loaded, stages_of_all(loaded))
    if chosen in ("all", "tokenizer"):
        raise RequestError(f"a sweep trains one stage, not {chosen}", "name it: --stage thinker")
    axes, fixed = axes_of(of_stage(settings, chosen))
    folder = name or f"{loaded.name}-sweep"
    if folder in (".", "..") or Path(folder).name != folder:
        raise RequestError(f"invalid name of a sweep: {folder!r}", f"give the name of a folder under {RUNS}/")
    begins = str(find_run(base).root) if base else ""
    return Sweep(RUNS / folder, recipe, chosen, axes, fixed, "grid", 0, base=begins)


def _choose(asked: Sweep, sampler: str, trials: int) -> None:
    from muomni_cli.training.sweep import choose_sampler

    asked.sampler, asked.count = choose_sampler(asked.axes, sampler, trials)


def _print(found: Sweep) -> None:
    keys = [axis.key for axis in found.axes]
    rows = []
    for trial in found.ranked():
        value = "-" if trial.value is None else f"{trial.value:.4f}"
        shown = [terminal_safe(str(trial.values[key])) for key in keys]
        rows.append((trial.folder, *shown, value, str(trial.step or "-"), trial.reason or trial.status))
    print_table(("TRIAL", *keys, f"BEST {found.metric}", "STEP", "STATUS"), rows)

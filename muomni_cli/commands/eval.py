"""``muomni eval``: the metrics of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from muomni_cli.commands.options import DeviceOption, JsonOption, LoopGuardOption, OverridesArgument, ThreadsOption
from muomni_cli.core.console import print_json, print_table, say
from muomni_cli.core.errors import RequestError


def evaluate(
    what: Annotated[
        str | None, typer.Argument(metavar="[RECIPE|MODEL]", help="Run or recipe (default: the recipe of the model).")
    ] = None,
    overrides: OverridesArgument = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Run or bundle to evaluate, if not the recipe's own run.")
    ] = None,
    stage: Annotated[list[str] | None, typer.Option(help="Evaluate only this stage; repeatable.")] = None,
    split: Annotated[str, typer.Option(help="Data split: val or train.")] = "val",
    limit: Annotated[
        int | None,
        typer.Option(min=0, help="Maximum examples per source; 0 for all (default: all, but 100 for speech)."),
    ] = None,
    json: JsonOption = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a report with plots, images and audio as one HTML file.")
    ] = None,
    loop_guard: LoopGuardOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> None:
    """Compute the metrics of every trained stage on held-out data, with bootstrap confidence intervals."""
    from muomni_cli.contract.metrics import HEADINGS, as_json, rows
    from muomni_cli.eval.run import EvalOptions, find_model
    from muomni_cli.eval.run import evaluate as run_evaluation

    if split not in ("val", "train"):
        raise RequestError(f"there is no split {split!r}", "write --split val or --split train")
    side: Literal["train", "val"] = "train" if split == "train" else "val"
    if what is not None and "=" in what:
        overrides = [what, *(overrides or [])]
        what = None
    if loop_guard is not None:
        overrides = [*(overrides or []), f"chat.loop_guard={str(loop_guard).lower()}"]
    found, recipe = find_model(what, model, overrides or [])
    metrics = list(run_evaluation(found, recipe, EvalOptions(side, limit, device, threads, tuple(stage or ())), say))
    if html is not None:
        from muomni_cli.eval.report import write_page

        write_page(html, found.name, recipe, metrics)
        say(f"wrote {html}: open it in a browser")
    if json:
        print_json(as_json(metrics))
    else:
        print_table(HEADINGS, rows(metrics))

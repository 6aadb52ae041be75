"""``muomni eval``: how well a trained model does its tasks."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from muomni_cli.console import print_json, print_table, say
from muomni_cli.errors import RequestError


def evaluate(
    what: Annotated[str, typer.Argument(metavar="RECIPE|MODEL", help="A run's folder or name, or a recipe.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the recipe, as TOML values.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("-m", "--model", help="The run or bundle to evaluate, if not the recipe's own run."),
    ] = None,
    split: Annotated[str, typer.Option(help="Which side of the data: val or train.")] = "val",
    limit: Annotated[
        int | None, typer.Option(min=0, help="Most examples of each source; 0 for all (default: all, 100 of speech).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Score every trained stage on held-out data: a card for each task, with a bootstrap interval."""
    from muomni_cli.evaluation.card import HEADINGS, as_json, rows
    from muomni_cli.evaluation.run import Asking, find_subject
    from muomni_cli.evaluation.run import evaluate as run_evaluation

    if split not in ("val", "train"):
        raise RequestError(f"there is no side {split!r}", "write --split val or --split train")
    side: Literal["train", "val"] = "train" if split == "train" else "val"
    folder, recipe = find_subject(what, model, overrides or [])
    cards = list(run_evaluation(folder, recipe, Asking(side, limit, device, threads), say))
    if json:
        print_json(as_json(cards))
    else:
        print_table(HEADINGS, rows(cards))

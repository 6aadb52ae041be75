"""``muomni data``: look at what a recipe trains on, before it does."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.console import print_json, print_table, say, terminal_safe

if TYPE_CHECKING:
    from muomni_cli.data.check import Report

SHOWN = 12
"""Labels that are listed."""

app = typer.Typer(no_args_is_help=True, help="Look at the data of a recipe.")


@app.callback()
def data() -> None:
    """Look at the data of a recipe."""


@app.command()
def check(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's file or name.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read all data of a recipe and report counts, lengths, labels, unreadable files, and what is on both sides of the
    split.

    Exits with 1 if there is nothing to train on.
    """
    from muomni_cli.data.check import check as check_data
    from muomni_cli.data.tokenizer import known_tokenizer
    from muomni_cli.recipe import load_recipe
    from muomni_cli.runs.folder import RUNS, RunFolder

    loaded = load_recipe(recipe, overrides or ())
    tokenizer = known_tokenizer(loaded, RunFolder(RUNS / loaded.name).stage("tokenizer"))
    if tokenizer is None:
        say("lengths are in characters: the recipe has no trained tokenizer yet")
    report = check_data(loaded, tokenizer)
    if json:
        print_json(asdict(report) | {"usable": report.usable, "warnings": report.warnings})
    else:
        _print(report)
    raise typer.Exit(0 if report.usable else 1)


def _print(report: Report) -> None:
    rows: list[tuple[object, ...]] = []
    for one in report.everything:
        for side, documents in one.stats.documents.items():
            characters, tokens = one.stats.characters[side], one.stats.tokens[side]
            counts = f"{documents:,}", f"{characters:,}", f"{tokens:,}" if tokens else "-"
            rows.append((one.table, one.stats.name, side, *counts))
    print_table(("FOR", "SOURCE", "SIDE", "ITEMS", "CHARACTERS", "TOKENS"), rows)
    for source in report.sources:
        if source.longest:
            marks = "  ".join(f"{percent}%: {length:,}" for percent, length in source.percentiles.items())
            print(f"\n{source.stats.name}, length in {source.unit}:  {marks}  longest: {source.longest:,}")
            if source.longer is not None:
                print(f"  longer than ctx_len {report.ctx_len} (cut into windows): {source.longer:,}")
            if source.media:
                print(f"  shows: {', '.join(f'{count:,} {modality}' for modality, count in source.media.items())}")
            print(f"  begins: {source.example}")
    for examples in report.examples:
        if examples.example:
            print(f"\n{examples.table}, {examples.stats.name}, such as {terminal_safe(examples.example)}")
        if examples.labels:
            often = sorted(examples.labels.items(), key=lambda entry: -entry[1])[:SHOWN]
            most = ", ".join(f"{label} {count:,}" for label, count in often)
            more = f", and {len(examples.labels) - SHOWN:,} more" if len(examples.labels) > SHOWN else ""
            print(f"  labels: {terminal_safe(most)}{more}")
    print()
    for warning in report.warnings:
        print(f"warning: {warning}")
    if not report.warnings:
        print("nothing to complain about")

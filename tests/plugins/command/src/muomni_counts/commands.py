"""The commands: they read words, call :mod:`muomni_counts.counting`, and print. Neither imports what is heavy."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from muomni_cli.api import console
from muomni_counts.counting import found, lengths, opened, words

BAR = 40
"""Characters of the longest bar."""

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's file or name.")]
Changes = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe.")]
Table = Annotated[str, typer.Option(metavar="NAME", help="Of which table [[data.NAME]].")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(min=1, help="Most lines.")]

group = typer.Typer(no_args_is_help=True, help="Look at the words of a recipe.")


def show_lengths(
    recipe: Recipe,
    changes: Changes = None,
    table: Table = "text",
    width: Annotated[int, typer.Option(metavar="N", help="Lengths in one row (default: so that about 10 do).")] = 0,
    json: Json = False,
) -> None:
    """Count how many texts of a recipe have how many tokens."""
    read = opened(recipe, changes or (), table)
    histograms = lengths(read, width)
    if json:
        console.print_json([asdict(one) for one in histograms])
        return
    for number, one in enumerate(histograms):
        print(end="\n" if number else "")
        print(f"{one.source}: {one.texts:,} texts, {one.total:,} {one.unit}, longest {one.longest:,}\n")
        most = max(one.counts, default=0)
        rows = [
            (f"{place * one.width:,} - {(place + 1) * one.width - 1:,}", f"{count:,}", "#" * -(-count * BAR // most))
            for place, count in enumerate(one.counts)
        ]
        console.print_table((one.unit.upper(), "TEXTS", ""), rows)
    if histograms[0].unit != "tokens":
        console.say("lengths are in characters: the recipe has no trained tokenizer yet")


@group.command()
def common(
    recipe: Recipe, changes: Changes = None, table: Table = "text", limit: Limit = 20, json: Json = False
) -> None:
    """List the words that a recipe has most often."""
    counted = words(opened(recipe, changes or (), table))
    total = counted.total()
    rows = counted.most_common(limit)
    if json:
        console.print_json({"words": total, "different": len(counted), "common": dict(rows)})
    else:
        console.print_table(("WORD", "TIMES", "SHARE"), [(word, f"{n:,}", f"{n / total:.2%}") for word, n in rows])
        console.say(f"{total:,} words, {len(counted):,} different ones")


@group.command()
def find(
    word: Annotated[str, typer.Argument(metavar="WORD", help="What is looked for; case does not matter.")],
    recipe: Recipe,
    changes: Changes = None,
    table: Table = "text",
    limit: Limit = 10,
    json: Json = False,
) -> None:
    """Show texts of a recipe that have a word. Exits with 1 if none has it."""
    lines = found(opened(recipe, changes or (), table), word, limit)
    if json:
        console.print_json([asdict(line) for line in lines])
    else:
        console.print_table(
            ("SOURCE", "KEY", "TEXT"),
            [(line.source, *map(console.terminal_safe, (line.key, line.around))) for line in lines],
        )


def add_to(cli: typer.Typer) -> None:
    """Add all of them."""
    cli.command("lengths")(show_lengths)
    cli.add_typer(group, name="words")

"""``muomni recipes``: list, show, copy, check and compare recipes."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.commands.options import JsonOption, OverridesArgument, RecipeArgument
from muomni_cli.core.console import print_json, print_table, say
from muomni_cli.core.errors import MuomniError, how_to_install

if TYPE_CHECKING:
    from muomni_cli.recipe.actions import RecipeReport

app = typer.Typer(no_args_is_help=True, help="List, show, copy, check and compare recipes.")


@app.command(name="list")
def list_recipes(json: JsonOption = False) -> None:
    """List the recipes that come with muomni and with plugins."""
    from muomni_cli.recipe.load import shipped_recipes

    shipped = shipped_recipes()
    if json:
        print_json([asdict(recipe) | {"path": str(recipe.path)} for recipe in shipped])
    else:
        print_table(("NAME", "FROM", "WHAT"), [(recipe.name, recipe.origin, recipe.doc) for recipe in shipped])


@app.command()
def show(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Fill in all defaults, and explain every key.")] = False,
    json: JsonOption = False,
) -> None:
    """Print a recipe as it is in its file, or with every default filled in."""
    from muomni_cli.recipe.actions import read_recipe
    from muomni_cli.recipe.load import load_recipe
    from muomni_cli.recipe.write import as_data, resolved_toml

    if json:
        print_json(as_data(load_recipe(recipe, overrides or ())))
    elif resolved:
        print(resolved_toml(load_recipe(recipe, overrides or ())), end="")
    else:
        print(read_recipe(recipe, overrides or ()), end="")


@app.command()
def copy(
    recipe: RecipeArgument,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE] [KEY=VALUE]...", help="Target file; recipe settings to change."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Copy a recipe with its comments, as a starting point for your own."""
    from muomni_cli.recipe.actions import copy_recipe

    written = copy_recipe(recipe, words or (), force=force)
    print(written)
    say(f"next: muomni recipes check {written}    muomni train all {written}")


@app.command()
def check(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Recipes, and KEY=VALUE settings to change in all of them.")
    ],
    json: JsonOption = False,
) -> None:
    """Check recipes: print every mistake with its line, or the parameters of each part. Exits with 2 on a mistake."""
    from muomni_cli.recipe.actions import check_recipes

    reports = check_recipes(recipes)
    with_torch = find_spec("torch") is not None
    if not with_torch:
        say(f"parameters are counted where PyTorch is installed: {how_to_install(['torch'])}")
    counted = [(report, _parameters(report) if with_torch else None) for report in reports]
    if json:
        data = [asdict(replace(report, read=None)) | {"parameters": own} for report, own in counted]
        for one in data:
            del one["read"]
        print_json(data)
    else:
        for report, own in counted:
            print(f"{report.recipe}: {'; '.join(report.problems) if report.problems else 'right'}")
            for mistake in report.mistakes:
                print(f"  {mistake}")
            for name, count in (own or {}).items():
                print(f"  {name:10} {count:>13,} parameters")
    raise typer.Exit(0 if all(report.right for report in reports) else 2)


def _parameters(report: RecipeReport) -> dict[str, int] | None:
    """Parameters by part of a correct recipe; None if they cannot be counted, with the reason on stderr."""
    if report.read is None:
        return None
    from muomni_cli.runs.checkpoint import parameters_of

    try:
        return parameters_of(report.read)
    except MuomniError as error:
        say(f"{report.recipe}: parameters cannot be counted: {error.what}; {error.fix}")
        return None


@app.command()
def diff(
    left: RecipeArgument,
    right: Annotated[str, typer.Argument(metavar="OTHER", help="Recipe to compare it with.")],
    json: JsonOption = False,
) -> None:
    """Compare two recipes key by key, with defaults filled in."""
    from muomni_cli.recipe.actions import diff as compare
    from muomni_cli.recipe.load import load_recipe

    changes = compare(load_recipe(left), load_recipe(right))
    if json:
        print_json([asdict(change) for change in changes])
    else:
        rows = [(change.key, _short(change.left), _short(change.right)) for change in changes]
        print_table(("KEY", left, right), rows)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Output file.")] = None,
) -> None:
    """Print the JSON Schema of recipes, with which editors complete and explain TOML."""
    from muomni_cli.core.files import write_json
    from muomni_cli.recipe.write import recipe_schema

    if output is None:
        print_json(recipe_schema())
    else:
        write_json(output, recipe_schema())
        say(f"wrote {output}; a first line `#:schema {output}` in a recipe tells editors to use it")

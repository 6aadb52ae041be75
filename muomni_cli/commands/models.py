"""``muomni models``: models that travel as packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from muomni_cli.core.console import print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="List installed models, look into them, and make packages of models.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(json: Json = False) -> None:
    """List the models of installed packages."""
    from muomni_cli.registry.registry import installed_models

    found = installed_models()
    if json:
        print_json(found)
        return
    if not found:
        say("no package with a model is installed; make one: muomni models pack RUN -o FOLDER")
        return
    print_table(
        ("NAME", "PACKAGE", "HOLDS", "LICENSE", "WHAT"),
        [(m["use"], f"{m['package']} {m['version']}", _holds(m), m["license"] or "-", m["doc"]) for m in found],
    )


@app.command()
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An installed model; or a run, or a bundle.")],
    json: Json = False,
) -> None:
    """Show a model: parts and sizes, what it takes and gives, what it learned from, and how well it does."""
    from muomni_cli.models.model_card import details

    found = details(model)
    print_json(found) if json else _print(found)


@app.command()
def pack(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run's or bundle's folder or name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The package's folder, to be made.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="What -m will call it (default: as the run).")] = "",
    version: Annotated[str, typer.Option(metavar="VERSION", help="Of the package.")] = "0.1.0",
    bundle: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Take this bundle along: what was exported of the run.")
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="What `muomni eval --json` wrote, for the model card; repeatable."),
    ] = None,
    license: Annotated[str, typer.Option("--license", metavar="TEXT", help="Of the model.")] = "",
    half: Annotated[bool, typer.Option("--half", help="Store the run's weights as fp16.")] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="ENCODER", help="Leave out what its own stage left, where omni has tuned it; repeatable."),
    ] = None,
) -> None:
    """Write a package that pip installs around a run, a bundle, or both: weights, model card and what declares it."""
    from muomni_cli.models.describe import size_of
    from muomni_cli.models.model_card import uses
    from muomni_cli.models.package import PackageOptions, pack

    packed = pack(model, output, PackageOptions(name, version, bundle, scores or (), license, half, without or ()))
    say(f"wrote {output} ({size_of(output) / 1e6:.1f} MB); read its README.md, which others will see")
    say(f"next: pip install {output}    {uses(packed.name, packed.facts)[0]}")


def _holds(model: dict[str, Any]) -> str:
    return " and ".join(kind for kind in ("bundle", "run") if model[kind]) or "-"


def _print(found: dict[str, Any]) -> None:
    origin = f"  ({found['package']} {found['version']})" if found["package"] else ""
    print(f"{found['use']}{origin}")
    numbers = f", {found['parameters']:,} parameters" if found["parameters"] else ""
    for line in (found["doc"], f"{found['does']}{numbers}"):
        if line:
            print(line)
    facts = {
        "voices": ", ".join(found["voices"]),
        "context": f"{found['context']} tokens" if found["context"] else "",
        "license": found["license"],
        **{kind: _place(found[kind]) for kind in ("bundle", "run")},
        "card": found["card"] or "",
    }
    print()
    for key, value in facts.items():
        if value:
            print(f"{key:8} {value}")
    print()
    print_table(("PART", "STAGE", "MADE OF", "SIZE", "PARAMETERS"), [_part(part) for part in found["parts"]])
    sources = [(name, s["use"], s.get("task", "-"), s["license"]) for name, own in found["data"].items() for s in own]
    if sources:
        print()
        print_table(("DATA", "SOURCE", "TASK", "LICENSE"), sources)
    if found["scores"]:
        from muomni_cli.contract.metrics import HEADINGS, MetricResult, rows

        print()
        print_table(HEADINGS, rows([MetricResult(**score) for score in found["scores"]]))


def _place(folder: dict[str, Any] | None) -> str:
    if folder is None:
        return ""
    precision = f", {' '.join(folder['precision'])}" if folder.get("precision") else ""
    return f"{folder['path']} ({folder['bytes'] / 1e6:.1f} MB{precision})"


def _part(part: dict[str, Any]) -> tuple[str, ...]:
    sizes = ", ".join(f"{key} {value}" for key, value in part["sizes"].items())
    numbers = f"{part['numbers']:,}" if part["numbers"] else "-"
    return part["part"], part["stage"] or "-", f"{part['kind']} {part['use']}", sizes or "-", numbers

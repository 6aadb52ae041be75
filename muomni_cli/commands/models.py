"""``muomni models``: list, inspect and package models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from muomni_cli.commands.options import JsonOption
from muomni_cli.core.console import print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="List and inspect installed models, and package models for pip.")


@app.command("list")
def list_models(json: JsonOption = False) -> None:
    """List the models of installed packages."""
    from muomni_cli.registry.registry import installed_models

    found = installed_models()
    if json:
        print_json(found)
        return
    if not found:
        say("no model package is installed; make one: muomni models pack RUN -o FOLDER")
        return
    print_table(
        ("NAME", "PACKAGE", "HOLDS", "LICENSE", "WHAT"),
        [(m["use"], f"{m['package']} {m['version']}", _holds(m), m["license"] or "-", m["doc"]) for m in found],
    )


@app.command()
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Installed model, run or bundle.")],
    json: JsonOption = False,
) -> None:
    """Show a model: parts and sizes, inputs and outputs, training data, and evaluation results."""
    from muomni_cli.models.model_card import details

    found = details(model)
    print_json(found) if json else _print(found)


@app.command()
def pack(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Run or bundle, by folder or name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="New folder for the package.")],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the model for -m (default: the name of the run).")
    ] = "",
    version: Annotated[str, typer.Option(metavar="VERSION", help="Package version.")] = "0.1.0",
    bundle: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Include this bundle, exported from the run.")
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Output of `muomni eval --json`, for the model card; repeatable."),
    ] = None,
    license: Annotated[str, typer.Option("--license", metavar="TEXT", help="License of the model.")] = "",
    half: Annotated[bool, typer.Option("--half", help="Store the weights of the run as fp16.")] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENCODER",
            help="Leave out this encoder's own stage where the omni stage has tuned the encoder; repeatable.",
        ),
    ] = None,
) -> None:
    """Write a pip-installable package of a run, a bundle, or both, with weights and a model card."""
    from muomni_cli.models.describe import size_of
    from muomni_cli.models.model_card import uses
    from muomni_cli.models.package import PackageOptions, pack

    packed = pack(model, output, PackageOptions(name, version, bundle, scores or (), license, half, without or ()))
    say(f"wrote {output} ({size_of(output) / 1e6:.1f} MB); read its README.md, the public model card")
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
    print_table(("PART", "STAGE", "IMPLEMENTATION", "SIZE", "PARAMETERS"), [_part(part) for part in found["parts"]])
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

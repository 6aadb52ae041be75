"""``muomni export``: a trained model as a folder that runs without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.api import RequestError


def export(
    context: typer.Context,
    onnx: Annotated[bool, typer.Option("--onnx", help="As ONNX graphs, for onnxruntime.")] = False,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="A run's folder or name (default: $MUOMNI_MODEL or the newest).")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The folder to make.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Leave out parts that declare no graphs.")] = False,
) -> None:
    """Write a trained model as a folder that runs without PyTorch, once it is shown to agree with it."""
    if context.invoked_subcommand is not None:
        return
    if not onnx:
        raise RequestError("there is nothing to export to", "say which: muomni export --onnx -o FOLDER")
    if output is None:
        raise RequestError("there is no folder to export to", "name one: muomni export --onnx -o FOLDER")
    from muomni_cli.console import print_table, say
    from muomni_cli.registry import resolve
    from muomni_cli.runs.model import find_model

    found = find_model(model)
    report = resolve("muomni_onnx.export:export", "muomni export")(found, output, partial=partial, tell=say)
    print_table(
        ("part", "graph", "error", "allowed", "MB"),
        [
            (x.part, x.graph, f"{x.parity.error:.1e}", f"{x.parity.tolerance:.0e}", f"{x.size / 1e6:.2f}")
            for x in report.lines
        ],
    )
    say(f"{report.equal} of {report.asked} greedy tokens are those of PyTorch")
    say(f"wrote {output}")


def check(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder.")]) -> None:
    """Compare a bundle with its digests, and its graphs with the outputs that PyTorch gave. Needs no PyTorch."""
    from muomni_cli.console import print_table, say
    from muomni_cli.registry import resolve

    checked = resolve("muomni_onnx.check:check", "muomni export check")(bundle)
    print_table(
        ("part", "graph", "error", "allowed", "MB"),
        [(x.part, x.graph, f"{x.error:.1e}", f"{x.tolerance:.0e}", f"{x.size / 1e6:.2f}") for x in checked],
    )
    say(f"{bundle} is whole and agrees")


def add_to(cli: typer.Typer) -> None:
    """Add ``export`` with its subcommand."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(export)
    group.command()(check)
    cli.add_typer(group, name="export")

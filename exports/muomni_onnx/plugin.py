"""What this package offers to muomni. Knows no torch and no onnxruntime."""

import typer

from muomni_cli.api import hookimpl
from muomni_onnx.commands import add_to


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """``muomni export``."""
    add_to(cli)

"""What this package offers to muomni: it adds commands and declares no parts."""

import typer

from muomni_cli.api import hookimpl
from muomni_counts.commands import add_to


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """``muomni lengths`` and ``muomni words``."""
    add_to(cli)

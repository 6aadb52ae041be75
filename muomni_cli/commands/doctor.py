"""``muomni doctor``: is this machine fit, and if not, what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from muomni_cli.core.console import print_json, print_table


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Report versions, devices, folders and plugins; exit 1 if something is broken."""
    from muomni_cli.doctor import examine

    checks = examine()
    if json:
        print_json([check.as_dict() for check in checks])
    else:
        print_table(("", "WHAT", "FOUND"), [(check.status, check.name, check.found) for check in checks])
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(1)

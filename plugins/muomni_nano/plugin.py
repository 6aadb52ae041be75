"""Declares nano as any package of a model does. Every listing imports this module, so it imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import typer

from muomni_cli.api import ModelFiles, hookimpl
from muomni_nano.samples_command import add_to

HERE = Path(__file__).resolve().parent
LICENCE = "Apache-2.0"


@hookimpl
def register_models() -> list[ModelFiles]:
    """`muomni chat -m nano`; its card, README.md, says what it learned from, and how well."""
    return [
        ModelFiles(
            name="nano",
            doc="sees drawn scenes, hears words and short commands, writes and speaks",
            bundle=HERE / "bundle",
            run=HERE / "run",
            card=HERE / "README.md",
            scores=HERE / "scores.json",
            licence=LICENCE,
        )
    ]


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """``muomni samples``."""
    add_to(cli)

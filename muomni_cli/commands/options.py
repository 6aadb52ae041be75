"""The option ``-m``, the same wherever a trained model is named; see :mod:`muomni_cli.models.locate`."""

from __future__ import annotations

from typing import Annotated

import typer

ModelOption = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="A run's or bundle's folder or name, or an installed model (default: $MUOMNI_MODEL or the newest run).",
    ),
]

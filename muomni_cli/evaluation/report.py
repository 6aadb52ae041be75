"""The page of an evaluation: what was evaluated, when and by what. Knows no model."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muomni_cli import __version__
from muomni_cli.evaluation.page import page
from muomni_cli.files import write_text

if TYPE_CHECKING:
    from muomni_cli.api import Card
    from muomni_cli.recipe import Recipe


def write_page(path: Path, model: str, recipe: Recipe, cards: Sequence[Card]) -> None:
    """Write one HTML file with all that ``cards`` hold; it appears when it is whole.

    Raises:
        MuomniError: it cannot be written.
    """
    about = {
        "model": model,
        "recipe": f"{recipe.name}: {recipe.doc}" if recipe.doc else recipe.name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "muomni": __version__,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    write_text(path, page(f"Cards of {model}", about, cards))

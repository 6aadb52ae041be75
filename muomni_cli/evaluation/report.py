"""The page of an evaluation: what was evaluated, when and by what. Knows no model."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muomni_cli.core.files import write_text
from muomni_cli.core.version import __version__
from muomni_cli.evaluation.page import page

if TYPE_CHECKING:
    from muomni_cli.contract.cards import Card
    from muomni_cli.evaluation.run import Folder
    from muomni_cli.recipe import Recipe


def write_page(path: Path, folder: Folder, recipe: Recipe, cards: Sequence[Card]) -> None:
    """Write one HTML file with all that ``cards`` hold; it appears when it is whole.

    Raises:
        MuomniError: it cannot be written.
    """
    about = {
        "model": folder.root.name,
        "recipe": f"{recipe.name}: {recipe.doc}" if recipe.doc else recipe.name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "muomni": __version__,
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    write_text(path, page(f"Cards of {folder.root.name}", about, cards))

"""Registers the parts of this package. Every command imports this module, so it must not import torch or numpy."""

from pathlib import Path

from muomni_cli.api import CallbackPart, RecipeFile, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_callbacks() -> list[CallbackPart]:
    """Enabled by a table ``[callbacks.<any name>]`` with ``use = "newpart"`` in a recipe."""
    return [
        CallbackPart(
            name="newpart",
            doc="writes metrics as CSV",
            config=NewpartConfig,
            build="muomni_newpart.follower:Newpart",
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="a short training with this package's callback", path=path)]

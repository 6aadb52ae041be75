"""What this package offers to muomni: every listing imports this module, so it imports nothing heavy."""

from pathlib import Path

from muomni_cli.api import CallbackPart, RecipeFile, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_callbacks() -> list[CallbackPart]:
    """Active in a recipe that has a table ``[callbacks.<any name>]`` with ``use = "newpart"``."""
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
    """A small training to be followed."""
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="a training that this package's callback follows", path=path)]

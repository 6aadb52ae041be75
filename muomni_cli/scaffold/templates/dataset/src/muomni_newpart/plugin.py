"""What this package offers to muomni: every listing imports this module, so it imports nothing heavy."""

from pathlib import Path

from muomni_cli.api import DatasetPart, RecipeFile, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_datasets() -> list[DatasetPart]:
    """A source for ``[[data.text]]`` and ``[[data.omni]]``."""
    return [
        DatasetPart(
            name="newpart",
            doc="questions and answers: lines with tabs, or sums",
            config=NewpartConfig,
            build="muomni_newpart.pairs:build",
            sample="muomni_newpart.pairs:sample",
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    """A small model that learns from it."""
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="adds small numbers; a minute or two", path=path)]

"""Registers the parts of this package. Every command imports this module, so it must not import torch or numpy."""

from pathlib import Path

from muomni_cli.api import DatasetPart, RecipeFile, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_datasets() -> list[DatasetPart]:
    """A source for ``[[data.text]]`` and ``[[data.omni]]``."""
    return [
        DatasetPart(
            name="newpart",
            doc="questions and answers from a tab-separated file, or sums",
            config=NewpartConfig,
            build="muomni_newpart.pairs:Pairs",
            sample="muomni_newpart.pairs:sample",
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="adds small numbers; a minute or two", path=path)]

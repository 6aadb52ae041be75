"""Registers the parts of this package. Every command imports this module, so it must not import torch or numpy."""

from pathlib import Path

from muomni_cli.api import Capability, RecipeFile, TokenizerPart, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_tokenizers() -> list[TokenizerPart]:
    """``capabilities`` are tested by `muomni plugins check`."""
    return [
        TokenizerPart(
            name="newpart",
            doc="whole words, and bytes for the rest",
            config=NewpartConfig,
            build="muomni_newpart.words:load",
            objective="muomni_newpart.words:learn",
            test_config={"words": 40},
            capabilities=frozenset({Capability.LOSSLESS, Capability.TRAINABLE}),
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="simple stories with this package's tokenizer", path=path)]

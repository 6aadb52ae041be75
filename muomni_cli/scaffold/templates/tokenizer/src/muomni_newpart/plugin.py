"""What this package offers to muomni: every listing imports this module, so it imports nothing heavy."""

from pathlib import Path

from muomni_cli.api import Capability, RecipeFile, TokenizerPart, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_tokenizers() -> list[TokenizerPart]:
    """What is declared in ``can`` is tested by `muomni plugins check`."""
    return [
        TokenizerPart(
            name="newpart",
            doc="whole words, and bytes for all else",
            config=NewpartConfig,
            build="muomni_newpart.words:load",
            objective="muomni_newpart.words:learn",
            test_config={"words": 40},
            capabilities=frozenset({Capability.LOSSLESS, Capability.TRAINABLE}),
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    """A small model that reads by it."""
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="simple stories, read by this package's tokenizer", path=path)]

"""What this package offers to muomni. Knows no torch and no numpy: every listing imports this module."""

from pathlib import Path

from muomni_cli.api import Capability, RecipeFile, ThinkerPart, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_thinkers() -> list[ThinkerPart]:
    """What is declared in ``can`` is tested by `muomni plugins check`: declare what holds, and nothing else."""
    return [
        ThinkerPart(
            name="newpart",
            doc="gated causal convolutions, each looking twice as far back as the one before",
            config=NewpartConfig,
            build="muomni_newpart.model:build",
            graphs="muomni_newpart.graphs:graphs",
            test_config={"d_model": 32, "n_layers": 3, "ctx_len": 24},
            capabilities=frozenset({Capability.CACHE, Capability.RAGGED, Capability.EMBEDS, Capability.CAUSAL}),
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    """A small model around it."""
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="simple stories, by this package's Thinker; a minute or two", path=path)]

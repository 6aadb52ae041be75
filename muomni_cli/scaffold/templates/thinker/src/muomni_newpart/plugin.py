"""Registers the parts of this package. Every command imports this module, so it must not import torch or numpy."""

from pathlib import Path

from muomni_cli.api import Capability, RecipeFile, ThinkerPart, hookimpl
from muomni_newpart.config import NewpartConfig


@hookimpl
def register_thinkers() -> list[ThinkerPart]:
    """``capabilities`` are tested by `muomni plugins check`; undeclared ones are not used."""
    return [
        ThinkerPart(
            name="newpart",
            doc="gated causal convolutions with doubling dilation",
            config=NewpartConfig,
            build="muomni_newpart.model:Newpart",
            graphs="muomni_newpart.graphs:graphs",
            test_config={"d_model": 32, "n_layers": 3, "ctx_len": 24},
            capabilities=frozenset(
                {Capability.CACHE, Capability.RAGGED, Capability.JOIN, Capability.EMBEDS, Capability.CAUSAL}
            ),
        )
    ]


@hookimpl
def register_recipes() -> list[RecipeFile]:
    path = Path(__file__).with_name("newpart.toml")
    return [RecipeFile(name="newpart", doc="simple stories with this package's Thinker; a minute or two", path=path)]

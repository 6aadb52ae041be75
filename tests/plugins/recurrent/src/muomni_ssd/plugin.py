"""What this package offers to muomni. Knows no torch: a listing imports this module."""

from muomni_cli.api import Capability, ThinkerPart, hookimpl
from muomni_ssd.config import SSDConfig


@hookimpl
def register_thinkers() -> list[ThinkerPart]:
    """The Thinker of this package."""
    return [
        ThinkerPart(
            name="ssd",
            doc="state-space duality: linear attention that fades, with a state of fixed size in place of a cache",
            config=SSDConfig,
            build="muomni_ssd.model:build",
            graphs="muomni_ssd.graphs:graphs",
            steps="muomni_ssd.steps:steps",
            test_config={
                "d_model": 32,
                "n_layers": 2,
                "n_heads": 4,
                "d_state": 16,
                "d_ff": 64,
                "chunk": 5,
                "ctx_len": 24,
            },
            # No TRUNCATE: a state of all tokens has no way back to one of fewer.
            capabilities={Capability.CACHE, Capability.RAGGED, Capability.EMBEDS, Capability.CAUSAL},
        )
    ]

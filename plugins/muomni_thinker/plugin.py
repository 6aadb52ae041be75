"""The plugin: the Thinker ``transformer``. Imports no torch."""

from muomni_cli.api import Capability, ThinkerPart, hookimpl
from muomni_thinker.config import TransformerConfig


@hookimpl
def register_thinkers() -> list[ThinkerPart]:
    return [
        ThinkerPart(
            name="transformer",
            doc="decoder with RMSNorm, rotary positions, SwiGLU and grouped-query attention",
            config=TransformerConfig,
            build="muomni_thinker.model:build",
            graphs="muomni_thinker.graphs:graphs",
            steps="muomni_thinker.graphs:steps",
            peers={"transformers": "muomni_thinker.peer:llama"},
            test_config={"d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64, "ctx_len": 24},
            capabilities=frozenset(
                {Capability.CACHE, Capability.RAGGED, Capability.TRUNCATE, Capability.EMBEDS, Capability.CAUSAL}
            ),
        )
    ]

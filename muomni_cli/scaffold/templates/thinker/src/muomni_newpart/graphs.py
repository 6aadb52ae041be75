"""Export graphs: ids to embeddings, and embeddings with the cache to logits."""

from __future__ import annotations

from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput
from muomni_newpart.model import Newpart


class Embedding(nn.Module):
    """(B,T) ids -> (B,T,D)."""

    def __init__(self, model: Newpart) -> None:
        super().__init__()
        self.table = model.table

    def forward(self, ids: Tensor) -> tuple[Tensor]:
        return (self.table(ids),)


class ThinkerGraph(nn.Module):
    """(B,T,D) embeddings without padding and (B,R,D) cache of each layer -> (B,T,V) logits, (B,T,D) states, and the
    new caches."""

    def __init__(self, model: Newpart) -> None:
        super().__init__()
        self.model = model

    def forward(self, embeds: Tensor, *held: Tensor) -> tuple[Tensor, ...]:
        hidden, seen = self.model.think(embeds, held)
        kept = [one[:, -self.model.config.reach(layer) :] for layer, one in enumerate(seen)]
        return hidden @ self.model.head_weight.T, hidden, *kept


def graphs(module: Newpart) -> list[Graph]:
    config = module.config

    def reference(embeds: Tensor, *held: Tensor) -> tuple[Tensor, ...]:
        cache = module.new_cache(len(embeds), config.ctx_len)
        cache.held = list(held)
        output = module(embeds=embeds, cache=cache)
        return output.logits, output.hidden, *cache.held

    states = {f"past_states.{n}.inputs": f"present_states.{n}.inputs" for n in range(config.n_layers)}
    graph_inputs = [GraphInput(name, ("batch", config.reach(n), config.d_model)) for n, name in enumerate(states)]
    return [
        Graph(
            name="embed",
            module=Embedding(module),
            inputs=[GraphInput("input_ids", ("batch", "time"), GraphInput.below(module.vocab_size))],
            outputs=["inputs_embeds"],
            cases={"traced": {"batch": 2, "time": 3}, "one token": {"batch": 1, "time": 1}},
            tolerance=0.0,
        ),
        Graph(
            name="thinker",
            module=ThinkerGraph(module),
            inputs=[GraphInput("inputs_embeds", ("batch", "time", config.d_model)), *graph_inputs],
            outputs=["logits", "hidden", *states.values()],
            cases={
                "traced": {"batch": 2, "time": 5},
                "one token": {"batch": 1, "time": 1},
                "batch 3": {"batch": 3, "time": 2},
                "whole context": {"batch": 1, "time": config.ctx_len},
            },
            states=states,
            initial_sizes={"batch": 2, "time": 1},
            calls=min(50, config.ctx_len),
            reference=reference,
        ),
    ]

"""The Thinker as two graphs: ids to embeddings, and embeddings with states of fixed size to logits.

Shapes: B batch, T tokens, V vocabulary, D width, N width of keys and queries, K tokens of the convolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput
from muomni_ssd.config import SSDConfig
from muomni_ssd.memory import piece
from muomni_ssd.model import Held, SSDThinker


class Embedding(nn.Module):
    """(B,T) ids -> (B,T,D)."""

    def __init__(self, model: SSDThinker) -> None:
        super().__init__()
        self.table = model.tok_emb

    def forward(self, ids: Tensor) -> tuple[Tensor]:
        """One tensor in, one out."""
        return (self.table(ids),)


class Thinking(nn.Module):
    """(B,T,D) embeddings and what is held -> (B,T,V) logits, (B,T,D) states after the final norm, what is held then.

    All T tokens are one piece, since a graph knows no loop over pieces whose number depends on its input.
    """

    def __init__(self, model: SSDThinker) -> None:
        super().__init__()
        self.model = model

    def forward(self, embeds: Tensor, *held: Tensor) -> tuple[Tensor, ...]:
        """``held``: ``recent`` and ``state`` of each layer in turn."""
        hidden, after = self.model.think(embeds, _by_layer(held), way=piece)
        return self.model.read_out(hidden), hidden, *flat(after)


def graphs(module: SSDThinker) -> list[Graph]:
    """See :class:`muomni_cli.api.Graph`."""
    config = module.config

    def by_its_cache(embeds: Tensor, *held: Tensor) -> tuple[Tensor, ...]:
        cache = module.new_cache(len(embeds), embeds.shape[1])
        cache.layers = _by_layer(held)
        output = module(embeds=embeds, cache=cache)
        return output.logits, output.hidden, *flat(cache.layers)

    states = names(config)
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
            module=Thinking(module),
            inputs=[GraphInput("inputs_embeds", ("batch", "time", config.d_model)), *ports(config)],
            outputs=["logits", "hidden", *states.values()],
            cases={
                "traced": {"batch": 2, "time": 3},
                "one token": {"batch": 1, "time": 1},
                "batch 3, one step": {"batch": 3, "time": 1},
                "two tokens": {"batch": 3, "time": 2},
                "whole context": {"batch": 1, "time": config.ctx_len},
            },
            states=states,
            initial_sizes={"batch": 2, "time": 1},
            calls=min(100, config.ctx_len),
            reference=by_its_cache,
        ),
    ]


def ports(config: SSDConfig) -> list[GraphInput]:
    """The states: ``past_states.N.recent`` and ``past_states.N.state``."""
    recent = ("batch", config.d_conv - 1, config.d_model + 2 * config.d_state)
    state = ("batch", config.d_state, config.d_model)
    return [GraphInput(name, recent if name.endswith("recent") else state) for name in names(config)]


def names(config: SSDConfig) -> dict[str, str]:
    """``past_states.N.recent`` -> ``present_states.N.recent`` ..., in the order of :class:`ThinkerGraph`."""
    held = [f"{layer}.{what}" for layer in range(config.n_layers) for what in Held._fields]
    return {f"past_states.{name}": f"present_states.{name}" for name in held}


def flat(layers: Iterable[Held]) -> list[Tensor]:
    """``recent`` and ``state`` of each layer in turn."""
    return [tensor for held in layers for tensor in held]


def _by_layer(held: Sequence[Tensor]) -> list[Held]:
    return [Held(*held[place : place + 2]) for place in range(0, len(held), 2)]

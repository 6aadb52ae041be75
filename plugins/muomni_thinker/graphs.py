"""The transformer as two graphs: ids to embeddings, and embeddings with a growing cache to logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Graph, Port
from muomni_cli.layers.growing import filled, grow, held_by, past_cases, past_ports, past_states
from muomni_thinker.model import Transformer


class Embedding(nn.Module):
    """(B,T) ids -> (B,T,D)."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.table = model.tok_emb

    def forward(self, ids: Tensor) -> tuple[Tensor]:
        """One tensor in, one out."""
        return (self.table(ids),)


class Thinking(nn.Module):
    """(B,T,D) embeddings and what is held -> (B,T,V) logits, (B,T,D) states after the final norm, what is held then."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, embeds: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """See :func:`muomni_cli.layers.growing.grow`."""
        hidden, present = grow(self.model, embeds, past)
        return self.model.read_out(hidden), hidden, *present


def graphs(module: Transformer) -> list[Graph]:
    """See :class:`muomni_cli.api.Graph`."""
    width, context = module.config.d_model, module.config.ctx_len

    def by_its_cache(embeds: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = filled(module, past, embeds.shape[1])
        output = module(embeds=embeds, cache=cache)
        return output.logits, output.hidden, *held_by(cache)

    states = past_states(module.config)
    return [
        Graph(
            name="embed",
            module=Embedding(module),
            inputs=[Port("input_ids", ("batch", "time"), every(module.vocab_size))],
            outputs=["inputs_embeds"],
            cases={
                "traced": {"batch": 2, "time": 3},
                "one token": {"batch": 1, "time": 1},
                "every token": {"batch": 1, "time": module.vocab_size},
            },
            tolerance=0.0,
        ),
        Graph(
            name="thinker",
            module=Thinking(module),
            inputs=[Port("inputs_embeds", ("batch", "time", width)), *past_ports(module.config)],
            outputs=["logits", "hidden", *states.values()],
            cases=past_cases(context),
            states=states,
            begin={"batch": 2, "time": 1, "past": 0},
            calls=min(100, context),
            reference=by_its_cache,
        ),
    ]


def every(vocabulary: int) -> Callable[[Generator, tuple[int, ...]], NDArray[Any]]:
    """Ids in a random order, each as often as any other."""

    def draw(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        count = int(np.prod(shape))
        return np.resize(random.permutation(vocabulary), count).reshape(shape)

    return draw

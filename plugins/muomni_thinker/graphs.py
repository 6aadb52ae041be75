"""The transformer's graphs for export, ids to embeddings and embeddings with a growing cache to logits, and its steps
for ``muomni trace``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.api import Graph, GraphInput, Step
from muomni_cli.nn.onnx_stack import FunctionGraph, cached_graph, filled, grow, held_by
from muomni_thinker.model import Transformer


def think(model: Transformer, embeds: Tensor, padding: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
    """(B,T,D) embeddings, (B,) empty places of the cache, and cache -> (B,T,V) logits, (B,T,D) states after the final
    norm, and cache; see :func:`muomni_cli.nn.onnx_stack.grow`."""
    hidden, present = grow(model, embeds, past, padding)
    return model.read_out(hidden), hidden, *present


def graphs(module: Transformer) -> list[Graph]:
    def by_its_cache(embeds: Tensor, padding: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = filled(module, past, embeds.shape[1], padding)
        output = module(embeds=embeds, cache=cache)
        return output.logits, output.hidden, *held_by(cache, past)

    thinker = FunctionGraph(module, think)
    embeds = GraphInput("inputs_embeds", ("batch", "time", module.config.d_model))
    outputs = ["logits", "hidden"]
    return [
        Graph(
            name="embed",
            module=FunctionGraph(module.tok_emb),
            inputs=[GraphInput("input_ids", ("batch", "time"), every(module.vocab_size))],
            outputs=["inputs_embeds"],
            cases={
                "traced": {"batch": 2, "time": 3},
                "one token": {"batch": 1, "time": 1},
                "every token": {"batch": 1, "time": module.vocab_size},
            },
            tolerance=0.0,
        ),
        cached_graph("thinker", module.config, thinker, [embeds], outputs, by_its_cache, padded=True),
    ]


def every(vocabulary: int) -> Callable[[Generator, tuple[int, ...]], NDArray[Any]]:
    """Random permutations of all ids."""

    def draw(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        count = int(np.prod(shape))
        return np.resize(random.permutation(vocabulary), count).reshape(shape)

    return draw


def steps(module: Transformer) -> list[Step]:
    """From ids, or embeddings, to logits; the first block in detail."""
    count = len(module.blocks)
    return [
        Step(
            at="tok_emb",
            title="token embedding",
            what="each id selects its row of a table",
            counts=lambda a, b: f"{_many(a[1], 'id')} -> {_many(b[1], 'embedding')}",
        ),
        _block(0, count),
        *_inside(module),
        *(_block(number, count) for number in range(1, count)),
        Step(at="norm", title="final norm", what="RMSNorm"),
        Step(
            at="read_out",
            title="head",
            what="a score for each token of the vocabulary, at every position",
            counts=lambda a, b: f"{_many(a[1], 'token')} -> {b[1]:,} x {b[2]:,} logits",
        ),
    ]


def _block(number: int, count: int) -> Step:
    return Step(
        at=f"blocks.{number}",
        title=f"block {number + 1} of {count}",
        what="attention, then an MLP, each on a normalized copy and added to the residual stream",
        counts=lambda a, b: f"{_many(a[1], 'token')} -> {_many(b[1], 'token')}",
    )


def _inside(module: Transformer) -> list[Step]:
    config = module.config
    return [
        Step(at="blocks.0.attention_norm", title="norm", what="RMSNorm"),
        Step(
            at="blocks.0.attention",
            title="attention",
            what="every token attends to itself and those before it",
            counts=lambda a, _: f"{config.n_heads} heads, scores of {a[1]} x {a[1]}",
        ),
        Step(
            at="blocks.0.attention.project",
            title="queries, keys, values",
            what="one linear layer, split into heads; queries and keys are rotated by their position (RoPE)",
            counts=_positions,
        ),
        Step(
            at="blocks.0.attention.attend",
            title="mixing",
            what="softmax of queries times keys weighs the values",
            counts=lambda a, _: f"{a[1]} heads x {a[2]} tokens",
        ),
        Step(at="blocks.0.mlp_norm", title="norm", what="RMSNorm"),
        Step(at="blocks.0.mlp", title="MLP", what=f"SwiGLU of inner width {config.d_ff}, each token by itself"),
    ]


def _positions(before: tuple[int, ...], after: tuple[int, ...]) -> str:
    return f"{_many(before[1], 'token')} at positions 0 to {before[1] - 1}, {after[1]} heads of {after[3]}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count > 1)}"

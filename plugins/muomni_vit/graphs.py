"""Export graphs of the vision transformer (pixel normalization included) and its heads, and steps for
``muomni trace``.

Shapes: B pictures, T tokens, W width, U texts, L symbols of a text, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.api import Graph, GraphInput, Step
from muomni_cli.nn.onnx_stack import FunctionGraph
from muomni_vit.heads import CaptioningTask, ClassificationTask, ContrastiveTask, mean_of, past_the_end
from muomni_vit.model import Vit
from muomni_vit.runtime import END


def classify(task: ClassificationTask, tokens: Tensor) -> Tensor:
    """(B,T,W) tokens -> (B,C) scores of classes."""
    return task.scores(tokens, {})


def caption(task: CaptioningTask, tokens: Tensor, given: Tensor) -> Tensor:
    """(B,T,W) tokens and the (B,L) bytes so far -> (B,1+L,257) scores of every next byte."""
    return task.scores(tokens, {"given": given})


def contrast(task: ContrastiveTask, tokens: Tensor, symbols: Tensor) -> Tensor:
    """(B,T,W) tokens and (U,L) texts -> (B,U) scores. The attention mask is per query, as the ONNX exporter needs."""
    words, padding = task.words, past_the_end(symbols)
    texts, length = symbols.shape
    unseen = padding[:, None, None].expand(texts, task.encoder.config.words.n_heads, length, length).flatten(0, 1)
    x = words.embed(symbols) + words.pos[:, :length]
    for block in words.blocks:
        x = block(x, src_mask=unseen)
    return task.match(tokens, mean_of(words.norm(x), padding))


def texts(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """(U,L) random texts, padded with :data:`END`."""
    lengths = random.integers(0, shape[1], shape[0])[:, None]
    letters = random.integers(ord("a"), ord("z") + 1, shape)
    return np.where(np.arange(shape[1]) < lengths, letters, END)


def graphs(module: Vit) -> list[Graph]:
    size = module.config.size
    return [
        Graph(
            name="encoder",
            module=FunctionGraph(module, Vit.tokens),  # pictures of 0 to 255, as they are read -> (B,T,W)
            inputs=[GraphInput("inputs", ("batch", 3, size, size), GraphInput.below(256, "uint8"))],
            outputs=["tokens"],
            cases={"traced": {"batch": 2}, "one": {"batch": 1}, "three": {"batch": 3}},
            tolerance=2e-5,
        )
    ]


def head_graphs(module: ClassificationTask | ContrastiveTask | CaptioningTask) -> list[Graph]:
    config = module.encoder.config
    inputs = [GraphInput("tokens", ("batch", config.token_count, module.encoder.width))]
    function: Callable[..., Tensor] = classify
    reference: Callable[..., tuple[Tensor]] | None = None
    if isinstance(module, ClassificationTask):
        cases = {"traced": {"batch": 2}, "one": {"batch": 1}, "three": {"batch": 3}}
    elif isinstance(module, CaptioningTask):
        function = caption
        inputs.append(GraphInput("given", ("batch", "symbols"), GraphInput.below(END)))
        cases = {
            "traced": {"batch": 2, "symbols": 3},
            "nothing yet": {"batch": 1, "symbols": 0},
            "the longest": {"batch": 3, "symbols": config.words.longest},
        }
    else:

        def by_words(tokens: Tensor, symbols: Tensor) -> tuple[Tensor]:
            return (module.scores(tokens, {"texts": symbols}),)

        function, reference = contrast, by_words
        inputs.append(GraphInput("texts", ("texts", "symbols"), texts))
        cases = {
            "traced": {"batch": 2, "texts": 3, "symbols": 5},
            "one text of no bytes": {"batch": 1, "texts": 1, "symbols": 1},
            "the longest": {"batch": 3, "texts": 7, "symbols": config.words.longest + 1},
        }
    head = FunctionGraph(module, function)
    return [Graph(name="head", module=head, inputs=inputs, outputs=["scores"], cases=cases, reference=reference)]


def steps(module: Vit) -> list[Step]:
    """From pixels to tokens."""
    config = module.config
    side = config.patch
    stem = f"a {side} x {side} convolution of stride {side} turns each patch into a vector"
    if config.stem == "conv":
        stem = f"{side.bit_length() - 1} 3 x 3 convolutions of stride 2 and a linear map turn each patch into a vector"
    found = [
        Step(
            at="patches",
            title="patch embedding",
            what=f"normalizes the pixels; {stem}",
            counts=lambda a, b: f"{prod(a[1:]):,} pixels -> {prod(b[2:]):,} patches",
        ),
        Step(
            at="in_rows",
            title="reshape",
            what="the grid becomes a sequence, row by row",
            counts=lambda a, b: f"{a[2]} x {a[3]} patches -> {b[1]:,} patches",
        ),
        Step(
            at="add_cls",
            title="CLS token",
            what="prepends a learned vector, which gathers the content of the picture",
            counts=lambda a, b: f"{a[1]:,} patches -> {b[1]:,} tokens",
        ),
    ]
    if module.pos is not None:
        found.append(Step(at="add_positions", title="positions", what="adds the learned vector of each position"))
    found += [_block(module, number) for number in range(len(module.blocks))]
    if module.pool is not None:
        found.append(
            Step(
                at="pooled",
                title="pooling",
                what=f"averages patches over a grid of {config.tokens} x {config.tokens}",
                counts=lambda a, b: f"{a[1]:,} patches -> {b[1]:,} tokens",
            )
        )
    return [*found, Step(at="norm", title="final norm", what="LayerNorm")]


def _block(module: Vit, number: int) -> Step:
    rope = "" if module.pos is not None else " with 2-D RoPE"
    what = f"every token attends to all tokens{rope}, then an MLP, both with residual connections"
    if module.config.tokens == "cls" and number == len(module.blocks) - 1:
        what += "; the last layer computes only CLS"
    return Step(
        at=f"blocks.{number}",
        title=f"block {number + 1} of {len(module.blocks)}",
        what=what,
        counts=lambda a, b: f"{a[1]:,} tokens -> {b[1]:,} token{'s' * (b[1] > 1)}",
    )

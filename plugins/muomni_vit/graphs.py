"""The vision transformer as one graph, with what is done to pixels inside; and what its own stage learned, as another.

Shapes: B pictures, T tokens, W width, U texts, L symbols of a text, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Graph, Port
from muomni_vit.captions import Captions
from muomni_vit.contrast import Contrast, mean_of, past_the_end
from muomni_vit.labels import Labels
from muomni_vit.model import Vit
from muomni_vit.spelling import END


class Seeing(nn.Module):
    """(B,3,S,S) pictures of 0 to 255, as they are read -> (B,T,W) tokens."""

    def __init__(self, model: Vit) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        """One tensor in, one out."""
        return (self.model.tokens(pictures),)


class Naming(nn.Module):
    """(B,T,W) tokens -> (B,C) scores of classes."""

    def __init__(self, lesson: Labels) -> None:
        super().__init__()
        self.lesson = lesson

    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        """One tensor in, one out."""
        return (self.lesson.scores(tokens, {}),)


class Matching(nn.Module):
    """(B,T,W) tokens and (U,L) texts -> (B,U) scores of the texts."""

    def __init__(self, lesson: Contrast) -> None:
        super().__init__()
        self.lesson, self.heads = lesson, lesson.encoder.config.words.n_heads

    def forward(self, tokens: Tensor, symbols: Tensor) -> tuple[Tensor]:
        """As :meth:`Contrast.scores`; ONNX wants the mask of each query, not one for all of them."""
        words, padding = self.lesson.words, past_the_end(symbols)
        texts, length = symbols.shape
        unseen = padding[:, None, None].expand(texts, self.heads, length, length).flatten(0, 1)
        x = words.embed(symbols) + words.pos[:, :length]
        for block in words.blocks:
            x = block(x, src_mask=unseen)
        return (self.lesson.match(tokens, mean_of(words.norm(x), padding)),)


class Writing(nn.Module):
    """(B,T,W) tokens and the (B,L) bytes so far -> (B,1+L,257) scores of each next one."""

    def __init__(self, lesson: Captions) -> None:
        super().__init__()
        self.lesson = lesson

    def forward(self, tokens: Tensor, given: Tensor) -> tuple[Tensor]:
        """Two tensors in, one out."""
        return (self.lesson.scores(tokens, {"given": given}),)


def texts(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """(U,L) bytes of texts of any length, and ends after them."""
    lengths = random.integers(0, shape[1], shape[0])[:, None]
    letters = random.integers(ord("a"), ord("z") + 1, shape)
    return np.where(np.arange(shape[1]) < lengths, letters, END)


def graphs(module: Vit) -> list[Graph]:
    """See :class:`muomni_cli.api.Graph`."""
    size = module.config.size
    return [
        Graph(
            name="encoder",
            module=Seeing(module),
            inputs=[Port("inputs", ("batch", 3, size, size), Port.below(256, "uint8"))],
            outputs=["tokens"],
            cases={"traced": {"batch": 2}, "one": {"batch": 1}, "three": {"batch": 3}},
            tolerance=2e-5,
        )
    ]


def head_graphs(module: Labels | Contrast | Captions) -> list[Graph]:
    """See ``EncoderPart.head_graphs``."""
    config = module.encoder.config
    tokens = Port("tokens", ("batch", config.token_count, module.encoder.width))
    one, two, three = {"batch": 1}, {"batch": 2}, {"batch": 3}
    if isinstance(module, Labels):
        return [_head(Naming(module), [tokens], {"traced": two, "one": one, "three": three})]
    longest = config.words.longest
    if isinstance(module, Captions):
        cases = {
            "traced": {**two, "symbols": 3},
            "nothing yet": {**one, "symbols": 0},
            "the longest": {**three, "symbols": longest},
        }
        return [_head(Writing(module), [tokens, Port("given", ("batch", "symbols"), Port.below(END))], cases)]
    cases = {
        "traced": {**two, "texts": 3, "symbols": 5},
        "one text of no bytes": {**one, "texts": 1, "symbols": 1},
        "the longest": {**three, "texts": 7, "symbols": longest + 1},
    }

    def by_its_own(tokens: Tensor, symbols: Tensor) -> tuple[Tensor]:
        return (module.scores(tokens, {"texts": symbols}),)

    return [_head(Matching(module), [tokens, Port("texts", ("texts", "symbols"), texts)], cases, by_its_own)]


def _head(
    module: nn.Module,
    inputs: list[Port],
    cases: dict[str, dict[str, int]],
    reference: Callable[..., tuple[Tensor]] | None = None,
) -> Graph:
    return Graph(name="head", module=module, inputs=inputs, outputs=["scores"], cases=cases, reference=reference)

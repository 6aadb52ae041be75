"""Runs the encoders on the media of one message, within each modality's token limit. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import Media
from muomni_cli.data.modality import Modality, in_order

MediaEmbeddings = list[tuple[Media, NDArray[np.float32]]]

Encode = Callable[[str, NDArray[Any]], NDArray[np.float32]]
"""One input of a modality from ``EncoderPart.read`` -> (T,D) tokens of the Thinker's width."""


class ModalityEncoders:
    """Encoders and projectors of a model, in token order; ``notice`` receives a line when an input is truncated."""

    def __init__(
        self, encode: Encode, modalities: Mapping[str, Modality], context: int, notice: Callable[[str], None]
    ) -> None:
        self._encode, self._modalities, self._context, self._notice = encode, modalities, context, notice

    def __call__(self, media: Sequence[Media]) -> MediaEmbeddings:
        """Media of one message -> each with its tokens (T,D), in order. RequestError if one cannot be read or used."""
        inputs = [(one, self.read(one)) for one in in_order(media, self._modalities)]
        return [
            (one, self.encode(one, array, kept)) for (one, array), kept in zip(inputs, self.allot(inputs), strict=True)
        ]

    def read(self, one: Media) -> NDArray[Any]:
        """The encoder input of a medium. RequestError if it cannot be read."""
        return self._modalities[one.modality].read(one)

    def allot(self, inputs: Sequence[tuple[Media, NDArray[Any]]]) -> list[int]:
        """Tokens used of each input of a message, ordered by modality. RequestError if they do not fit."""
        allotted: list[int] = []
        for name, modality in self._modalities.items():
            own = [(one, modality.num_tokens(array)) for one, array in inputs if one.modality == name]
            for (one, made), kept in zip(own, modality.allot([made for _, made in own], self._context), strict=True):
                if kept < made:
                    self._notice(f"({one.name}: its first {kept} of {made} tokens are used; no more fit the context)")
                allotted.append(kept)
        return allotted

    def encode(self, one: Media, array: NDArray[Any], kept: int) -> NDArray[np.float32]:
        return self._encode(one.modality, array)[:kept]

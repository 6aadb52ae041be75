"""Running the encoders for one message: files in, embeddings out, within each modality's share. Knows no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import Media
from muomni_cli.data.modality import Modality, in_order

MediaEmbeddings = list[tuple[Media, NDArray[np.float32]]]

Encode = Callable[[str, NDArray[Any]], NDArray[np.float32]]
"""One input of a modality, as ``EncoderPart.read`` gives it -> (T,D) tokens as wide as the Thinker's embeddings."""


class ModalityEncoders:
    """Encoders and projectors of an open model.

    Args:
        encode: runs them.
        senses: their declarations, in the order in which their tokens stand before the text.
        context: the Thinker's.
        notice: told when the end of an input is left out.
    """

    def __init__(
        self, encode: Encode, modalities: Mapping[str, Modality], context: int, notice: Callable[[str], None]
    ) -> None:
        self._encode, self._modalities, self._context, self._notice = encode, modalities, context, notice

    def __call__(self, media: Sequence[Media]) -> MediaEmbeddings:
        """Media of one message -> each with its tokens (T,D), in the order in which they stand before the text.

        Raises:
            RequestError: one cannot be read, the model has no encoder for it, or they do not fit.
        """
        inputs = [(one, self.read(one)) for one in in_order(media, self._modalities)]
        return [
            (one, self.encode(one, array, kept)) for (one, array), kept in zip(inputs, self.allot(inputs), strict=True)
        ]

    def read(self, one: Media) -> NDArray[Any]:
        """One input of its encoder. RequestError if it cannot be read."""
        return self._modalities[one.modality].read(one)

    def allot(self, inputs: Sequence[tuple[Media, NDArray[Any]]]) -> list[int]:
        """How many tokens of each of a message's inputs are used; they are in the order of the senses.

        Raises:
            RequestError: they do not fit.
        """
        allotted: list[int] = []
        for modality, sense in self._modalities.items():
            own = [(one, sense.num_tokens(array)) for one, array in inputs if one.modality == modality]
            for (one, made), kept in zip(own, sense.allot([made for _, made in own], self._context), strict=True):
                if kept < made:
                    self._notice(f"({one.name}: its first {kept} of {made} tokens are used; no more fit the context)")
                allotted.append(kept)
        return allotted

    def encode(self, one: Media, array: NDArray[Any], kept: int) -> NDArray[np.float32]:
        """The first ``kept`` of its tokens, (T,D)."""
        return self._encode(one.modality, array)[:kept]

"""Running the encoders for one message: files in, embeddings out, within each modality's share. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.api import Media
from muomni_cli.omni.model import Omni
from muomni_cli.omni.shares import Sense, in_order

Taken = list[tuple[Media, NDArray[np.float32]]]


class Senses:
    """Encoders and projectors of an open model.

    Args:
        omni: in evaluation mode, on its device.
        senses: their declarations, in the order in which their tokens stand before the text.
        context: the Thinker's.
        notice: told when the end of an input is left out.
    """

    def __init__(self, omni: Omni, senses: Mapping[str, Sense], context: int, notice: Callable[[str], None]) -> None:
        self._omni, self._senses, self._context, self._notice = omni, senses, context, notice

    def __call__(self, media: Sequence[Media]) -> Taken:
        """Media of one message -> each with its tokens (T,D), in the order in which they stand before the text.

        Raises:
            RequestError: one cannot be read, the model has no encoder for it, or they do not fit.
        """
        ordered = in_order(media, self._senses)
        inputs = [self._senses[one.modality].read(one) for one in ordered]
        taken: Taken = []
        for modality, sense in self._senses.items():
            own = [(one, array) for one, array in zip(ordered, inputs, strict=True) if one.modality == modality]
            counts = [self._omni.count(modality, array) for _, array in own]
            for (one, array), made, kept in zip(own, counts, sense.allot(counts, self._context), strict=True):
                if kept < made:
                    self._notice(f"({one.name}: its first {kept} of {made} tokens are used; no more fit the context)")
                taken.append((one, self._encode(modality, array)[:kept]))
        return taken

    @torch.inference_mode()
    def _encode(self, modality: str, array: NDArray[np.generic]) -> NDArray[np.float32]:
        device = next(self._omni.parameters()).device
        inputs = torch.from_numpy(np.array(array))[None].to(device)
        tokens: NDArray[np.float32] = self._omni.take_in(modality, inputs)[0].float().cpu().numpy()
        return tokens

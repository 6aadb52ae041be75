"""The omni model: encoders, a linear projector each, and a Thinker over their tokens and text, as in LLaVA
(arXiv:2304.08485).

Shapes: B batch, T tokens, D the Thinker's width, W an encoder's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.contract.models import Encoder, Thinker


class OmniModel(nn.Module):
    """A Thinker with encoders, by modality; those in ``frozen`` run without gradients and without dropout."""

    def __init__(self, thinker: Thinker, encoders: Mapping[str, Encoder], frozen: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.thinker = cast("Any", thinker)
        self.encoders = nn.ModuleDict(cast("Any", dict(encoders)))
        width = int(thinker.config.d_model)
        self.projectors = nn.ModuleDict({name: nn.Linear(e.width, width) for name, e in encoders.items()})
        self.frozen = frozen
        for name in frozen:
            self.encoders[name].requires_grad_(False)

    def reset_projectors(self) -> None:
        """Random projectors whose tokens have the scale of text embeddings, for a stable start."""
        with torch.no_grad():
            ids = torch.arange(self.thinker.vocab_size, device=self.thinker.head_weight.device)
            size = self.thinker.embed(ids[None]).float().std().item()
        for layer in self.projectors.values():
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=size / layer.in_features**0.5)  # encoders end in a norm: inputs near 1
            nn.init.zeros_(layer.bias)

    def train(self, mode: bool = True) -> Self:
        """Frozen encoders stay in evaluation mode."""
        super().train(mode)
        for modality in self.frozen:
            self.encoders[modality].eval()
        return self

    def embed_media(self, modality: str, inputs: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """A batch of one modality's inputs, padded on the right -> (B,T,D); see :class:`muomni_cli.api.Encoder`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and modality not in self.frozen):
            tokens = self.encoders[modality](inputs, lengths).tokens
        return self.projectors[modality](tokens)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """One input from ``EncoderPart.read`` -> (T,D)."""
        device = next(self.parameters()).device
        tokens = self.embed_media(modality, torch.from_numpy(np.array(inputs))[None].to(device))
        made: NDArray[np.float32] = tokens[0].float().cpu().numpy()
        return made

    def embed(self, ids: Tensor, rows: Sequence[Tensor], places: Sequence[Tensor]) -> Tensor:
        """(B,T) ids -> (B,T,D) embeddings, with ``rows`` (n,D) at their flat ``places`` (n,) in B x T."""
        embeds: Tensor = self.thinker.embed(ids)
        if not rows:
            return embeds
        flat = embeds.flatten(0, 1)
        return flat.index_copy(0, torch.cat(list(places)), torch.cat(list(rows)).to(flat.dtype)).view_as(embeds)

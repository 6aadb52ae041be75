"""EnCodec (arXiv:2210.13438) of transformers as a codec of waveforms: a SEANet with LSTMs at both ends of a residual
vector quantizer.

Shapes: B batch, N samples, T code frames, D width, Q codebooks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from torch import Tensor, nn
from transformers import EncodecModel

from muomni_transformers.checkpoint_config import ENCODEC, their_settings
from muomni_transformers.seanet import SeanetCodec, convolved, nearest, summed
from muomni_transformers.speech_settings import EncodecConfig
from muomni_transformers.weights import without_weight_norm


class Encodec(SeanetCodec):
    """A :class:`muomni_cli.contract.codecs.WaveCodec`; its convolutions hold their weights, not directions and
    lengths."""

    def __init__(self, config: EncodecConfig) -> None:
        tower = EncodecModel(transformers.EncodecConfig(**their_settings(ENCODEC, config)))
        super().__init__(config, without_weight_norm(tower))
        self.config = config
        for layer in self.tower.quantizer.layers:  # those of a new model are all zero
            nn.init.normal_(layer.codebook.embed)

    def decode(self, codes: Tensor) -> Tensor:
        """(B,T,Q) codes -> (B, frame*T) samples. None depends on later codes, but those of the first frames depend on
        each other (``lookahead``)."""
        x = summed(self._tables(), codes)
        return convolved(self.tower.decoder.layers, x, self.config.padding)[:, 0]

    def latents(self, waves: Tensor) -> Tensor:
        """(B, frame*T) samples -> (B,T,D) before quantization, as if silence followed, which decides only what is
        reflected at the beginning of a short sound."""
        padded = F.pad(waves, (0, self.config.lookahead * self.frame))[:, None]
        x = convolved(self.tower.encoder.layers, padded, self.config.padding)
        return x[..., : waves.shape[1] // self.frame].transpose(1, 2)

    def quantized(self, latents: Tensor) -> Tensor:
        """(B,T,D) -> (B,T,Q) codes."""
        return torch.stack(nearest(self._tables(), latents), dim=-1)

    def _tables(self) -> list[Tensor]:
        return [layer.codebook.embed for layer in self.tower.quantizer.layers[: self.codebooks]]


build = Encodec

"""The codec: windows of log-mel to codes, and codes to log-mel as they come.

ConvNeXt blocks on both sides (arXiv:2201.03545) with residual vector quantisation between them (arXiv:2107.03312). The
encoder looks both ways; the decoder is causal but for a lookahead. It knows log-mel and codes, neither sounds nor text.

Shapes: B batch, T code frames, F mel bins, W width, D width of the space of codes, Q codebooks.
"""

from __future__ import annotations

import math

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import MelConfig, RequestError
from muomni_cli.layers.convnext import ConvNeXt
from muomni_cli.layers.streaming import CausalStack, Stream
from muomni_rvq.config import CodecConfig
from muomni_rvq.quantizer import ResidualQuantizer


class Encoder(nn.Module):
    """(B, frame*T, F) log-mel -> (B,T,F): one Linear over each window, blocks that look both ways, one Linear."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.frame, self.mean, self.scale = config.frame, config.mel_mean, config.mel_scale
        self.reach = config.encoder_layers * (config.kernel // 2)  # code frames that it sees ahead, or fewer
        bins = config.mel.n_mels
        self.patch = linear(config.frame * bins, config.width)
        blocks = (block(config, config.width) for _ in range(config.encoder_layers))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = linear(config.width, bins)

    def forward(self, mel: Tensor) -> Tensor:
        """See above."""
        batch, frames, bins = mel.shape
        x = ((mel - self.mean) / self.scale).reshape(batch, frames // self.frame, self.frame * bins)
        x = self.patch(x)
        for layer in self.blocks:
            assert isinstance(layer, ConvNeXt)
            x = layer.centred(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class Unfold(nn.Module):
    """(B,T,W) -> (B, frame*T, V): each code frame becomes ``frame`` mel frames."""

    def __init__(self, width: int, frame: int, fine_width: int) -> None:
        super().__init__()
        self.fine_width = fine_width
        self.proj = linear(width, frame * fine_width)

    def forward(self, x: Tensor) -> Tensor:
        """See above."""
        return self.proj(x).reshape(x.shape[0], -1, self.fine_width)  # type: ignore[no-any-return]


class Bins(nn.Module):
    """(B,M,V) -> (B,M,F) log-mel, in nats."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.mean, self.scale = config.mel_mean, config.mel_scale
        self.norm = nn.LayerNorm(config.fine_width, eps=1e-6)
        self.proj = linear(config.fine_width, config.mel.n_mels)

    def forward(self, x: Tensor) -> Tensor:
        """See above."""
        return self.proj(self.norm(x)) * self.scale + self.mean  # type: ignore[no-any-return]


class Codec(nn.Module):
    """A :class:`muomni_cli.api.Codec`."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        bins = config.mel.n_mels
        self.encoder = Encoder(config)
        self.inward = linear(bins, config.code_dim)
        self.quantizer = ResidualQuantizer(
            config.codebooks, config.codebook_size, config.code_dim, decay=config.decay, revive=config.revive
        )
        self.outward = linear(config.code_dim, bins)
        self.decoder = CausalStack(
            [
                linear(bins, config.width),
                *(block(config, config.width) for _ in range(config.decoder_layers)),
                Unfold(config.width, config.frame, config.fine_width),
                *(block(config, config.fine_width) for _ in range(config.fine_layers)),
                Bins(config),
            ],
            bins,
            lookahead=config.lookahead,
            factor=config.frame,
        )

    @property
    def mel(self) -> MelConfig:
        """The log-mel that it takes and gives."""
        return self.config.mel

    @property
    def frame(self) -> int:
        """Mel frames of a code frame."""
        return self.config.frame

    @property
    def codebooks(self) -> int:
        """Q."""
        return self.config.codebooks

    @property
    def codebook_size(self) -> int:
        """K."""
        return self.config.codebook_size

    def windows(self, mel: Tensor) -> Tensor:
        """(B, frame*T, F) log-mel -> (B,T,F): each code frame's window as one vector.

        After the end the encoder sees silence, so that a row with silence after it gives what it gives alone.

        Raises:
            RequestError: the mel frames are no whole number of code frames, or have another number of bins.
        """
        if mel.shape[1] % self.frame or mel.shape[2] != self.mel.n_mels:
            raise RequestError(
                f"log-mel of shape {tuple(mel.shape)} does not fit the codec",
                f"give a multiple of {self.frame} frames of {self.mel.n_mels} bins",
            )
        silence = math.log(self.mel.mel_floor)
        padded = F.pad(mel, (0, 0, 0, self.encoder.reach * self.frame), value=silence)
        return self.encoder(padded)[:, : mel.shape[1] // self.frame]  # type: ignore[no-any-return]

    def encode(self, frames: Tensor) -> Tensor:
        """(B,T,F) -> (B,T,Q) codes, int64."""
        return self.quantizer.encode(self.inward(frames))

    def decode(self, codes: Tensor) -> Tensor:
        """(B,T,Q) codes -> (B,T,F)."""
        return self.outward(self.quantizer.decode(codes))  # type: ignore[no-any-return]

    def expand(self, frames: Tensor) -> Tensor:
        """(B,T,F) -> (B, frame*T, F) log-mel."""
        return self.decoder.whole(frames)

    def stream(self, batch: int = 1) -> Stream:
        """:meth:`expand` of (B,T,F) that comes in pieces."""
        return self.decoder.stream(batch)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, frame*T, F) log-mel -> what is left of it after coding, in the same shape."""
        return self.expand(self.decode(self.encode(self.windows(mel))))


def block(config: CodecConfig, width: int) -> ConvNeXt:
    """One of the blocks, all of which are made alike."""
    return ConvNeXt(width, config.expansion * width, kernel=config.kernel)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that keeps the variance of its input, with biases of zero."""
    made = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(made.weight, std=1 / math.sqrt(inputs))
    nn.init.zeros_(made.bias)
    return made


def build(config: CodecConfig) -> Codec:
    """A codec with fresh weights from torch's global random numbers."""
    return Codec(config)

"""The codec: windows of log-mel to codes, and (streaming) codes to log-mel.

ConvNeXt blocks on both sides (arXiv:2201.03545) with residual vector quantization between them (arXiv:2107.03312). The
encoder is not causal; the decoder is, but for a lookahead. Codes are moving averages of their points
(arXiv:1711.00937), start as k-means of real frames, and are replaced when unused: without that most of them die. All of
it is in buffers, and so in checkpoints.

Shapes: B batch, T code frames, F mel bins, W width, N points, D width of code vectors, Q codebooks, K codes in each.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import RequestError
from muomni_cli.nn.collectives import rank, total, world_size
from muomni_cli.nn.streaming import CausalStack, CausalStream, ConvNeXt
from muomni_rvq.plugin import CodecConfig

ROUNDS = 20  # of k-means


class ResidualQuantizer(nn.Module):
    """(...,D) points to (...,Q) codes and back: Q ``codebooks`` of ``size`` K and ``width`` D. ``decay``: of the moving
    averages, per update. ``revive``: a code with less than this share of the mean use is replaced by a recent point."""

    table: Tensor
    counts: Tensor
    ready: Tensor

    def __init__(self, codebooks: int, size: int, width: int, *, decay: float = 0.97, revive: float = 0.1) -> None:
        super().__init__()
        self.codebooks, self.size, self.decay, self.revive = codebooks, size, decay, revive
        finer = 0.5 ** torch.arange(codebooks)[:, None, None]
        self.register_buffer("table", torch.randn(codebooks, size, width) * finer)  # (Q,K,D)
        self.register_buffer("counts", torch.zeros(codebooks, size))  # points per step, averaged
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))  # whether codes are initialized
        self._collected: list[tuple[Tensor, Tensor]] = []  # points and codes since the last update

    def encode(self, points: Tensor) -> Tensor:
        """(...,D) -> (...,Q) int64: in each codebook the code nearest to the residual."""
        left, codes = points.float(), []
        for table in self.table:
            code = nearest(left, table)
            left = left - F.embedding(code, table)
            codes.append(code)
        return torch.stack(codes, dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """(...,Q) -> (...,D): the sum of the code vectors."""
        return self.looked_up(codes).sum(dim=-2)

    def looked_up(self, codes: Tensor) -> Tensor:
        """(...,Q) -> (...,Q,D) code vectors."""
        first = torch.arange(self.codebooks, device=codes.device) * self.size
        return F.embedding(codes + first, self.table.flatten(0, 1))

    @torch.no_grad()
    def begin(self, points: Tensor, batch: int, seed: int) -> None:
        """Initialize each codebook by k-means, from ``seed``, of (N,D) real points, or of their residuals; N is at
        least 1, and below K some codes are equal, until they are revived. ``batch``: points per update."""
        rng = torch.Generator().manual_seed(seed)
        left = points.float()
        for number in range(self.codebooks):
            table, shares = k_means(left, self.size, rng)
            self.table[number].copy_(table)
            self.counts[number].copy_(shares * batch)
            left = left - F.embedding(nearest(left, table), table)
        self.ready.fill_(True)

    def collect(self, points: Tensor, codes: Tensor) -> None:
        """Keep (N,D) points and the (N,Q) codes that they were assigned for the next :meth:`update`."""
        self._collected.append((points.detach().float(), codes))

    @torch.no_grad()
    def update(self, seed: int, skip: Tensor) -> None:
        """Move the codes towards all collected points, those of other processes included, unless ``skip`` (a bool
        scalar) is true. ``seed``: of the points that replace unused codes."""
        held, self._collected = self._collected, []
        if not held:
            return
        left = torch.cat([points for points, _ in held])
        codes = torch.cat([codes for _, codes in held])
        sizes = left.new_zeros(world_size())  # points of each process
        sizes[rank()] = len(left)
        residuals: list[Tensor] = []
        found: list[Tensor] = []  # counts (K,) and sums (K,D) of each codebook
        for table, code in zip(self.table, codes.unbind(-1), strict=True):
            residuals.append(left)
            found += gathered(left, code, self.size)
            left = left - F.embedding(code, table)
        summed = total(torch.cat([sizes, *(one.flatten() for one in found)]))  # in one reduction
        flat = torch.split(summed, [one.numel() for one in (sizes, *found)])
        sizes, hits, sums = flat[0], torch.stack(flat[1::2]), torch.stack(flat[2::2]).view_as(self.table)
        counts = torch.lerp(hits, self.counts, self.decay)
        moved = torch.lerp(sums, self.counts[..., None] * self.table, self.decay)
        table = torch.where(counts[..., None] > 0, moved / counts.clamp_min(1e-9)[..., None], self.table)
        if self.revive:  # replace each unused code by a random point, with the mean use
            mean = sizes.sum() / self.size
            dead = counts < self.revive * mean
            table = torch.where(dead[..., None], self._drawn(torch.stack(residuals), sizes, seed), table)
            counts = torch.where(dead, mean, counts)
        self.table.copy_(torch.where(skip, self.table, table))
        self.counts.copy_(torch.where(skip, self.counts, counts))

    def _drawn(self, residuals: Tensor, sizes: Tensor, seed: int) -> Tensor:
        """(Q,K,D) random ones of all processes' points: of (Q,N,D) here and ``sizes`` points in each."""
        shares = torch.rand(
            self.codebooks, self.size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
        )
        drawn = (shares.to(sizes.device) * sizes.sum()).long() - sizes[: rank()].sum().long()
        own = (drawn >= 0) & (drawn < residuals.shape[1])
        places = drawn.clamp(0, residuals.shape[1] - 1)[..., None].expand(-1, -1, residuals.shape[2])
        return total(residuals.gather(1, places) * own[..., None])


def nearest(points: Tensor, table: Tensor) -> Tensor:
    """(...,D) points, (K,D) -> (...) indices of the nearest rows, in float32 even under autocast: bf16 cannot tell fine
    codes apart."""
    if torch.is_autocast_enabled(points.device.type):
        with torch.autocast(points.device.type, enabled=False):
            return nearest(points, table)
    # |p - c|^2 less |p|^2, which is the same for all c
    return torch.argmin(table.square().sum(1) - 2 * (points @ table.T), dim=-1)


def gathered(points: Tensor, code: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(N,D) points and their (N,) codes below ``size`` -> (K,) counts and (K,D) sums by code."""
    hits = points.new_zeros(size).index_add_(0, code, points.new_ones(len(code)))
    return hits, points.new_zeros(size, points.shape[1]).index_add_(0, code, points)


def k_means(points: Tensor, size: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """(N,D) points -> (K,D) centers by Lloyd's algorithm, and the (K,) share of the points of each. Centers start as
    random points; one that loses all of its points moves to another random point."""

    def drawn() -> Tensor:
        chosen = [torch.randperm(len(points), generator=rng) for _ in range(-(-size // len(points)))]
        return points[torch.cat(chosen)[:size].to(points.device)]

    table = drawn()
    for _ in range(ROUNDS):
        hits, sums = gathered(points, nearest(points, table), size)
        table = torch.where(hits[:, None] > 0, sums / hits.clamp_min(1)[:, None], drawn())
    hits, _ = gathered(points, nearest(points, table), size)
    return table, hits / len(points)


class CodecEncoder(nn.Module):
    """(B, frame*T, F) log-mel -> (B,T,F): one Linear over each window, non-causal blocks, one Linear."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.frame, self.mean, self.scale = config.frame, config.mel_mean, config.mel_scale
        self.reach = config.encoder_layers * (config.kernel // 2)  # most code frames of lookahead
        bins = config.mel.n_mels
        self.patch = linear(config.frame * bins, config.width)
        self.blocks = nn.ModuleList(block(config, config.width) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = linear(config.width, bins)

    def forward(self, mel: Tensor) -> Tensor:
        batch, frames, bins = mel.shape
        x = self.patch(((mel - self.mean) / self.scale).reshape(batch, frames // self.frame, self.frame * bins))
        for layer in self.blocks:
            assert isinstance(layer, ConvNeXt)
            x = layer.centered(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class Unfold(nn.Module):
    """(B,T,W) -> (B, frame*T, V): each code frame becomes ``frame`` mel frames."""

    def __init__(self, width: int, frame: int, fine_width: int) -> None:
        super().__init__()
        self.fine_width = fine_width
        self.proj = linear(width, frame * fine_width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).reshape(x.shape[0], -1, self.fine_width)  # type: ignore[no-any-return]


class Bins(nn.Module):
    """(B,M,V) -> (B,M,F) log-mel, in nats."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.mean, self.scale = config.mel_mean, config.mel_scale
        self.norm = nn.LayerNorm(config.fine_width, eps=1e-6)
        self.proj = linear(config.fine_width, config.mel.n_mels)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.norm(x)) * self.scale + self.mean  # type: ignore[no-any-return]


class RvqCodec(nn.Module):
    """A :class:`muomni_cli.api.Codec`."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config, self.mel, self.frame = config, config.mel, config.frame
        self.codebooks, self.codebook_size = config.codebooks, config.codebook_size
        bins = config.mel.n_mels
        self.encoder = CodecEncoder(config)
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

    def windows(self, mel: Tensor) -> Tensor:
        """(B, frame*T, F) log-mel -> (B,T,F): one vector per code frame. The end is padded with silence, so that a row
        of a padded batch gives what it gives alone. RequestError: the mel frames are no multiple of a code frame, or
        have another number of bins."""
        if mel.shape[1] % self.frame or mel.shape[2] != self.mel.n_mels:
            raise RequestError(
                f"log-mel of shape {tuple(mel.shape)} does not fit the codec",
                f"give a multiple of {self.frame} frames of {self.mel.n_mels} bins",
            )
        silence = self.mel.silent_level
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

    def stream(self, batch: int = 1) -> CausalStream:
        """Streaming :meth:`expand`."""
        return self.decoder.stream(batch)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, frame*T, F) log-mel -> its reconstruction, of the same shape."""
        return self.expand(self.decode(self.encode(self.windows(mel))))


def block(config: CodecConfig, width: int) -> ConvNeXt:
    return ConvNeXt(width, config.expansion * width, kernel=config.kernel)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that keeps the variance of its input, with zero biases."""
    made = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(made.weight, std=1 / math.sqrt(inputs))
    nn.init.zeros_(made.bias)
    return made


build = RvqCodec

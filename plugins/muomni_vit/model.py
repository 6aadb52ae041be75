"""The vision transformer (arXiv:2010.11929), pre-norm: pixels to tokens, with rotary positions and pooled patches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import EncoderOutput
from muomni_cli.nn.transformer import attend
from muomni_vit.plugin import VitConfig

Turn = tuple[Tensor, Tensor]  # cosines and sines of the rotary positions, each broadcast over (B,T,H,Dh)


def rotary_tables(grid: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """(1+G²,1,Dh) cosines and sines of 2-D RoPE for a CLS token and G² patches, row by row.

    Axial form of arXiv:2403.13298: dimensions i and i + Dh/2 form a pair; the first half of the pairs rotates by the
    patch's row, the other by its column. CLS does not rotate. The sign is folded into the sines, so that rotating is
    ``x * cos + roll(x, Dh/2) * sin``.
    """
    quarter = head_dim // 4
    speeds = theta ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    along = torch.outer(torch.arange(grid, dtype=torch.float64), speeds)  # (G,Dh/4)
    rows = along[:, None].expand(grid, grid, quarter)
    columns = along[None, :].expand(grid, grid, quarter)
    angles = torch.cat((rows, columns), dim=2).flatten(0, 1)  # (G²,Dh/2)
    angles = torch.cat((angles.new_zeros(1, 2 * quarter), angles))
    cos = torch.cat((angles.cos(), angles.cos()), dim=1)
    sin = torch.cat((-angles.sin(), angles.sin()), dim=1)
    return cos[:, None].float(), sin[:, None].float()


def pooling(grid: int, cells: int) -> Tensor:
    """(C²,G²) weights that average G x G patches over C x C cells of equal area. Rows sum to 1.

    A patch shared by two cells counts in each by its overlap, so C need not divide G.
    """
    edges = torch.arange(cells + 1, dtype=torch.float64) * grid / cells
    patches = torch.arange(grid, dtype=torch.float64)
    ends = torch.minimum(edges[1:, None], patches + 1)
    overlap = (ends - torch.maximum(edges[:-1, None], patches)).clamp_min(0)  # (C,G)
    share = overlap * cells / grid
    return torch.kron(share, share).float()


class VitAttention(nn.Module):
    """Bidirectional self-attention."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor, turn: Turn | None, seen: int) -> Tensor:
        """(B,T,D) -> (B,seen,D): the first ``seen`` tokens attend to all T."""
        mixed = attend(*self.project(x, turn, seen))
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def project(self, x: Tensor, turn: Turn | None, seen: int) -> tuple[Tensor, Tensor, Tensor]:
        """(B,T,D) -> queries (B,H,seen,Dh), keys and values (B,H,T,Dh); queries and keys are rotated."""
        batch, time, width = x.shape
        if seen == time:
            query, key, value = self.qkv(x).view(batch, time, 3, -1, self.head_dim).unbind(2)
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            query = F.linear(x[:, :seen], weight[:width], bias[:width]).view(batch, seen, -1, self.head_dim)
            both = F.linear(x, weight[width:], bias[width:]).view(batch, time, 2, -1, self.head_dim)
            key, value = both.unbind(2)
        if turn is not None:
            cos, sin = turn
            query, key = rotate(query, cos[:seen], sin[:seen]), rotate(key, cos, sin)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (B,T,H,Dh) ``heads`` by (T,1,Dh) tables of :func:`rotary_tables`."""
    return torch.addcmul(heads * cos, heads.roll(heads.shape[3] // 2, dims=3), sin)


class VitBlock(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.attention = VitAttention(config)
        self.mlp_norm = nn.LayerNorm(config.d_model, config.norm_eps)
        self.up = nn.Linear(config.d_model, config.d_ff)
        self.down = nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, turn: Turn | None, seen: int) -> Tensor:
        """(B,T,D) -> (B,seen,D): the first ``seen`` tokens after this layer."""
        x = x[:, :seen] + self.dropout(self.attention(self.attention_norm(x), turn, seen))
        return x + self.dropout(self.down(F.gelu(self.up(self.mlp_norm(x)))))  # type: ignore[no-any-return]


class ConvStem(nn.Sequential):
    """(B,3,S,S) -> (B,D,G,G) by 3 x 3 convolutions of stride 2 whose channels double up to D, and a linear map
    (arXiv:2106.14881). The norms are per picture, so that a result does not depend on the batch."""

    def __init__(self, config: VitConfig) -> None:
        halvings = config.patch.bit_length() - 1
        layers: list[nn.Module] = []
        before = 3
        for number in range(halvings):
            channels = max(8, config.d_model >> (halvings - 1 - number))
            layers.append(nn.Conv2d(before, channels, 3, stride=2, padding=1, bias=False))
            layers += [nn.GroupNorm(1, channels, config.norm_eps), nn.GELU()]
            before = channels
        super().__init__(*layers, nn.Conv2d(before, config.d_model, 1, bias=False))

    def reset_parameters(self) -> None:
        """He initialization (arXiv:1502.01852) preserves variance, so patches are as large as positions."""
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            elif isinstance(layer, nn.GroupNorm):
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)


class Vit(nn.Module):
    """A :class:`muomni_cli.api.Encoder` of pictures. ``config.tokens`` and ``config.fit`` do not affect the weights and
    can be changed after training."""

    scale: Tensor
    shift: Tensor
    turn_cos: Tensor | None
    turn_sin: Tensor | None
    pool: Tensor | None

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        width = config.d_model
        if config.stem == "conv":
            self.proj: nn.Module = ConvStem(config)
        else:
            self.proj = nn.Conv2d(3, width, config.patch, stride=config.patch, bias=False)
        self.cls = nn.Parameter(torch.empty(1, 1, width))
        rope = config.positions == "rope"
        self.pos = None if rope else nn.Parameter(torch.empty(1, 1 + config.grid**2, width))
        self.blocks = nn.ModuleList(VitBlock(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(width, config.norm_eps)

        mean, std = torch.tensor(config.mean, dtype=torch.float64), torch.tensor(config.std, dtype=torch.float64)
        cos, sin = rotary_tables(config.grid, config.head_dim, config.rope_theta) if rope else (None, None)
        whole = config.tokens in ("cls", config.grid)
        tables = {
            "scale": (1 / (255 * std)).float()[:, None, None],
            "shift": (-mean / std).float()[:, None, None],
            "turn_cos": cos,
            "turn_sin": sin,
            "pool": None if whole else pooling(config.grid, int(config.tokens)),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)  # follows from the config
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights of std 0.02; layers that write to the residual stream are smaller by sqrt(2L), as in GPT-2.
        Learned positions start ten times larger, near the size of a patch: from 0.02 they are learned far slower."""
        residual = 0.02 / math.sqrt(2 * self.config.n_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                nn.init.ones_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=residual if name.endswith(("out.weight", "down.weight")) else 0.02)
        if self.pos is not None:
            nn.init.normal_(self.pos, std=0.2)
        if isinstance(self.proj, ConvStem):
            self.proj.reset_parameters()

    @property
    def width(self) -> int:
        return self.config.d_model

    @property
    def tables(self) -> frozenset[str]:
        """Embeddings and the patch projection: trained by AdamW instead of Muon."""
        return frozenset(name for name, _ in self.named_parameters() if name.startswith(("cls", "pos", "proj.")))

    def forward(self, inputs: Tensor, lengths: Sequence[int] | None = None) -> EncoderOutput:  # noqa: ARG002
        """(B,3,S,S) pictures of 0 to 255, bytes or floats -> tokens (B,1,D), or (B,g²,D) row by row from the top left.
        Raises ValueError: pictures of another shape."""
        return EncoderOutput(tokens=self.tokens(inputs), lengths=[self.config.token_count] * len(inputs))

    def tokens(self, inputs: Tensor) -> Tensor:
        """(B,3,S,S) -> (B,T,D), for export."""
        x = self.embed(self.patches(inputs))
        if self.config.tokens == "cls":
            return self.norm(self.encode(x, seen=1))  # type: ignore[no-any-return]
        return self.norm(self.pooled(self.encode(x)[:, 1:]))  # type: ignore[no-any-return]

    def patches(self, inputs: Tensor) -> Tensor:
        """(B,3,S,S) pictures -> (B,D,G,G) patch embeddings of the normalized picture."""
        size = self.config.size
        if inputs.ndim != 4 or tuple(inputs.shape[1:]) != (3, size, size):
            raise ValueError(f"pictures must be (B, 3, {size}, {size}), not {tuple(inputs.shape)}")
        pixels = torch.addcmul(self.shift, inputs.to(self.scale.dtype), self.scale)
        return self.proj(pixels)  # type: ignore[no-any-return]

    def embed(self, patches: Tensor) -> Tensor:
        """(B,D,G,G) patches -> (B,1+G²,D): CLS and the patches row by row, with learned positions if configured."""
        x = self.add_cls(self.in_rows(patches))
        return x if self.pos is None else self.add_positions(x)

    def in_rows(self, patches: Tensor) -> Tensor:
        """(B,D,G,G) -> (B,G²,D), row by row from the top left."""
        return patches.flatten(2).transpose(1, 2).to(self.cls.dtype)  # under autocast the stream stays in fp32

    def add_cls(self, rows: Tensor) -> Tensor:
        """(B,G²,D) -> (B,1+G²,D)."""
        # shape, not len(): an exporter would take the latter for a constant
        return torch.cat((self.cls.expand(rows.shape[0], -1, -1), rows), dim=1)

    def add_positions(self, x: Tensor) -> Tensor:
        """(B,1+G²,D) with the learned positions added."""
        assert self.pos is not None, "rotary positions are in the attention"
        return x + self.pos

    def pooled(self, patches: Tensor) -> Tensor:
        """(B,G²,D) -> (B,g²,D): averages of patches, or all patches without pooling."""
        return patches if self.pool is None else self.pool.to(patches.dtype) @ patches

    def encode(self, x: Tensor, seen: int | None = None) -> Tensor:
        """(B,T,D) -> (B,seen,D) through all blocks, before the final norm. The last block computes only the first
        ``seen`` tokens (default all): for CLS alone this saves a fifth of the work and does not change the result."""
        turn = None if self.turn_cos is None or self.turn_sin is None else (self.turn_cos, self.turn_sin)
        for layer, block in enumerate(self.blocks, start=1):
            x = block(x, turn, x.shape[1] if seen is None or layer < len(self.blocks) else seen)
        return x


def build(config: VitConfig) -> Vit:
    """A vision transformer with random weights from torch's global generator."""
    return Vit(config)

"""What pretrained codecs of waveforms have in common: causal convolutions of a SEANet (arXiv:2009.02095), residual
vector quantization (arXiv:2107.03312), and export graphs.

Everything is computed for whole code frames alone: then nothing depends on lengths, and one graph serves all of them.

Shapes: B batch, N samples or positions at some rate, T code frames, D width, Q codebooks, K codes in each, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput
from muomni_cli.nn.onnx_stack import FunctionGraph, quiet
from muomni_transformers.speech_settings import EncodecConfig, MimiConfig


class SeanetCodec(nn.Module, ABC):
    """A :class:`muomni_cli.contract.codecs.WaveCodec` over ``tower``, a model of transformers, which holds the weights.
    ``ignored`` and ``renamed`` as of :class:`muomni_transformers.vision.VisionEncoder`."""

    ignored: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: MimiConfig | EncodecConfig, tower: nn.Module) -> None:
        super().__init__()
        self.sample_rate, self.frame = config.sample_rate, config.frame
        self.codebooks, self.codebook_size = config.codebooks, config.codebook_size
        self.tower: Any = tower

    def encode(self, waves: Tensor) -> Tensor:
        """(B, frame*T) samples -> (B,T,Q) int64 codes."""
        return self.quantized(self.latents(waves))

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """(B,T,Q) codes -> (B, frame*T) samples."""

    @abstractmethod
    def latents(self, waves: Tensor) -> Tensor:
        """(B, frame*T) samples -> (B,T,D) before quantization."""

    @abstractmethod
    def quantized(self, latents: Tensor) -> Tensor:
        """(B,T,D) -> (B,T,Q) codes."""


def nearest(tables: Iterable[Tensor], latents: Tensor) -> list[Tensor]:
    """(B,T,D) -> (B,T) codes of each table (K,D) of code vectors: the nearest to what those before it leave."""
    codes, left = [], latents
    for table in tables:
        code = torch.argmin(table.square().sum(1) - 2 * (left @ table.t()), dim=-1)
        left = left - F.embedding(code, table)
        codes.append(code)
    return codes


def summed(tables: Sequence[Tensor], codes: Tensor) -> Tensor:
    """(B,T,q) codes of q tables -> (B,D,T), the sum of their vectors."""
    found = [F.embedding(code, table) for code, table in zip(codes.unbind(-1), tables, strict=True)]
    return torch.stack(found).sum(0).transpose(1, 2)


def convolved(layers: Iterable[Any], x: Tensor, padding: str = "constant") -> Tensor:
    """(B,C,N) through causal convolutions, whose strides divide N, residual blocks, LSTMs and activations."""
    for layer in layers:
        if hasattr(layer, "block"):
            kept = x if isinstance(layer.shortcut, nn.Identity) else causal(layer.shortcut.conv, x, padding)
            x = kept + convolved(layer.block, x, padding)
        elif hasattr(layer, "lstm"):
            x = x + recurrent(layer.lstm, x)
        elif isinstance(conv := getattr(layer, "conv", None), nn.ConvTranspose1d):
            x = upsampled(conv, x)
        elif conv is not None:
            x = causal(conv, x, padding)
        else:
            x = layer(x)
    return x


def causal(conv: nn.Conv1d, x: Tensor, padding: str = "constant") -> Tensor:
    """(B,C,N) -> (B,C',N/stride) by a convolution that looks back: before the beginning lies silence, the first
    position again (``replicate``), or the first ones backwards (``reflect``), then as if silence followed N."""
    reach = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1 - conv.stride[0]
    if padding == "replicate":
        x = torch.cat((x[..., :1].expand(-1, -1, reach), x), dim=2)
    elif padding == "reflect":
        x = torch.cat((F.pad(x, (0, reach))[..., 1 : reach + 1].flip(2), x), dim=2)
    else:
        x = F.pad(x, (reach, 0))
    return cast("Tensor", conv(x))


def upsampled(conv: nn.ConvTranspose1d, x: Tensor) -> Tensor:
    """(B,C,N) -> (B,C', stride*N), without what only later inputs would complete."""
    return cast("Tensor", conv(x)[..., : x.shape[2] * conv.stride[0]])


def recurrent(lstm: nn.LSTM, x: Tensor) -> Tensor:
    """(B,C,N) -> (B,C,N) states of an LSTM from the beginning of a sound on.

    The exporter of PyTorch would unroll as many steps as it traces, so a graph is given ONNX's own operator."""
    rows = x.permute(2, 0, 1)
    if not torch.compiler.is_exporting():
        return lstm(rows)[0].permute(1, 2, 0)  # type: ignore[no-any-return]
    for layer in range(lstm.num_layers):
        weights = [getattr(lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        inward, across, *biases = [_gates(weight)[None] for weight in weights]
        shape = (rows.shape[0], 1, rows.shape[1], lstm.hidden_size)
        (states,) = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (rows, inward, across, torch.cat(biases, dim=1)),
            {"hidden_size": lstm.hidden_size},
            dtypes=(rows.dtype,),
            shapes=(shape,),
        )
        rows = states[:, 0]
    return rows.permute(1, 2, 0)


def _gates(weight: Tensor) -> Tensor:
    """PyTorch's order of gates (input, forget, cell, output) -> ONNX's (input, output, forget, cell)."""
    order = torch.tensor([0, 3, 1, 2], device=weight.device)
    return weight.unflatten(0, (4, -1)).index_select(0, order).flatten(0, 1)  # type: ignore[no-untyped-call, no-any-return]


def graphs(module: SeanetCodec) -> list[Graph]:
    """(B,T,n) samples of code frames -> (B,T,Q) codes, and (B,T,Q) codes from the beginning of a sound -> samples."""

    def encode(codec: SeanetCodec, waves: Tensor) -> tuple[Tensor, Tensor]:
        latents = codec.latents(waves.flatten(1))
        return codec.quantized(latents), latents

    def decode(codec: SeanetCodec, codes: Tensor) -> Tensor:
        return codec.decode(codes)

    codes = GraphInput("codes", ("batch", "frames", module.codebooks), GraphInput.below(module.codebook_size))
    sizes = {
        "traced": {"batch": 2, "frames": 5},
        "one frame": {"batch": 1, "frames": 1},
        "batch 3": {"batch": 3, "frames": 9},
    }
    return [
        Graph(
            name="encoder",
            module=FunctionGraph(module, encode),
            inputs=[GraphInput("waves", ("batch", "frames", module.frame), quiet)],
            outputs=["codes", "latents"],
            cases=sizes,
            max_mismatch_fraction=0.01,
        ),
        Graph(
            name="decoder",
            module=FunctionGraph(module, decode),
            inputs=[codes],
            outputs=["samples"],
            cases=sizes,
        ),
    ]

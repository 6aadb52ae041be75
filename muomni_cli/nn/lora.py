"""Low-rank adapters (LoRA, arXiv:2106.09685) of linear layers: ``y = W x + scale * B A x``, with W frozen.

Weights keep their names, beside which each adapted layer has ``lora_a`` and ``lora_b``. A fused layer has adapters of
its own for each section, as if its layers were apart: ``lora_a`` (S*r,in) holds theirs one after the other, ``lora_b``
(out,r) the rows of each. Shapes: r rank, S sections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.core.errors import RequestError

A, B = "lora_a", "lora_b"


@dataclass(frozen=True, slots=True)
class Adapters:
    """``rank`` r and ``alpha`` of all adapters, whose ``scale`` is alpha / r; ``targets``: last names of the adapted
    layers."""

    rank: int
    alpha: float
    targets: tuple[str, ...]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Adapters:
        """From JSON."""
        return cls(int(stored["rank"]), float(stored["alpha"]), tuple(stored["targets"]))


class LoraLinear(nn.Linear):
    """A linear layer with its weights, and adapters beside them."""

    def __init__(self, linear: nn.Linear, adapters: Adapters) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias  # the same parameters
        self.sections = sections_of(linear)
        self.scale = adapters.scale
        like = linear.weight
        self.lora_a = nn.Parameter(like.new_empty(len(self.sections) * adapters.rank, linear.in_features))
        self.lora_b = nn.Parameter(like.new_zeros(linear.out_features, adapters.rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        out = F.linear(x, self.weight, self.bias)
        inner = F.linear(x, self.lora_a)
        if len(self.sections) == 1:
            return out + self.scale * F.linear(inner, self.lora_b)
        pairs = zip(inner.chunk(len(self.sections), dim=-1), self.lora_b.split_with_sizes(self.sections), strict=True)
        return out + self.scale * torch.cat([F.linear(one, rows) for one, rows in pairs], dim=-1)


def sections_of(linear: nn.Module) -> list[int]:
    """The outputs of each layer that ``linear`` holds."""
    return list(getattr(linear, "sections", ())) or [int(cast("nn.Linear", linear).out_features)]


def add_adapters(module: nn.Module, adapters: Adapters) -> list[str]:
    """Freeze ``module`` and give each layer named in ``targets`` an adapter, which changes nothing yet; returns their
    names. RequestError if a target names no linear layer."""
    linears = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    last = {name: name.rpartition(".")[2] for name in linears}
    if missing := [target for target in adapters.targets if target not in last.values()]:
        raise RequestError(
            f"lora.targets names {missing[0]!r}, and the part has no linear layer of that name",
            f"its layers: {', '.join(sorted(set(last.values())))}",
        )
    module.requires_grad_(False)
    chosen = [name for name in linears if last[name] in adapters.targets]
    for name in chosen:
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, LoraLinear(linears[name], adapters))
    return chosen


def merged_weights(module: nn.Module, tensors: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Weights of ``module``, which has no adapters, from ``tensors`` that have: each with its adapter added."""
    found = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] not in (A, B)}
    for name, a in tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind == A:
            update = product(a, tensors[f"{layer}.{B}"], sections_of(module.get_submodule(layer)))
            found[f"{layer}.weight"] = found[f"{layer}.weight"] + scale * update
    return found


def product(a: Tensor, b: Tensor, sections: Sequence[int]) -> Tensor:
    """(S*r,in) and (out,r) -> (out,in), the change of the weights without its scale."""
    return torch.cat(
        [rows @ own for own, rows in zip(a.chunk(len(sections)), b.split_with_sizes(list(sections)), strict=True)]
    )


def has_adapters(names: Sequence[str] | Mapping[str, Any]) -> bool:
    """Whether some of the tensors of these names are those of adapters."""
    return any(name.rpartition(".")[2] == A for name in names)

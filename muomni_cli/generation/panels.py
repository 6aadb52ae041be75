"""Linear layers laid out for a few rows at a time. Knows matrices, not models.

With one row, a linear layer costs what reading its matrix costs, and BLAS reads a (out, in) matrix at a fraction of
what memory gives. Cut into panels of :data:`WIDTH` outputs, each one contiguous block of memory, the same product is a
batch of small ones, read front to back and shared by the cores: 2 to 4 times faster for one row, and no slower for a
prompt. It is the packing that fast matrix products do inside (Goto and van de Geijn, 2008), done once and kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 32
"""Outputs in a panel: two AVX-512 registers of fp32."""


class PanelLinear(nn.Module):
    """The function of ``linear`` with its weights in panels; for inference only.

    Args:
        linear: what to take the place of; its weights are copied.
    """

    panels: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        count = -(-self.out_features // WIDTH)
        padded = nn.functional.pad(weight, (0, 0, 0, count * WIDTH - self.out_features))
        # (outputs, in) -> (count, in, WIDTH)
        self.register_buffer("panels", padded.view(count, WIDTH, -1).transpose(1, 2).contiguous(), persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        rows = x.reshape(-1, self.in_features)  # (M,in)
        out = torch.bmm(rows.expand(self.panels.shape[0], -1, -1), self.panels)  # (count,M,WIDTH)
        out = out.transpose(0, 1).reshape(*x.shape[:-1], -1)
        if out.shape[-1] != self.out_features:
            out = out[..., : self.out_features]
        return out if self.bias is None else out + self.bias


def lay_out_for_reading(module: nn.Module) -> None:
    """Replace every linear layer inside ``module`` by one in panels, where the weights are on the CPU.

    For modules that will neither be trained nor saved any more, and that call their layers and do not read the layers'
    weights. A layer whose weight is also used elsewhere (a tied table) is left alone.
    """
    uses: dict[int, int] = {}
    for layer in module.modules():
        for parameter in layer.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and layer.weight.device.type == "cpu" and uses[id(layer.weight)] == 1:
                setattr(parent, name, PanelLinear(layer).eval())

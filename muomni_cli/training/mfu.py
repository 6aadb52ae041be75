"""Model FLOPs utilization (arXiv:2204.02311): how much of what the device could compute a training computes.

The operations of a step are counted once, as PyTorch dispatches them (products of matrices, convolutions, attention;
recomputed layers count, too), and scaled by the items of later steps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

PEAKS = {  # dense bfloat16 operations per second, from the data sheets; part of the device's name, most specific first
    "GB200": 2.5e15,
    "B200": 2.25e15,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "MI300X": 1307e12,
}
CPU_SIDE, SIDE = 1024, 8192  # of the square matrices that measure an unknown device
ROUNDS = 5


KERNELS = ("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention")


def flop_counter() -> FlopCounterMode:
    """Counts operations while it is entered. PyTorch's own formulas leave out attention on the CPU, and count in its
    backward pass scores that kernels compute again, which are no work of the model."""
    formulas: dict[Any, Any] = {}
    for kernel in KERNELS:
        name = f"_scaled_dot_product_{kernel}"
        formulas[getattr(torch.ops.aten, name)] = _attention
        formulas[getattr(torch.ops.aten, f"{name}_backward")] = _attention_backward
    return FlopCounterMode(display=False, custom_mapping=formulas)


def _attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """(B,H,T,D) queries on keys and values, whose heads may be fewer and each serve several of the queries'."""
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[2] * (width + value[3])


def _attention_backward(
    _: Any, query: Sequence[int], key: Sequence[int], value: Sequence[int], *__: Any, **___: Any
) -> int:
    return 2 * _attention(query, key, value)


def peak_flops(device: torch.device, precision: str) -> tuple[float, str]:
    """Operations per second of one device, and where the figure is from: ``table`` or ``measured``."""
    if device.type == "cuda" and precision == "bf16":
        name = torch.cuda.get_device_name(device)
        for part, flops in PEAKS.items():
            if part in name:
                return flops, "table"
    return measured_flops(device, torch.bfloat16 if precision == "bf16" else torch.float32), "measured"


def measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of the best of some large matrix products."""
    side = CPU_SIDE if device.type == "cpu" else SIDE
    one = torch.randn(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        (one @ one)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - begin)
    return 2 * side**3 / best

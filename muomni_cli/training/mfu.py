"""Model FLOPs utilization (arXiv:2204.02311): how much of what the device could compute a training computes.

The operations of a step are counted once, as PyTorch dispatches them (products of matrices, convolutions, attention;
recomputed activations count, too), and scaled by the items of later steps.
"""

from __future__ import annotations

import time

import torch

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

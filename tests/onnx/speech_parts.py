"""Tiny parts that speak, their graphs opened, and what it takes to compare them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from muomni_cli.api import CodeShape, MelConfig
from muomni_onnx.graphs import write_graph
from muomni_onnx.parity import compare
from muomni_onnx.sessions import GraphSession

CODES = CodeShape(codebooks=2, size=32, seconds=0.08)
MEL = MelConfig(sample_rate=8000, n_fft=256, window=160, hop=40, n_mels=20)

Opened = dict[str, GraphSession]


def opened(graphs: list[Any], folder: Path) -> Opened:
    """Every graph, exported, within what it declares of PyTorch, and open."""
    sessions: Opened = {}
    for graph in graphs:
        write_graph(graph, folder / f"{graph.name}.onnx")
        sessions[graph.name] = GraphSession(folder / f"{graph.name}.onnx", threads=1)
        parity = compare(graph, sessions[graph.name])
        assert parity.holds, f"{graph.name}: {parity.error:.1e} at {parity.where}"
    return sessions


def lively(make: Callable[[], Any], factor: float = 2.0) -> Any:
    """A part whose random weights are large enough for its outputs to differ."""
    torch.manual_seed(0)
    module: nn.Module = make()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
    return module.eval()

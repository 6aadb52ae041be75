"""Cosines and sines out of a table of one turn, and how little of them an exported graph holds."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput, MelConfig
from muomni_cli.audio.mel import LogMel, Waves


@pytest.mark.parametrize(("n_fft", "count", "center"), [(16, 10, 0), (256, 160, 80), (15, 15, 7), (2, 1, 0)])
def test_every_cosine_and_sine_is_that_of_its_angle(n_fft: int, count: int, center: int) -> None:
    times = torch.arange(count, dtype=torch.float64) - center
    angles = 2 * math.pi / n_fft * torch.outer(torch.arange(n_fft // 2 + 1, dtype=torch.float64), times)
    expected = torch.cat((angles.cos(), angles.sin()))
    torch.testing.assert_close(Waves(n_fft, count, center)().double(), expected, atol=1e-7, rtol=0)


class Hearing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mel = LogMel(MelConfig())

    def forward(self, waves: Tensor) -> tuple[Tensor]:
        return (self.mel(waves),)


def test_a_graph_holds_the_table_and_not_the_matrix(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'muomni[onnx]'")
    from muomni_onnx.graphs import write_graph

    cases = {"traced": {"batch": 2, "samples": 3000}}
    graph = Graph(
        name="mel", module=Hearing(), inputs=[GraphInput("x", ("batch", "samples"))], outputs=["y"], cases=cases
    )
    write_graph(graph, tmp_path / "mel.onnx")
    filters = 513 * 128 * 4
    assert (tmp_path / "mel.onnx").stat().st_size < filters + 100_000  # and neither 1.3 MB of cosines and sines

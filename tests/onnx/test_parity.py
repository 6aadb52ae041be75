# ruff: noqa: E402
"""The gate lets through what PyTorch does and nothing else; the backend is the torch backend's equal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

import onnx
import torch
from onnx import numpy_helper

from muomni_cli.api import Graph, GraphInput, MuomniError
from muomni_cli.contract.models import PADDED_ROW, Backend
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.models.run_engine import RunEngine
from muomni_onnx import export as exporting
from muomni_onnx.backend import OnnxBackend
from muomni_onnx.bundle import open_bundle
from muomni_onnx.golden import absolute, of_its_size
from muomni_onnx.graphs import Model, write_graph
from muomni_onnx.in_place_graph import IN_PLACE
from muomni_onnx.parity import compare
from muomni_onnx.sessions import GraphSession

Made = tuple[Path, RunEngine]


def thinker_graph(model: Model) -> Graph:
    return next(graph for graph in model.parts[0].graphs if graph.name == "thinker")


def mutate(path: Path) -> None:
    """Change eight columns of one matrix by 5%."""
    model = onnx.load(path)
    matrix = next(one for one in model.graph.initializer if len(one.dims) == 2 and min(one.dims) >= 32)
    values = numpy_helper.to_array(matrix).copy()
    values[:, :8] *= 1.05
    matrix.CopyFrom(numpy_helper.from_array(values, matrix.name))
    onnx.save(model, path)


def test_only_standard_operators_of_one_opset(made: Made) -> None:
    for path in made[0].rglob("*.onnx"):
        model = onnx.load(path)
        assert [(entry.domain, entry.version) for entry in model.opset_import if entry.domain == ""] == [("", 23)]
        assert {node.domain for node in model.graph.node} == {"", *(["com.microsoft"] if path.name == IN_PLACE else [])}
        assert not model.functions


def test_a_mutated_weight_fails_the_gate(model: Model, bundle: Path) -> None:
    path, graph = bundle / "thinker" / "thinker.onnx", thinker_graph(model)
    assert compare(graph, GraphSession(path, 1)).holds
    mutate(path)
    assert not compare(graph, GraphSession(path, 1)).holds


def test_nothing_is_written_of_what_disagrees(
    model: Model, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(bundle / "thinker" / "thinker.onnx")
    whose = {part.name: part.graphs for part in model.parts}

    def copy(graph: Graph, path: Path) -> None:
        assert graph.name in {one.name for one in whose[path.parent.name]}
        shutil.copy(bundle / path.parent.name / path.name, path)

    monkeypatch.setattr(exporting, "write_graph", copy)
    with pytest.raises(MuomniError, match=r"thinker: thinker is .* from PyTorch"):
        exporting.export(model, tmp_path / "out", notify=print)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def backends(made: Made, **options: bool) -> tuple[OnnxBackend, TorchBackend]:
    bundle, engine = open_bundle(made[0]), made[1]
    embed, think = (GraphSession(bundle.file("thinker", name), 1) for name in ("embed", "thinker"))
    ours = OnnxBackend(embed, think, bundle.graph("thinker", "thinker"), 64, **options)
    return ours, TorchBackend(engine.omni().thinker, engine.declaration("thinker").capabilities, **options)


def logits_of(backend: Backend[Any]) -> list[np.ndarray[Any, Any]]:
    """Unequal prompts, one with a picture in it, of which one row rests; then a prompt that begins like the first."""
    media_ids = backend.add_embeddings(np.random.default_rng(0).standard_normal((3, 32), np.float32))
    state, first = backend.begin([[1, *media_ids, 5, 6], [7, 8]], 32)
    second = backend.step(state, np.array([3, 4]))
    third = backend.step(state, np.array([PADDED_ROW, 9]))[1:]
    hidden = backend.hidden(state)[1:]
    return [first, second, third, hidden, backend.begin([[1, *media_ids, 5, 9], [7, 8, 4]], 32)[1]]


@pytest.mark.parametrize("prefix_cache", [False, True])
def test_the_backend_gives_what_the_torch_backend_gives(made: Made, prefix_cache: bool) -> None:
    ours, theirs = backends(made, prefix_cache=prefix_cache, hidden=True)
    for mine, its in zip(logits_of(ours), logits_of(theirs), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-5)


def test_a_state_is_judged_by_its_own_size_and_what_is_made_of_it_is_not() -> None:
    random = np.random.default_rng(0)
    one = random.standard_normal((4, 9)).astype(np.float32)
    for size, seen in ((1e-3, 1e-3), (1.0, 1.0), (1e3, 1e3)):
        error = absolute(size * one, np.float32(size * 1.001) * one)
        assert of_its_size(size * one, np.float32(size * 1.001) * one) == pytest.approx(error / max(1, seen), rel=0.3)
    assert of_its_size(one, one) == 0
    assert of_its_size(one, one[:3]) == of_its_size(one, one * np.nan) == of_its_size(one * np.inf, one) == np.inf


class Adding(torch.nn.Module):
    """A sum of all that it was given, and its tenth; the graph's goes ``wrong`` by so much."""

    def __init__(self, wrong: float = 0.0) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, new: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        now = total + new.sum(1)
        return now / 10 + self.wrong, now * (1 + self.wrong)


@pytest.mark.parametrize(("wrong", "holds"), [(0.0, True), (1e-5, True), (5e-4, False)])
def test_large_states_pass_and_wrong_ones_do_not(tmp_path: Path, wrong: float, holds: bool) -> None:
    graph_inputs = [
        GraphInput("new", ("batch", "time", 8)),
        GraphInput("total", ("batch", 8), lambda r, s: 1e3 * GraphInput.normal(r, s)),
    ]
    graph = Graph(
        name="adding",
        module=Adding(wrong),
        inputs=graph_inputs,
        outputs=["tenth", "total_now"],
        cases={"traced": {"batch": 2, "time": 3}},
        states={"total": "total_now"},
        initial_sizes={"batch": 2, "time": 1},
        calls=5,
        reference=Adding(),
    )
    write_graph(graph, tmp_path / "adding.onnx")
    assert compare(graph, GraphSession(tmp_path / "adding.onnx", 1)).holds is holds

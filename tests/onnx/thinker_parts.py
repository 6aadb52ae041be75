"""A tiny Thinker's graphs, and one that remembers a sum and no tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper

from muomni_onnx.graphs import write_graph
from muomni_thinker.graphs import graphs
from muomni_thinker.model import Transformer
from muomni_thinker.plugin import TransformerConfig

VOCABULARY, WIDTH, CONTEXT = 23, 16, 48
TINY = TransformerConfig(d_model=WIDTH, n_layers=2, n_heads=2, n_kv_heads=1, d_ff=32, ctx_len=CONTEXT)


def write_thinker(folder: Path, config: TransformerConfig = TINY, vocabulary: int = VOCABULARY) -> dict[str, Any]:
    """Write ``embed.onnx`` and ``thinker.onnx``; what a manifest says of the latter."""
    torch.manual_seed(0)
    model = Transformer(config, vocabulary).eval()
    for parameter in model.parameters():  # lively enough for every token to matter
        parameter.data.mul_(3.0 if parameter.ndim > 1 else 1.0)
    declared = {graph.name: graph for graph in graphs(model)}
    for name, graph in declared.items():
        write_graph(graph, folder / f"{name}.onnx")
    thinker = declared["thinker"]
    return {
        "inputs": {graph_input.name: list(graph_input.axes) for graph_input in thinker.inputs},
        "states": dict(thinker.states),
    }


def write_summing(folder: Path) -> dict[str, Any]:
    """The same for a graph whose logits are half-precision sums of all embeddings so far: its state does not grow."""
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceSum", ["inputs_embeds", "time"], ["new"], keepdims=0),
        helper.make_node("Cast", ["new"], ["halved"], to=half),
        helper.make_node("Add", ["sum", "halved"], ["sum_now"]),
        helper.make_node("Unsqueeze", ["sum_now", "time"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "summing",
        [
            helper.make_tensor_value_info("inputs_embeds", single, ["batch", "time", WIDTH]),
            helper.make_tensor_value_info("sum", half, ["batch", WIDTH]),
        ],
        [
            helper.make_tensor_value_info("logits", half, ["batch", 1, WIDTH]),
            helper.make_tensor_value_info("sum_now", half, ["batch", WIDTH]),
        ],
        [helper.make_tensor("time", TensorProto.INT64, [1], [1])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), folder / "summing.onnx"
    )
    axes = {"inputs_embeds": ["batch", "time", WIDTH], "sum": ["batch", WIDTH]}
    return {"inputs": axes, "states": {"sum": "sum_now"}}

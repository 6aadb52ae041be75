"""A bundle in blocks of 8 bits as one in the precision ``web``, without PyTorch: the same weights, scaled once.

What a graph computes stays the same, so the saved outputs and the tolerances do, too.
"""

from __future__ import annotations

import copy
import importlib.util
import shutil
from pathlib import Path
from typing import Any

from muomni_onnx.bundle import MANIFEST, BundleManifest, write_manifest


def in_web_form(bundle: BundleManifest, folder: Path) -> Path:
    """The bundle in the new ``folder``, or where it is if no matrix is in blocks, or the package onnx, which
    edits graphs, is not installed."""
    if importlib.util.find_spec("onnx") is None:
        return bundle.root
    shutil.copytree(bundle.root, folder, ignore=lambda _, names: [one for one in names if one == MANIFEST])
    manifest = copy.deepcopy(dict(bundle.manifest))
    changed = False
    for part in manifest["parts"].values():
        for graph in part["graphs"].values():
            if _open_blocks(folder / graph["file"]):
                graph["precision"], changed = "web", True
    if not changed:
        return bundle.root
    for key in ("format", "checksum", "files"):
        manifest.pop(key, None)
    write_manifest(folder, {**manifest, "precision": "web"})
    return folder


def _open_blocks(path: Path) -> bool:
    """Scale the matrices of a graph that are stored in blocks of 8 bits by operators on constants; False if it has
    none."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper

    from muomni_onnx.graph_edit import GraphEditor, attribute

    graph = GraphEditor(onnx.load(path))
    nodes: list[Any] = []
    for node in graph.nodes:
        size = attribute(node, "block_size", 0) if node.op_type == "DequantizeLinear" else 0
        whole = graph.constants.get(node.input[0]) if size else None
        if whole is None or whole.data_type != TensorProto.INT8 or len(whole.dims) != 2 or whole.dims[0] % size:
            nodes.append(node)
            continue
        values, scales = graph.array(node.input[0]), graph.array(node.input[1])
        blocks = graph.constant(f"{node.input[0]}.blocks", values.reshape(-1, size, values.shape[1]))
        scale = graph.constant(f"{node.input[1]}.each", scales[:, None])
        shape = graph.constant(f"{node.output[0]}.shape", np.array(values.shape))
        wide, scaled = (graph.name(f"{node.output[0]}.{what}") for what in ("blocks", "scaled"))
        nodes += [
            helper.make_node("Cast", [blocks], [wide], to=TensorProto.FLOAT),
            helper.make_node("Mul", [wide, scale], [scaled]),
            helper.make_node("Reshape", [scaled, shape], node.output, node.name),
        ]
    if len(nodes) == len(graph.nodes):
        return False
    graph.nodes = nodes
    onnx.save(graph.finish(), path)
    return True

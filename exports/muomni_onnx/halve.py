"""A graph in 16-bit floats, for GPUs, but for what 16 bits cannot hold. Knows onnx and numpy, no model.

Inputs and outputs stay as they are, so that a runtime need not know; except caches that grow, which are read and
written anew at every step.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from muomni_onnx.rewriting import Rewriting, attribute

LARGEST = float(np.finfo(np.float16).max)
AS_THEY_ARE = frozenset({"Range", "DequantizeLinear", "Shape", "Size"})
"""What has no reason, or no way, to make 16-bit floats."""


class Halving:
    """Rewrites ``graph`` in place.

    Args:
        graph: in float32.
        exact: ids of the nodes that stay as they are.
        caches: names of inputs and outputs that become 16-bit floats.
    """

    def __init__(self, graph: Rewriting, exact: Collection[int], caches: Collection[str]) -> None:
        self.graph, self.caches = graph, frozenset(caches)
        self.floats = _floats(graph)
        self.exact = {id(n) for n in graph.nodes if id(n) in exact or n.op_type in AS_THEY_ARE or self._too_large(n)}
        self._halves: set[str] = set()  # tensors that are made as 16-bit floats
        self._turned: dict[tuple[str, int], str] = {}

    def run(self) -> None:
        """Do it."""
        inputs = {one.name: one for one in self.graph.model.graph.input}
        for name in self.caches & inputs.keys():
            inputs[name].type.tensor_type.elem_type = TensorProto.FLOAT16
            self._halves.add(name)
        wanted = {one.name: one for one in self.graph.model.graph.output}
        nodes: list[Any] = []
        for node in self.graph.nodes:
            half = id(node) not in self.exact and any(name in self.floats for name in (*node.input, *node.output))
            kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            for place, name in enumerate(node.input):
                if name in self.floats:
                    node.input[place] = self._as(name, kind, nodes)
            nodes.append(node)
            after = []
            for place, name in enumerate(node.output):
                if half and name in self.floats:
                    self._halves.add(name)
                if name in wanted and name in self.floats and (name in self.caches) != half:
                    after.append(self._renamed(node, place))
            nodes += after
            if half:
                _in_halves(node)
        for name in self.caches & wanted.keys():
            wanted[name].type.tensor_type.elem_type = TensorProto.FLOAT16
        self.graph.nodes = nodes

    def _as(self, name: str, kind: int, nodes: list[Any]) -> str:
        """The name of ``name`` as the other kind of float, with a Cast before if it needs one."""
        key = (name, kind)
        if key in self._turned:
            return self._turned[key]
        if name in self.graph.constants:
            if kind == TensorProto.FLOAT:
                return name
            self._turned[key] = self.graph.constant(f"{name}.half", self.graph.array(name).astype(np.float16))
            return self._turned[key]
        if (name in self._halves) == (kind == TensorProto.FLOAT16):
            return name
        self._turned[key] = self.graph.name(f"{name}.{'half' if kind == TensorProto.FLOAT16 else 'wide'}")
        nodes.append(helper.make_node("Cast", [name], [self._turned[key]], to=kind))
        return self._turned[key]

    def _renamed(self, node: Any, place: int) -> Any:
        """The Cast that gives a node's output the kind that an output of the graph has."""
        name = node.output[place]
        made, wanted = (TensorProto.FLOAT16, TensorProto.FLOAT)[:: 1 if name not in self.caches else -1]
        inside = self.graph.name(f"{name}.made")
        node.output[place] = inside
        self.floats.add(inside)
        self._halves.discard(name)
        if made == TensorProto.FLOAT16:
            self._halves.add(inside)
        if wanted == TensorProto.FLOAT16:
            self._halves.add(name)
        self._turned[name, made] = inside
        return helper.make_node("Cast", [inside], [name], to=wanted)

    def _too_large(self, node: Any) -> bool:
        """Whether one of the constants it takes does not fit."""
        values = [self.graph.weight(name) for name in node.input]
        return any(one is not None and bool(np.any(np.abs(one) > LARGEST)) for one in values)


def _floats(graph: Rewriting) -> set[str]:
    """Names of all tensors of float32."""
    whole = onnx.ModelProto()
    whole.CopyFrom(graph.model)
    del whole.graph.node[:], whole.graph.initializer[:]
    whole.graph.node.extend(graph.nodes)
    whole.graph.initializer.extend(graph.constants.values())
    inferred = shape_inference.infer_shapes(whole).graph
    named = [*inferred.value_info, *inferred.input, *inferred.output]
    found = {one.name for one in named if one.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {name for name, one in graph.constants.items() if one.data_type == TensorProto.FLOAT}


def _in_halves(node: Any) -> None:
    """Let what says its kind of float say the other."""
    if node.op_type == "Cast":
        for one in node.attribute:
            if one.name == "to" and one.i == TensorProto.FLOAT:
                one.i = TensorProto.FLOAT16
    elif node.op_type in {"ConstantOfShape", "Constant"}:
        value = attribute(node, "value", None)
        filled = np.zeros(1) if value is None else numpy_helper.to_array(value)  # the standard's own default
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(filled.astype(np.float16))))

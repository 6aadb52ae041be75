"""Editing of ONNX graphs: constants as arrays, nodes in order, producers and consumers of tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

# What tracing leaves between a weight and its product
LAID_OUT = frozenset({"Gather", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice"})
# Operators that multiply with weights
PRODUCTS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
# Operators that bring values of any scale to about 1
NORMS = frozenset({"RMSNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization"})


class GraphEditor:
    """The graph of ``model``, whose constants are all inside; ``model`` is changed, by :meth:`finish`."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[Any] = list(model.graph.node)
        inputs = {one.name for one in model.graph.input}
        self.constants: dict[str, Any] = {one.name: one for one in model.graph.initializer if one.name not in inputs}
        self._defaults = [
            one for one in model.graph.initializer if one.name in inputs
        ]  # of inputs that may be left out
        self._arrays: dict[str, NDArray[Any]] = {}
        self._taken = {name for node in self.nodes for name in (*node.input, *node.output)} | set(self.constants)
        # Weights that are only moved about become constants themselves.
        nodes, self.nodes = self.nodes, []
        for node in nodes:
            if node.op_type in LAID_OUT and all(name in self.constants for name in node.input if name):
                feeds = {name: self.array(name) for name in node.input if name}
                made = ReferenceEvaluator(node).run(None, feeds)
                if sum(array.size for array in made) <= sum(array.size for array in feeds.values()):
                    for name, array in zip(node.output, made, strict=True):
                        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
                    continue
            self.nodes.append(node)

    def array(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            self._arrays[name] = numpy_helper.to_array(self.constants[name])
        return self._arrays[name]

    def weight(self, name: str) -> NDArray[np.float32] | None:
        """The values of a float32 constant; None for any other tensor."""
        one = self.constants.get(name)
        return self.array(name) if one is not None and one.data_type == onnx.TensorProto.FLOAT else None

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Add a constant whose name begins with ``name``."""
        return self.tensor(numpy_helper.from_array(np.ascontiguousarray(array), self.name(name)))

    def tensor(self, tensor: onnx.TensorProto) -> str:
        """Add a constant of a type that numpy lacks."""
        self.constants[tensor.name] = tensor
        return str(tensor.name)

    def name(self, begin: str) -> str:
        """An unused name."""
        number, name = 0, begin
        while name in self._taken:
            number += 1
            name = f"{begin}_{number}"
        self._taken.add(name)
        return name

    def of_type(self, *operators: str) -> list[Any]:
        return [node for node in self.nodes if node.op_type in operators]

    def consumers(self) -> dict[str, list[Any]]:  # by tensor name
        taken: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                taken.setdefault(name, []).append(node)
        return taken

    def finish(self) -> onnx.ModelProto:
        """The model, without unused constants."""
        used = {name for node in self.nodes for name in node.input} | {one.name for one in self.model.graph.output}
        graph = self.model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        graph.initializer.extend(one for name, one in self.constants.items() if name in used)
        graph.initializer.extend(self._defaults)
        return self.model


def attribute(node: Any, name: str, otherwise: Any) -> Any:
    return next((helper.get_attribute_value(one) for one in node.attribute if one.name == name), otherwise)


def ancestors(graph: GraphEditor, ends: Iterable[Any], *, products: int | None = None) -> set[int]:
    """Ids of the nodes that lead to ``ends``, inclusive; through at most so many ``products`` with weights."""
    producers = {name: node for node in graph.nodes for name in node.output}
    seen: dict[int, int] = {}
    todo = [(node, -1 if products is None else products) for node in ends]
    while todo:
        node, left = todo.pop()
        if node.op_type in PRODUCTS and left >= 0:
            left -= 1
            if left < 0:
                continue
        if seen.get(id(node), -2) >= left:
            continue
        seen[id(node)] = left
        todo += [(producers[name], left) for name in node.input if name in producers]
    return set(seen)


def made_once(graph: GraphEditor, ends: Collection[int]) -> set[int]:
    """Ids of the nodes that compute inputs of the nodes ``ends`` from constants alone, once when a session opens."""
    constant = set(graph.constants)
    once = []
    for node in graph.nodes:
        if all(name in constant for name in node.input if name):
            constant.update(node.output)
            once.append(node)
    wanted = {name for node in graph.nodes if id(node) in ends for name in node.input}
    found: set[int] = set()
    for node in reversed(once):
        if wanted & set(node.output):
            found.add(id(node))
            wanted.update(node.input)
    return found


def descendants(graph: GraphEditor, begins: Iterable[Any], *, until: Collection[str] = ()) -> set[int]:
    """Ids of the nodes that depend on ``begins``, inclusive; not past operators of the types ``until``."""
    takers = graph.consumers()
    seen: set[int] = set()
    todo = list(begins)
    while todo:
        node = todo.pop()
        if id(node) not in seen:
            seen.add(id(node))
            if node.op_type not in until:
                todo += [taker for name in node.output for taker in takers.get(name, ())]
    return seen

"""Graphs in lower precision: the precision requested for each part, the conversion, and what stays in fp32.

The choices follow measurements on two cores with VNNI (docs/performance.md):

- ``int8``: matrices in 8 bits. A graph with a growing cache, or with embeddings and states of fixed size, runs token by
  token and is bound by reading its matrices: there they are quantized in blocks (:mod:`muomni_onnx.quantize`). Others
  see many rows at once: there activations are quantized too. Tables and convolutions are only stored in 8 bits:
  onnxruntime's integer convolutions are slower than fp32.
- ``int4``: matrices in blocks of 4 bits, except those that compute an output, such as the logits: 8 bits.
- ``web``: matrices in blocks of 8 bits that are scaled when a session opens (or, where that costs too much, stored in
  16-bit floats): small to download, and as fast as fp32 in WebAssembly, whose integer kernels are slower than that.
- ``fp16``: 16-bit floats, for GPUs; on a CPU it only halves the file. Inputs and outputs keep their types, except
  growing caches, which are read and written at every step.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from muomni_cli.api import RequestError
from muomni_onnx.graph_edit import NORMS, PRODUCTS, GraphEditor, ancestors, attribute, descendants, made_once
from muomni_onnx.quantize import Quantizer

Precision = Literal["fp32", "fp16", "int8", "int4", "web"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

AS_THEY_ARE = frozenset({"Range", "DequantizeLinear", "Shape", "Size"})  # need not, or cannot, output float16
SMALL = 4096  # elements of a weight that is left alone: quantizing it would not save its overhead
WORTH = 0.95  # a converted graph above this share of the original's size is not worth its error

SPECTRUM = "before a logarithm or after an exponential: powers span more than fewer bits hold"
NEAREST = "compared to choose a code: a small error chooses another"
ADDED = "biases, norms and positions: no matrices, and small"
NO_GAIN = "nothing would be smaller"


@dataclass(frozen=True, slots=True)
class PrecisionPlan:
    """The precision of all parts, and exceptions for some."""

    rest: Precision = "fp32"
    parts: Mapping[str, Precision] = field(default_factory=dict)

    def of(self, part: str) -> Precision:
        return self.parts.get(part, self.rest)


def choose(words: Sequence[str]) -> PrecisionPlan:
    """From ``int8`` for all parts and ``talker=fp32`` for one, in any order; the last word on a part counts.
    RequestError if there is no such precision."""
    rest: Precision = "fp32"
    parts: dict[str, Precision] = {}
    for word in words:
        part, equals, name = word.rpartition("=")
        if name not in PRECISIONS or (equals and not part):
            fix = f"write one of {', '.join(PRECISIONS)}, or PART=PRECISION for one part"
            raise RequestError(f"--precision {word!r} is not a precision", fix)
        if equals:
            parts[part] = name
        else:
            rest = name
    return PrecisionPlan(rest, parts)


class Fp16Converter:
    """Converts the float32 ``graph`` in place. Nodes with their id in ``exact`` stay in float32; the inputs and outputs
    ``caches`` become float16, the others keep their type."""

    def __init__(self, graph: GraphEditor, exact: Collection[int], caches: Collection[str]) -> None:
        self.graph, self.caches = graph, frozenset(caches)
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        del model.graph.node[:], model.graph.initializer[:]
        model.graph.node.extend(graph.nodes)
        model.graph.initializer.extend(graph.constants.values())
        inferred = shape_inference.infer_shapes(model).graph
        named = [*inferred.value_info, *inferred.input, *inferred.output]
        self.floats = {one.name for one in named if one.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.floats |= {name for name, one in graph.constants.items() if one.data_type == TensorProto.FLOAT}
        self.exact = {id(n) for n in graph.nodes if id(n) in exact or n.op_type in AS_THEY_ARE or self._too_large(n)}
        self._halves: set[str] = set()  # tensors computed in float16
        self._turned: dict[tuple[str, int], str] = {}  # (name, float type) -> the tensor of that type

    def run(self) -> None:
        """Turn each node to float16 unless it must stay exact, and insert a Cast wherever the float type changes."""
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
            for place, name in enumerate(node.output):
                if half and name in self.floats:
                    self._halves.add(name)
                if name in wanted and name in self.floats and (name in self.caches) != half:
                    nodes.append(self._renamed(node, place))
            if half:
                _in_halves(node)
        for name in self.caches & wanted.keys():
            wanted[name].type.tensor_type.elem_type = TensorProto.FLOAT16
        self.graph.nodes = nodes

    def _as(self, name: str, kind: int, nodes: list[Any]) -> str:
        """The name of ``name`` in the given float type, with a Cast before if it needs one."""
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
        """The Cast from a node's output to an output of the graph."""
        name = node.output[place]
        made, wanted = (TensorProto.FLOAT16, TensorProto.FLOAT)[:: 1 if name not in self.caches else -1]
        inside = self.graph.name(f"{name}.made")
        node.output[place] = inside
        self.floats.add(inside)
        self._halves.discard(name)
        self._halves.add(inside if made == TensorProto.FLOAT16 else name)
        self._turned[name, made] = inside
        return helper.make_node("Cast", [inside], [name], to=wanted)

    def _too_large(self, node: Any) -> bool:
        values, largest = [self.graph.weight(name) for name in node.input], float(np.finfo(np.float16).max)
        return any(one is not None and bool(np.any(np.abs(one) > largest)) for one in values)


def _in_halves(node: Any) -> None:
    """Change the attributes that name float32."""
    if node.op_type == "Cast":
        for one in node.attribute:
            if one.name == "to" and one.i == TensorProto.FLOAT:
                one.i = TensorProto.FLOAT16
    elif node.op_type in {"ConstantOfShape", "Constant"}:
        value = attribute(node, "value", None)
        filled = np.zeros(1) if value is None else numpy_helper.to_array(value)  # the standard's own default
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(filled.astype(np.float16))))


@dataclass(frozen=True, slots=True)
class KeptTensor:
    """Weights that stayed in full precision: their bytes, and why."""

    size: int
    why: str


@dataclass(frozen=True, slots=True)
class PrecisionResult:
    """The outcome of a conversion."""

    precision: Precision  # fp32 if converting was not worth it
    size: int
    kept: Sequence[KeptTensor]


def convert_precision(
    source: Path, target: Path, precision: Precision, states: Mapping[str, str], *, halves: bool = False
) -> PrecisionResult:
    """Write the graph in the file ``source`` in another precision to the file ``target``.

    Args:
        source: in float32, all in one file.
        target: may be ``source``.
        precision: see above.
        states: state input -> the output that it is at the next call.
        halves: in ``web``, store weights in 16-bit floats, not in 8 bits.
    """
    if precision != "fp32":
        graph = GraphEditor(onnx.load(source))
        exact, whole = _exact(graph), frozenset(graph.constants)
        if precision == "fp16":
            turning = ancestors(graph, graph.of_type("Cos", "Exp", "Sin"), products=0)
            growing = {one.name for one in graph.model.graph.input if _grows(one)} & states.keys()
            Fp16Converter(graph, exact.keys() | turning, growing | {states[name] for name in growing}).run()
        elif halves:
            _store_halves(graph, exact)
        else:
            _quantize(graph, exact, precision, states)
        made: bytes = graph.finish().SerializeToString()
        if len(made) < WORTH * source.stat().st_size:
            target.write_bytes(made)
            return PrecisionResult(precision, len(made), _kept(graph, exact, whole))
    if source != target:
        shutil.copyfile(source, target)
    why = [] if precision == "fp32" else [KeptTensor(target.stat().st_size, NO_GAIN)]
    return PrecisionResult("fp32", target.stat().st_size, why)


def _exact(graph: GraphEditor) -> dict[int, str]:
    """Ids of the nodes that must stay in full precision -> why.

    Ancestors of a logarithm and descendants of an exponential, up to a norm, span many orders of magnitude: spectra in
    log-mel front ends of encoders and the last step of vocoders, and decayed states. Ancestors of an ArgMin, ArgMax or
    TopK, through one product, compare with a codebook. What these compute from constants alone must be as exact.
    """
    spectrum = ancestors(graph, graph.of_type("Log")) | descendants(graph, graph.of_type("Exp"), until=NORMS)
    nearest = ancestors(graph, graph.of_type("ArgMin", "ArgMax", "TopK"), products=1)
    exact = dict.fromkeys(nearest, NEAREST) | dict.fromkeys(spectrum, SPECTRUM)
    return exact | dict.fromkeys(made_once(graph, exact), SPECTRUM)


def _quantize(graph: GraphEditor, exact: Mapping[int, str], precision: Precision, states: Mapping[str, str]) -> None:
    quantizer = Quantizer(graph)
    inputs, heads = graph.model.graph.input, {one.name for one in graph.model.graph.output}
    # whether it runs token by token, not over many rows at once: with a growing cache, or a Thinker with other states
    steps = any(_grows(one) or (one.name == "inputs_embeds" and states) for one in inputs)
    # On an x86 CPU without VNNI, onnxruntime can convert an integer matrix only once.
    shared = {name for name, users in graph.consumers().items() if len(users) > 1}
    nodes: list[Any] = []
    for node in graph.nodes:
        if id(node) in exact or not _is_quantized(graph, node):
            nodes.append(node)
        elif node.op_type == "MatMul" and precision == "web":
            nodes += quantizer.opened(node)
        elif node.op_type == "MatMul" and precision == "int4":
            nodes += quantizer.blocks(node, 8 if node.output[0] in heads else 4)
        elif node.op_type == "MatMul":
            blocks = steps or node.input[1] in shared
            nodes += quantizer.blocks(node, 8) if blocks else quantizer.columns(node)
        elif node.op_type == "Gather":
            nodes += quantizer.table(node)
        else:
            node.input[1], before = quantizer.stored(node.input[1])
            nodes += [*before, node]
    graph.nodes = nodes


def _store_halves(graph: GraphEditor, exact: Collection[int]) -> None:
    """Store in 16-bit floats what would be quantized."""
    quantizer = Quantizer(graph)
    nodes: list[Any] = []
    for node in graph.nodes:
        if id(node) not in exact and _is_quantized(graph, node):
            place = 0 if node.op_type == "Gather" else 1
            node.input[place], before = quantizer.halved(node.input[place])
            nodes += before
        nodes.append(node)
    graph.nodes = nodes


def _is_quantized(graph: GraphEditor, node: Any) -> bool:
    """Whether a node multiplies with a constant, or looks up in one, that is large enough."""
    if node.op_type not in PRODUCTS | {"Gather"} or (node.op_type == "Gather" and attribute(node, "axis", 0) != 0):
        return False
    values = graph.weight(node.input[0 if node.op_type == "Gather" else 1])
    if values is None or values.size < SMALL:
        return False
    return values.ndim == 2 or node.op_type not in {"Gather", "MatMul"}


def _grows(graph_input: Any) -> bool:
    """Whether it is a cache, which grows along the axis ``past``."""
    return any(axis.dim_param == "past" for axis in graph_input.type.tensor_type.shape.dim)


def _kept(graph: GraphEditor, exact: Mapping[int, str], whole: Collection[str]) -> list[KeptTensor]:
    """Which of the constants ``whole`` a converted graph still has, by reason."""
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    for node in graph.nodes:
        for name in node.input:
            values = graph.weight(name) if name in whole else None
            if values is not None and name not in seen:
                seen.add(name)
                why = exact.get(id(node), ADDED)
                sizes[why] = sizes.get(why, 0) + values.nbytes
    return [KeptTensor(size, why) for why, size in sizes.items()]

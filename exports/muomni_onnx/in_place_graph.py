"""The Thinker with a key/value cache that is written in place: one graph from ids to the last logits.

Attention with a growing cache (standard ONNX) copies the cache at every token. ``GroupQueryAttention`` (com.microsoft,
an operator of onnxruntime) appends to a buffer that a call may share between input and output, and takes the number of
tokens of each row, so rows of different lengths share a call without padding. ``in-place.onnx`` is derived from the
standard graphs, which stay beside it, and refers to their weights (:mod:`muomni_onnx.joined`). Its inputs:

- ``input_ids`` (B,T) int64; where one is negative, the embedding is that of ``media`` (B,T,D), or (1,1,D) for all
- ``last`` (B,) int32, the place of each row's last token, new ones included; ``most`` (1,), the most of them plus one
- ``past_key_values.N.key`` and ``.value`` (B,H,C,Dh) buffers of C places -> ``present.N.key`` ...

and ``logits`` (B,1,V) and ``hidden`` (B,1,D) of the last token.

A graph of another part that takes one place of a sequence at a time, as the step of a Talker, has the same form beside
it, under its own name: ``step-in-place.onnx`` has the inputs and outputs of ``step.onnx`` with a time axis of 1, and
``last`` and ``most``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from muomni_onnx.graph_edit import attribute
from muomni_onnx.joined import join, write_joined

IN_PLACE = "in-place.onnx"
DOMAIN = "com.microsoft"
ROTATED = 16  # onnxruntime rotates heads whose width is a multiple of this
KNOWN = frozenset({"q_num_heads", "kv_num_heads", "scale", "softcap"})  # attributes of Attention that are carried over


def why_not_in_place(entry: Mapping[str, Any]) -> str:
    """Why a Thinker with this manifest entry has no such form, in a few words; empty if it may have."""
    graphs = entry["graphs"]
    if not {"embed", "thinker"} <= graphs.keys():
        return "it has no graphs embed and thinker"
    if any(graph["precision"] == "fp16" for graph in graphs.values()):
        return "it is in fp16, for devices"
    return "" if has_growing_cache(graphs["thinker"]) else "its states are no key/value cache"


def has_growing_cache(graph: Mapping[str, Any]) -> bool:
    """Whether the states of a graph with this manifest entry are a key/value cache in full precision."""
    axes, states = graph["inputs"], graph["states"]
    return bool(states) and graph["precision"] != "fp16" and all("past" in axes[name] for name in states)


def write_in_place_form(folder: Path, context: int) -> str:
    """Write ``in-place.onnx`` beside the graphs of a Thinker with so many tokens of context. Returns why there is none
    if attention is none that GroupQueryAttention computes; empty if it was written."""
    model = join(folder)
    attentions = [node for node in model.graph.node if node.op_type == "Attention"]
    producers = {name: node for node in model.graph.node for name in node.output}
    try:
        tables = _rotation(folder / "thinker.onnx", [_turn(producers, node) for node in attentions], context)
        if tables and tables["cosines"].shape[-1] % (ROTATED // 2):
            return f"the width of its heads is no multiple of {ROTATED}"
        grouped = {id(node): _grouped(node, producers, rotated=bool(tables)) for node in attentions}
    except ValueError as error:
        return str(error)
    _replace(model, grouped)
    model.graph.initializer.extend(numpy_helper.from_array(table, name) for name, table in tables.items())
    _add_inputs(model)
    _keep_last(model)
    _prune(model)
    write_joined(model, folder, IN_PLACE)
    return ""


def write_in_place_step(path: Path, context: int) -> str:
    """Write such a form of the graph in the file ``path``, which takes one place at a time, of so many at most, beside
    it; see :func:`step_form`. Returns why there is none; empty if it was written."""
    model = onnx.load(path)
    nodes = list(model.graph.node)
    producers = {name: node for node in nodes for name in node.output}
    attentions = [node for node in nodes if node.op_type == "Attention"]
    turns = [_turn(producers, node) for node in attentions]
    try:
        tables = _rotation(path, turns, context)
        grouped = {id(node): _grouped(node, producers, rotated=False) for node in attentions}
    except ValueError as error:
        return str(error)
    _replace(model, grouped)
    graph = model.graph
    graph.input.extend(
        [
            helper.make_tensor_value_info("last", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("most", TensorProto.INT32, [1]),
        ]
    )
    if tables:  # (B,1,Dh/2): the operator itself rotates heads of few widths alone
        # Without the place of a row that rests at the end of its context, these are bytes of the standard graph.
        graph.initializer.extend(numpy_helper.from_array(table[:-1], name) for name, table in tables.items())
        graph.initializer.append(numpy_helper.from_array(np.array([1]), "time_axis"))
        graph.initializer.append(numpy_helper.from_array(np.array(context - 1, np.int32), "last_turn"))
        nodes = list(graph.node)
        for node in nodes:
            if node.op_type == "RotaryEmbedding":
                node.input[1:3] = [f"{name}.turned" for name in tables]
        first = [helper.make_node("Min", ["last", "last_turn"], ["turn"])]
        first += [helper.make_node("Gather", [name, "turn"], [f"{name}.now"]) for name in tables]
        first += [helper.make_node("Unsqueeze", [f"{name}.now", "time_axis"], [f"{name}.turned"]) for name in tables]
        del graph.node[:]
        graph.node.extend([*first, *nodes])
    _prune(model)
    write_joined(model, path.parent, step_form(path.name), [path.name])
    return ""


def step_form(file: str) -> str:
    """The name of the form of the graph ``file``."""
    return f"{file.removesuffix('.onnx')}-{IN_PLACE}"


def _turn(producers: Mapping[str, Any], node: Any) -> Any:
    """The RotaryEmbedding of an Attention's queries; None if they are not rotated."""
    source = producers.get(node.input[0])
    if source is not None and source.op_type == "Split":
        source = producers.get(source.input[0])
    return source if source is not None and source.op_type == "RotaryEmbedding" else None


def _rotation(path: Path, turns: list[Any], context: int) -> dict[str, Any]:
    """The cosines and sines (C + 1, Dh/2) of all places, as the graph itself computes them; none without rotation. A
    row that fills the context may rest in a call, at one place more."""
    if not turns or all(turn is None for turn in turns):
        return {}
    if any(turn is None or list(turn.input[1:]) != list(turns[0].input[1:]) for turn in turns):
        raise ValueError("its layers rotate in different ways")
    if any(attribute(turn, name, 0) for turn in turns for name in ("interleaved", "rotary_embedding_dim")):
        raise ValueError("it rotates parts of heads, or pairs")
    model = onnx.load(path)
    names = list(turns[0].input[1:3])
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    sizes = {"batch": 1, "time": context, "past": 0}
    optional = {one.name for one in model.graph.initializer}
    feeds = {}
    for one in model.graph.input:
        if one.name not in optional:
            axes = [sizes.get(axis.dim_param, axis.dim_value) for axis in one.type.tensor_type.shape.dim]
            feeds[one.name] = np.zeros(axes, helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type))
    made = session.run(names, feeds)
    return {
        name: np.concatenate([table[0], table[0, -1:]]) for name, table in zip(("cosines", "sines"), made, strict=True)
    }


def _grouped(node: Any, producers: Mapping[str, Any], *, rotated: bool) -> Any:
    """The GroupQueryAttention that replaces an Attention. ValueError if there is none."""
    if {one.name for one in node.attribute} - KNOWN or len(node.input) != 6:
        raise ValueError("its attention has settings that GroupQueryAttention lacks")
    query, key, value, _, past_key, past_value = node.input
    turn = _turn(producers, node)
    if turn is not None and rotated:
        sources = [producers[name] for name in (query, key, value)]
        if sources[0].op_type == "Split":  # queries and keys turned at once, from one product
            packed = producers[turn.input[0]]
            if sources[1] is not sources[0] or sources[2] is not packed:
                raise ValueError("its queries, keys and values come from several places")
            query, key, value = packed.input[0], "", ""
        else:
            query, key = (one.input[0] for one in sources[:2])
    settings: dict[str, Any] = {
        "num_heads": attribute(node, "q_num_heads", 0),
        "kv_num_heads": attribute(node, "kv_num_heads", 0),
        "do_rotary": int(rotated),
    }
    settings |= {
        one.name: helper.get_attribute_value(one) for one in node.attribute if one.name in ("scale", "softcap")
    }
    rotation = ["cosines", "sines"] if rotated else []
    inputs = [query, key, value, past_key, past_value, "last", "most", *rotation]
    return helper.make_node("GroupQueryAttention", inputs, list(node.output[:3]), domain=DOMAIN, **settings)


def _replace(model: onnx.ModelProto, nodes: Mapping[int, Any]) -> None:
    kept = [nodes.get(id(node), node) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def _add_inputs(model: onnx.ModelProto) -> None:
    """The inputs of lengths, and those of media: where an id is negative, their embedding is used."""
    graph = model.graph
    width = next(one for one in graph.output if one.name == "hidden").type.tensor_type.shape.dim[2].dim_value
    graph.input.extend(
        [
            helper.make_tensor_value_info("last", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("most", TensorProto.INT32, [1]),
            helper.make_tensor_value_info("media", TensorProto.FLOAT, ["rows", "tokens", width]),
        ]
    )
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == "input_ids":
                node.input[place] = "known_ids"
        for place, name in enumerate(node.output):
            if name == "inputs_embeds":
                node.output[place] = "known_embeds"
    zero = numpy_helper.from_array(np.zeros((), np.int64), "no_id")
    last_axis = numpy_helper.from_array(np.array([-1]), "last_axis")
    graph.initializer.extend([zero, last_axis])
    first = [helper.make_node("Max", ["input_ids", "no_id"], ["known_ids"])]
    chosen = [
        helper.make_node("Less", ["input_ids", "no_id"], ["soft"]),
        helper.make_node("Unsqueeze", ["soft", "last_axis"], ["soft_rows"]),
        helper.make_node("Where", ["soft_rows", "media", "known_embeds"], ["inputs_embeds"]),
    ]
    nodes = list(graph.node)
    after = 1 + max(place for place, node in enumerate(nodes) if "known_embeds" in node.output)
    del graph.node[:]
    graph.node.extend([*first, *nodes[:after], *chosen, *nodes[after:]])


def _keep_last(model: onnx.ModelProto) -> None:
    """Compute logits and hidden states of the last token alone."""
    graph = model.graph
    constants = {"minus_one": [-1], "end": [2**62], "time_axis": [1]}
    graph.initializer.extend(numpy_helper.from_array(np.array(value), name) for name, value in constants.items())
    nodes: list[Any] = []
    for node in graph.node:
        nodes.append(node)
        if "hidden" in node.output:
            node.output[list(node.output).index("hidden")] = "every_hidden"
            nodes.append(helper.make_node("Slice", ["every_hidden", "minus_one", "end", "time_axis"], ["hidden"]))
    del graph.node[:]
    graph.node.extend(nodes)
    for output in graph.output:
        if output.name in ("logits", "hidden"):
            output.type.tensor_type.shape.dim[1].dim_value = 1


def _prune(model: onnx.ModelProto) -> None:
    """Remove what no output needs any more, such as the mask."""
    graph = model.graph
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
    tensors = [one for one in graph.initializer if one.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(tensors)

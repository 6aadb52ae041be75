"""From a graph in full precision to a smaller, faster one, and what of it stayed as it was, and why.

What is done follows from measurements on two cores with VNNI (docs/performance.md):

- ``int8``: matrices in 8 bits. A graph whose cache grows, or that remembers tokens in states of fixed size, is run
  token by token, where reading its matrices is what counts: there they come in blocks (:mod:`muomni_onnx.quantise`).
  Others see many rows at once: there what they multiply is quantised too. Tables and convolutions are made small, and
  computed with as before: onnxruntime's convolutions of whole numbers are slower than those of floats.
- ``int4``: matrices in blocks of 4 bits, except those that make an output, such as the logits: 8 bits.
- ``fp16``: 16-bit floats, for GPUs. On a CPU it only halves the file.

Knows onnx and numpy; no model, no PyTorch.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from muomni_onnx.choosing import Precision
from muomni_onnx.halve import Halving
from muomni_onnx.quantise import Quantiser
from muomni_onnx.rewriting import NORMS, PRODUCTS, Rewriting, ancestors, attribute, descendants, made_once

SMALL = 4096
"""Values of a weight that is left alone: less than what it takes to say how to make it smaller would save."""
WORTH = 0.95
"""A lowered graph that is larger than this share of the one it comes from is not worth its error."""
PAST = "past"
"""The axis along which caches grow."""
TOKENS = "inputs_embeds"
"""What a Thinker's graph takes besides its states."""

SPECTRUM = "before a logarithm or after an exponential: powers span more than fewer bits hold"
NEAREST = "compared to choose a code: a small error chooses another"
ADDED = "biases, norms and positions: no matrices, and small"
NO_GAIN = "nothing would be smaller"


@dataclass(frozen=True, slots=True)
class Kept:
    """Weights that stayed in full precision: how many bytes, and why."""

    size: int
    why: str


@dataclass(frozen=True, slots=True)
class Lowered:
    """What became of a graph. ``precision`` is fp32 if nothing came of it."""

    precision: Precision
    size: int
    kept: Sequence[Kept]


def lower(source: Path, target: Path, precision: Precision, states: Mapping[str, str]) -> Lowered:
    """Write the graph in the file ``source`` in another precision to the file ``target``.

    Args:
        source: in float32, all in one file.
        target: may be ``source``.
        precision: see above.
        states: input -> output that is this input at the next call.
    """
    if precision != "fp32":
        graph = Rewriting(onnx.load(source))
        exact, whole = _exact(graph), frozenset(graph.constants)
        if precision == "fp16":
            _halve(graph, exact, states)
        else:
            _quantise(graph, exact, precision, states)
        made: bytes = graph.finish().SerializeToString()
        if len(made) < WORTH * source.stat().st_size:
            target.write_bytes(made)
            return Lowered(precision, len(made), _kept(graph, exact, whole))
    if source != target:
        shutil.copyfile(source, target)
    why = [] if precision == "fp32" else [Kept(target.stat().st_size, NO_GAIN)]
    return Lowered("fp32", target.stat().st_size, why)


def _exact(graph: Rewriting) -> dict[int, str]:
    """Ids of the nodes that must stay in full precision -> why.

    Whatever leads to a logarithm or follows an exponential, up to a norm, handles numbers of very different sizes: the
    magnitudes of a spectrum in log-mel front ends of encoders and in the last step of vocoders, and what is left of
    fading states. Whatever leads to the choice of a smallest or largest, through one product, compares with a codebook.
    What these take that is made of constants alone must be as exact.
    """
    by_type = {
        kind: [node for node in graph.nodes if node.op_type in kinds]
        for kind, kinds in {"log": {"Log"}, "exp": {"Exp"}, "choice": {"ArgMin", "ArgMax", "TopK"}}.items()
    }
    spectrum = ancestors(graph, by_type["log"]) | descendants(graph, by_type["exp"], until=NORMS)
    nearest = ancestors(graph, by_type["choice"], products=1)
    exact = dict.fromkeys(nearest, NEAREST) | dict.fromkeys(spectrum, SPECTRUM)
    return exact | dict.fromkeys(made_once(graph, exact), SPECTRUM)


def _quantise(graph: Rewriting, exact: Mapping[int, str], precision: Precision, states: Mapping[str, str]) -> None:
    quantiser = Quantiser(graph)
    heads = {one.name for one in graph.model.graph.output}
    steps = _by_token(graph, states)
    # What onnxruntime makes of a matrix of whole numbers on an x86 CPU without VNNI, it can make only once.
    shared = {name for name, users in graph.consumers().items() if len(users) > 1}
    changes = []
    for node in graph.nodes:
        if id(node) in exact or _weight(graph, node) is None:
            continue
        if node.op_type == "MatMul" and precision == "int4":
            changes.append((node, quantiser.blocks(node, 8 if node.output[0] in heads else 4)))
        elif node.op_type == "MatMul":
            blocks = steps or node.input[1] in shared
            changes.append((node, quantiser.blocks(node, 8) if blocks else quantiser.columns(node)))
        elif node.op_type == "Gather":
            changes.append((node, quantiser.table(node)))
        else:
            node.input[1], before = quantiser.stored(node.input[1])
            changes.append((node, [*before, node]))
    graph.replace(changes)


def _by_token(graph: Rewriting, states: Mapping[str, str]) -> bool:
    """Whether a graph is run token by token, and not over many rows at once."""
    inputs = {one.name: one for one in graph.model.graph.input}
    return any(PAST in _axes(one) for one in inputs.values()) or (TOKENS in inputs and bool(states))


def _halve(graph: Rewriting, exact: Mapping[int, str], states: Mapping[str, str]) -> None:
    turning = ancestors(graph, [node for node in graph.nodes if node.op_type in {"Cos", "Exp", "Sin"}], products=0)
    growing = {one.name for one in graph.model.graph.input if PAST in _axes(one)} & states.keys()
    Halving(graph, exact.keys() | turning, growing | {states[name] for name in growing}).run()


def _weight(graph: Rewriting, node: Any) -> str | None:
    """The name of the constant that a node multiplies with or looks up in, if it is one worth lowering."""
    if node.op_type == "Gather":
        name = node.input[0] if attribute(node, "axis", 0) == 0 else ""
    elif node.op_type in PRODUCTS:
        name = node.input[1]
    else:
        return None
    values = graph.weight(name)
    if values is None or values.size < SMALL or (node.op_type in {"Gather", "MatMul"} and values.ndim != 2):
        return None
    return str(name)


def _axes(port: Any) -> list[str]:
    return [axis.dim_param for axis in port.type.tensor_type.shape.dim]


def _kept(graph: Rewriting, exact: Mapping[int, str], whole: Collection[str]) -> list[Kept]:
    """Which of the constants ``whole`` a rewritten graph still has, by reason."""
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    for node in graph.nodes:
        for name in node.input:
            values = graph.weight(name) if name in whole else None
            if values is not None and name not in seen:
                seen.add(name)
                why = exact.get(id(node), ADDED)
                sizes[why] = sizes.get(why, 0) + values.nbytes
    return [Kept(size, why) for why, size in sizes.items()]

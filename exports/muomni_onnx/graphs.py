"""Parts to be exported, and the tracing of their graphs into ONNX files of standard operators."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript  # torch needs it, and its own error does not say so
import onnxscript.optimizer
import torch
from torch import nn
from torch.onnx._internal.exporter import _registration

from muomni_cli.api import EncoderPart, Graph, GraphInput, MuomniError, Part, RequestError, Tokenizer
from muomni_cli.nn.onnx_stack import FunctionGraph
from muomni_cli.registry.entries import open_entry
from muomni_cli.registry.registry import RegisteredPart, resolve

OPSET = 23  # the first with Attention, RotaryEmbedding and RMSNormalization

_translations = functools.cache(_registration.ONNXRegistry.from_torchlib)

THINKER = "thinker"


def write_graph(graph: Graph, path: Path) -> None:
    """Trace ``graph`` and write it to ``path``, weights included.

    Raises:
        MuomniError: it cannot be traced, or needs operators outside the standard.
    """
    sizes = next(iter(graph.cases.values()))
    examples = tuple(torch.from_numpy(array) for array in graph.sample_inputs(sizes, np.random.default_rng(0)))
    axes = tuple(
        {n: axis for n, axis in enumerate(graph_input.axes) if isinstance(axis, str)} for graph_input in graph.inputs
    )
    try:
        with _export_settings():
            program = torch.onnx.export(
                FunctionGraph(graph.module).eval(),  # takes any number of tensors
                examples,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[graph_input.name for graph_input in graph.inputs],
                output_names=list(graph.outputs),
                dynamic_shapes=(axes,),
                external_data=False,
                optimize=False,
            )
            assert program is not None, "with dynamo there is a program"
            # constants of more elements are computed when a session opens, faster than they are read
            onnxscript.optimizer.optimize(program.model, output_size_limit=8192)
    except torch.onnx.errors.OnnxExporterError as error:
        why = " ".join(str(error.__cause__ or error).split())[:300]
        raise MuomniError(
            f"graph {graph.name} cannot be exported: {why}",
            "its forward must only compute with tensors; run again with --debug for the cause",
        ) from error
    if domains := {node.domain for node in program.model.graph.all_nodes()} - {""}:
        raise MuomniError(
            f"graph {graph.name} needs operators of {', '.join(sorted(domains))}",
            f"its forward may use only operators of ONNX opset {OPSET}",
        )
    _forget(program.model)
    program.save(path, external_data=False)
    if optional := [graph_input for graph_input in graph.inputs if graph_input.optional]:
        _default(path, optional, np.random.default_rng(0))


def _default(path: Path, inputs: Sequence[GraphInput], random: np.random.Generator) -> None:
    """Give ``inputs`` of the graph a value that is used where a call has none: 0, of size 1 along named axes."""
    model = onnx.load(path)
    for one in inputs:
        zeros = np.zeros_like(one.sampler(random, tuple(axis if isinstance(axis, int) else 1 for axis in one.axes)))
        model.graph.initializer.append(onnx.numpy_helper.from_array(zeros, one.name))
    onnx.save(model, path)


def _forget(model: Any) -> None:
    """Remove the metadata on where each node came from: a third of a small graph's bytes."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()


@contextlib.contextmanager
def _export_settings() -> Iterator[None]:
    """No warnings, and one set of operator translations for all graphs: torch parses five hundred of them for each,
    which takes as long as a small export."""
    logger = logging.getLogger("torch.onnx")
    registry: Any = _registration.ONNXRegistry
    level, from_torchlib = logger.level, vars(registry)["from_torchlib"]
    logger.setLevel(logging.ERROR)
    registry.from_torchlib = staticmethod(_translations)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        registry.from_torchlib = from_torchlib


@dataclass(frozen=True, slots=True)
class Exported:
    """A part to be exported."""

    name: str  # in the bundle: its kind, or the modality of an encoder
    entry: Mapping[str, Any]  # of ``model.json``
    module: nn.Module  # with weights, on the CPU, in evaluation mode
    graphs: Sequence[Graph]  # what it declares, possibly none
    weights: tuple[Path, ...] = ()  # the checkpoints it was loaded from


@dataclass(frozen=True, slots=True)
class Model:
    """A model to be exported as one bundle."""

    name: str
    parts: Sequence[Exported]  # the Thinker first, then its encoders in order
    chat: Mapping[str, Any]  # default chat settings
    tokenizer: tuple[Tokenizer, Mapping[str, Any]] | None  # and its entry of ``model.json``; None: a model without text
    provenance: Mapping[str, Any]  # for the manifest
    voices: Mapping[str, Model] = field(default_factory=dict)  # voices that were added to the model, by name

    def part(self, name: str) -> Exported | None:
        return next((part for part in self.parts if part.name == name), None)


def those_with_graphs(parts: Sequence[Exported], *, partial: bool) -> list[Exported]:
    """The parts that declare graphs.

    Raises:
        RequestError: a part declares none, and the export is not ``partial`` or the part is the Thinker.
    """
    for part in parts:
        if not part.graphs and (not partial or part.name == THINKER):
            fix = "its plugin must declare graphs=" + ("" if part.name == THINKER else "; --partial exports the rest")
            label = f"{part.entry['kind']} {part.entry['use']} (plugin {part.entry['plugin']})"
            raise RequestError(f"{label} declares no graphs, so it cannot be exported", fix)
    kept = [part for part in parts if part.graphs]
    if not kept:
        raise RequestError("there is nothing to export", "choose a run with a trained part that declares graphs")
    return kept


def exported(name: str, entry: Mapping[str, Any], module: Any, *weights: Path, more: Sequence[Graph] = ()) -> Exported:
    """A part with the graphs that it declares, and ``more``."""
    part = open_entry(entry)[0].part
    graphs = _declared(part, part.graphs, module)
    return Exported(name, entry, module, [*graphs, *more] if graphs else [], weights)


def head_of(registered: RegisteredPart, task: nn.Module) -> list[Graph]:
    """The graphs of the head in ``task``, an encoder with the head of its own stage; none if none are declared."""
    part = registered.part
    assert isinstance(part, EncoderPart), "only encoders have a head of their own"
    return _declared(part, part.head_graphs, task)


def projection(linear: nn.Linear) -> list[Graph]:
    """The graph ``projector``: (B,T,W) tokens of an encoder -> (B,T,D), the width of the Thinker's embeddings."""
    return [
        Graph(
            name="projector",
            module=FunctionGraph(linear),
            inputs=[GraphInput("tokens", ("batch", "tokens", linear.in_features))],
            outputs=["inputs_embeds"],
            cases={
                "traced": {"batch": 2, "tokens": 3},
                "one token": {"batch": 1, "tokens": 1},
                "many": {"batch": 3, "tokens": 64},
            },
        )
    ]


def _declared(part: Part, reference: str | None, module: nn.Module) -> list[Graph]:
    """What the function named by ``reference`` returns for the module, made ready for inference; none without one."""
    ready = module.eval().requires_grad_(False)
    return list(resolve(reference, f"{part.kind} {part.name}")(ready)) if reference is not None else []

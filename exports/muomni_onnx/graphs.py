"""Parts to be exported, and the tracing of their graphs into ONNX files of standard operators."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxscript  # torch needs it, and its own error does not say so
import onnxscript.optimizer
import torch
from torch import Tensor, nn
from torch.onnx._internal.exporter import _registration

from muomni_cli.api import EncoderPart, Graph, GraphInput, MuomniError, Part, RequestError, Tokenizer
from muomni_cli.registry.registry import RegisteredPart, resolve
from muomni_cli.runs.run import open_entry

OPSET = 23
"""The first opset with Attention, RotaryEmbedding and RMSNormalization."""

LARGEST = 8192
"""Most elements of a constant that is folded at export: larger ones are computed when a session opens, faster than they
are read."""

_translations = functools.cache(_registration.ONNXRegistry.from_torchlib)

THINKER = "thinker"


class _Flat(nn.Module):
    """Any graph's module, called with any number of tensors."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.module(*tensors))


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
        with _quiet(), _translations_read_once():
            program = torch.onnx.export(
                _Flat(graph.module).eval(),
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
            onnxscript.optimizer.optimize(program.model, output_size_limit=LARGEST)
    except torch.onnx.errors.OnnxExporterError as error:
        raise MuomniError(
            f"graph {graph.name} cannot be exported: {describe(error.__cause__ or error)}",
            "its forward must only compute with tensors; run again with --debug for the cause",
        ) from error
    domains = {node.domain for node in program.model.graph.all_nodes()} - {""}
    if domains:
        raise MuomniError(
            f"graph {graph.name} needs operators of {', '.join(sorted(domains))}",
            f"its forward may use only operators of ONNX opset {OPSET}",
        )
    _forget(program.model)
    program.save(path, external_data=False)


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
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _translations_read_once() -> Iterator[None]:
    """For every graph torch parses five hundred operator translations, which takes as long as a small export. They are
    the same for all graphs."""
    owner: Any = _registration.ONNXRegistry
    original = vars(owner)["from_torchlib"]
    owner.from_torchlib = staticmethod(_translations)
    try:
        yield
    finally:
        owner.from_torchlib = original


def describe(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


@dataclass(frozen=True, slots=True)
class Exported:
    """A part to be exported.

    Args:
        name: in the bundle: its kind, or the modality of an encoder.
        entry: of ``model.json``.
        module: with weights, on the CPU, in evaluation mode.
        graphs: what it declares, possibly none.
        weights: the checkpoints it was loaded from.
    """

    name: str
    entry: Mapping[str, Any]
    module: nn.Module
    graphs: Sequence[Graph]
    weights: tuple[Path, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.entry['kind']} {self.entry['use']} (plugin {self.entry['plugin']})"


@dataclass(frozen=True, slots=True)
class Model:
    """A model to be exported as one bundle.

    Args:
        name: of the model.
        parts: the Thinker first, then its encoders in order.
        chat: default chat settings.
        tokenizer: and its entry of ``model.json``; None for a model without text.
        provenance: for the manifest.
    """

    name: str
    parts: Sequence[Exported]
    chat: Mapping[str, Any]
    tokenizer: tuple[Tokenizer, Mapping[str, Any]] | None
    provenance: Mapping[str, Any]

    def part(self, name: str) -> Exported | None:
        return next((part for part in self.parts if part.name == name), None)


class ProjectorGraph(nn.Module):
    """(B,T,W) tokens of an encoder -> (B,T,D), the width of the Thinker's embeddings."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, tokens: Any) -> tuple[Any]:
        return (self.linear(tokens),)


def those_with_graphs(parts: Sequence[Exported], *, partial: bool) -> list[Exported]:
    """The parts that declare graphs.

    Raises:
        RequestError: a part declares none, and the export is not ``partial`` or the part is the Thinker.
    """
    for part in parts:
        if not part.graphs and (not partial or part.name == THINKER):
            fix = "its plugin must declare graphs=" + ("" if part.name == THINKER else "; --partial exports the rest")
            raise RequestError(f"{part.label} declares no graphs, so it cannot be exported", fix)
    kept = [part for part in parts if part.graphs]
    if not kept:
        raise RequestError("there is nothing to export", "name a run that has trained a part that declares graphs")
    return kept


def exported(name: str, entry: Mapping[str, Any], module: Any, *weights: Path, more: Sequence[Graph] = ()) -> Exported:
    """A part with the graphs that it declares, and ``more``."""
    registered, _ = open_entry(entry)
    ready = module.eval().requires_grad_(False)
    graphs = _called(registered.part, registered.part.graphs, ready)
    return Exported(name, entry, ready, [*graphs, *more] if graphs else [], weights)


def head_of(registered: RegisteredPart, task: nn.Module) -> list[Graph]:
    """The graphs of the head in ``task``, an encoder with the head of its own stage; none if none are declared."""
    part = registered.part
    assert isinstance(part, EncoderPart), "only encoders have a head of their own"
    return _called(part, part.head_graphs, task.eval().requires_grad_(False))


def lesson_of(registered: RegisteredPart, config: Any, head_metadata: Mapping[str, Any] | None) -> Any:
    """The encoder with the head that its own stage trains, with random weights; None where it declares no head graphs
    or the head depends on data. ``head_metadata``: what the stage learned besides weights, None if untrained."""
    part, name = registered.part, f"encoder {registered.part.name}"
    if not isinstance(part, EncoderPart) or part.head_graphs is None:
        return None
    if part.predictor is not None and head_metadata is not None:
        return resolve(part.predictor, name)(config, head_metadata)
    return resolve(part.transcribe, name)(config) if part.transcribe is not None else None


def projection(linear: nn.Linear) -> list[Graph]:
    return [
        Graph(
            name="projector",
            module=ProjectorGraph(linear),
            inputs=[GraphInput("tokens", ("batch", "tokens", linear.in_features))],
            outputs=["inputs_embeds"],
            cases={
                "traced": {"batch": 2, "tokens": 3},
                "one token": {"batch": 1, "tokens": 1},
                "many": {"batch": 3, "tokens": 64},
            },
        )
    ]


def _called(part: Part, reference: str | None, module: nn.Module) -> list[Graph]:
    return list(resolve(reference, f"{part.kind} {part.name}")(module)) if reference is not None else []

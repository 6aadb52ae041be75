"""Parts on their way into a bundle: each with its weights and the graphs that it declares, traced into ONNX files
of standard operators.
"""

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
import onnxscript  # torch needs it, and its own word for that is no help
import onnxscript.optimizer
import torch
from torch import Tensor, nn
from torch.onnx._internal.exporter import _registration

from muomni_cli.api import EncoderPart, Graph, GraphInput, MuomniError, Part, RequestError, Tokenizer
from muomni_cli.registry.registry import RegisteredPart, resolve
from muomni_cli.runs.run import open_entry

OPSET = 23
"""The first with Attention, RotaryEmbedding and RMSNormalization."""

LARGEST = 8192
"""Most elements of a constant that is made of others when a graph is written: larger ones are made when it is opened,
which is quicker than reading them."""

_translations = functools.cache(_registration.ONNXRegistry.from_torchlib)

THINKER = "thinker"


class _Flat(nn.Module):
    """Any graph's module, called with however many tensors."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.module(*tensors))


def write_graph(graph: Graph, path: Path) -> None:
    """Trace ``graph`` and write it to ``path``, weights included.

    Raises:
        MuomniError: it cannot be traced, or needs operators that are not in the standard.
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
            "its forward must be made of tensors alone; run again with --debug to see what is in the way",
        ) from error
    strangers = {node.domain for node in program.model.graph.all_nodes()} - {""}
    if strangers:
        raise MuomniError(
            f"graph {graph.name} needs operators of {', '.join(sorted(strangers))}",
            f"its forward must be made of what ONNX opset {OPSET} has",
        )
    _forget(program.model)
    program.save(path, external_data=False)


def _forget(model: Any) -> None:
    """Leave out from where in whose files each node came: a third of a small graph's bytes."""
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
    """Nothing of what torch says about its own internals."""
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
    """For every graph torch parses the sources of five hundred operators' translations, which takes as long as a small
    graph itself. They are the same for all graphs, and nothing here adds to them."""
    owner: Any = _registration.ONNXRegistry
    original = vars(owner)["from_torchlib"]
    owner.from_torchlib = staticmethod(_translations)
    try:
        yield
    finally:
        owner.from_torchlib = original


def describe(error: BaseException) -> str:
    """One line of an exception of many."""
    return " ".join(str(error).split())[:300]


@dataclass(frozen=True, slots=True)
class Exported:
    """A part on its way into a bundle.

    Args:
        name: what the bundle calls it: its kind, or the modality of an encoder.
        entry: what ``model.json`` says of it.
        module: with its weights, on the CPU, in evaluation mode.
        graphs: what it declares; empty if it declares nothing.
        weights: the checkpoints that they came from; none for fresh ones.
    """

    name: str
    entry: Mapping[str, Any]
    module: nn.Module
    graphs: Sequence[Graph]
    weights: tuple[Path, ...] = ()

    @property
    def label(self) -> str:
        """What to call it in an error."""
        return f"{self.entry['kind']} {self.entry['use']} (plugin {self.entry['plugin']})"


@dataclass(frozen=True, slots=True)
class Model:
    """All that becomes one bundle.

    Args:
        name: what to call it.
        parts: the Thinker first, then its encoders in their order.
        chat: how it answers unless asked otherwise.
        tokenizer: with what ``model.json`` says of it; None for a model that knows no text.
        provenance: where it came from.
    """

    name: str
    parts: Sequence[Exported]
    chat: Mapping[str, Any]
    tokenizer: tuple[Tokenizer, Mapping[str, Any]] | None
    provenance: Mapping[str, Any]

    def part(self, name: str) -> Exported | None:
        """The part of that name, if it has it."""
        return next((part for part in self.parts if part.name == name), None)


class ProjectorGraph(nn.Module):
    """(B,T,W) tokens of an encoder -> (B,T,D), as wide as the Thinker's embeddings."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, tokens: Any) -> tuple[Any]:
        """One tensor in, one out."""
        return (self.linear(tokens),)


def those_with_graphs(parts: Sequence[Exported], *, partial: bool) -> list[Exported]:
    """The parts that can be exported.

    Raises:
        RequestError: a part declares no graphs, and the rest alone was not asked for; or the Thinker is without.
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
    """A part with the graphs that it declares, and ``more`` beside them."""
    registered, _ = open_entry(entry)
    ready = module.eval().requires_grad_(False)
    graphs = _called(registered.part, registered.part.graphs, ready)
    return Exported(name, entry, ready, [*graphs, *more] if graphs else [], weights)


def head_of(registered: RegisteredPart, task: nn.Module) -> list[Graph]:
    """The graphs of what an encoder's own stage learned on top of it; none if it declares none.

    Args:
        registered: the encoder's declaration.
        task: what its ``answer`` or ``transcribe`` built, with its weights.
    """
    part = registered.part
    assert isinstance(part, EncoderPart), "only encoders have a head of their own"
    return _called(part, part.head_graphs, task.eval().requires_grad_(False))


def lesson_of(registered: RegisteredPart, config: Any, head_metadata: Mapping[str, Any] | None) -> Any:
    """The encoder as ``encoder`` with the head that its own stage trains, with fresh weights; None where it declares
    no graphs of it, or where it is not known what it would have learned.

    Args:
        registered: the encoder's declaration.
        config: of the encoder.
        head_metadata: what its stage learned besides weights; None if it has not been trained.
    """
    part, name = registered.part, f"encoder {registered.part.name}"
    if not isinstance(part, EncoderPart) or part.head_graphs is None:
        return None
    if part.predictor is not None and head_metadata is not None:
        return resolve(part.predictor, name)(config, head_metadata)
    return resolve(part.transcribe, name)(config) if part.transcribe is not None else None


def projection(linear: nn.Linear) -> list[Graph]:
    """What makes an encoder's tokens as wide as the Thinker's embeddings."""
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

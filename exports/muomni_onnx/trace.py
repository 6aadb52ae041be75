"""From a declared graph to an ONNX file of standard operators. Knows no model. Imports torch."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxscript  # torch needs it, and its own word for that is no help
import onnxscript.optimizer
import torch
from torch import Tensor, nn
from torch.onnx._internal.exporter import _registration

from muomni_cli.api import Graph, MuomniError

OPSET = 23
"""The first with Attention, RotaryEmbedding and RMSNormalization."""
LARGEST = 8192
"""Most elements of a constant that is made of others when a graph is written: larger ones are made when it is opened,
which is quicker than reading them."""

_translations = functools.cache(_registration.ONNXRegistry.from_torchlib)


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
    examples = tuple(torch.from_numpy(array) for array in graph.draw(sizes, np.random.default_rng(0)))
    axes = tuple({n: axis for n, axis in enumerate(port.axes) if isinstance(axis, str)} for port in graph.inputs)
    try:
        with _quiet(), _translations_read_once():
            program = torch.onnx.export(
                _Flat(graph.module).eval(),
                examples,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[port.name for port in graph.inputs],
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

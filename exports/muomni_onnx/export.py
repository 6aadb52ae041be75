"""Make a bundle: every graph is traced, compared with PyTorch, converted to the requested precision, and written
only if it agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from muomni_cli.api import Graph, MuomniError
from muomni_cli.core.extras import __version__
from muomni_cli.core.files import new_folder
from muomni_onnx.bundle import open_bundle, write_manifest
from muomni_onnx.genai import why_no_text, write_text_form
from muomni_onnx.golden import case_arrays, relative, write_reference
from muomni_onnx.graphs import OPSET, THINKER, Exported, Model, those_with_graphs, write_graph
from muomni_onnx.parity import EndToEndCheck, Parity, answer, compare
from muomni_onnx.precision import KeptTensor, Precision, PrecisionPlan, convert_precision
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import GraphSession

ALLOWED: dict[Precision, float] = {"fp16": 0.01, "int8": 0.15, "int4": 0.4}
"""Largest relative error of any output on random inputs, over all calls in a row; of codes, the share that differs.
Trained models were measured at 0.001, 0.03 and 0.19, codes at 0, 0.05 and 0.15. It tells a graph that is broken from
one that is rounded. What rounding costs, evaluation says."""

ALIKE = 1e-3
"""How far a lowered graph may at least be from what it gave before, relative: another CPU adds in another order, which
may round a number up instead of down. If it is further from PyTorch than that, it may be as far from itself."""


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """A graph as it came into the bundle.

    Args:
        precision: what it has.
        parity: with PyTorch: of fp32 by largest difference, of others relative.
        size: bytes of the file.
        kept: what of it is in full precision still, if anything was asked to be lower.
    """

    precision: Precision
    parity: Parity
    size: int
    kept: Sequence[KeptTensor]


def with_precision(graph: Graph, path: Path, parity: Parity, wanted: Precision) -> ExportedGraph:
    """Lower the graph in the file ``path``, which is in fp32 and has ``parity``; leave it where that gains nothing or
    costs too much."""
    full = path.stat().st_size
    if wanted == "fp32":
        return ExportedGraph("fp32", parity, full, [])
    lower_path = path.with_suffix(".lower")
    made = convert_precision(path, lower_path, wanted, graph.states)
    try:
        if made.precision == "fp32":
            return ExportedGraph("fp32", parity, full, made.kept)
        near = compare(graph, GraphSession(lower_path), ALLOWED[wanted], relative)
        if not near.holds:
            why = f"{wanted} would be {near.error:.2g} off ({near.where}), and {near.tolerance:.2g} is allowed"
            return ExportedGraph("fp32", parity, full, [KeptTensor(full, why)])
        lower_path.replace(path)
        return ExportedGraph(made.precision, near, made.size, made.kept)
    finally:
        lower_path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ExportedLine:
    """One line of the table: a graph, and what became of it."""

    part: str
    graph: str
    written: ExportedGraph

    @property
    def parity(self) -> Parity:
        """How far it is from PyTorch."""
        return self.written.parity


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported: graph by graph, and whole answers; and what was left out, and why."""

    lines: Sequence[ExportedLine]
    wholes: Sequence[EndToEndCheck]
    notes: Sequence[str] = ()


def export(
    model: Model,
    root: Path,
    *,
    partial: bool = False,
    precision: PrecisionPlan | None = None,
    replace: bool = False,
    notify: Callable[[str], None],
) -> ExportReport:
    """Export the model to the folder ``root``, which appears only when everything in it agrees with PyTorch.

    Args:
        model: what to export.
        root: the folder to make.
        partial: leave out parts that declare no graphs.
        precision: of each part; fp32 by default.
        replace: an earlier export that is there.
        notify: told what is being done.

    Raises:
        RequestError: the folder is there, a part declares no graphs, or there is no part that ``precision`` names.
        MuomniError: a graph cannot be traced, or does not do what PyTorch does.
    """
    parts = those_with_graphs(model.parts, partial=partial)
    chosen = precision or PrecisionPlan()
    chosen.require([part.name for part in parts])
    with new_folder(root, replace=replace) as folder:
        described: dict[str, dict[str, Any]] = {}
        lines: list[ExportedLine] = []
        saved: dict[str, Any] = {}
        for part in parts:
            graphs = {}
            for graph in part.graphs:
                notify(f"exporting {part.name}: {graph.name}")
                line = ExportedLine(part.name, graph.name, _write(part, graph, folder, chosen.of(part.name)))
                lines.append(line)
                saved |= _saved(line)
                graphs[graph.name] = _description(part, graph, line.written)
            described[part.name] = {**part.entry, "weights": "", **_rate(part), "graphs": graphs}
        manifest = {"name": model.name, "parts": described, **_rest(model, folder, chosen)}
        notes = []
        if model.tokenizer is not None:
            why = why_no_text(described[THINKER])
            if why:
                notes.append(f"thinker: no files for onnxruntime-genai: {why}")
            else:
                write_text_form(folder, manifest)
        write_manifest(folder, manifest)  # as it is opened later, so that whole answers come from what is in there
        answered = answer(model, OnnxModel(open_bundle(folder), "cpu", torch.get_num_threads()), notify)
        for whole in answered.wholes:
            if all(chosen.of(part) == "fp32" for part in whole.parts):
                _require_whole(whole)
        write_reference(folder, {**saved, **answered.saved})
        write_manifest(folder, manifest)
    return ExportReport(lines, answered.wholes, notes)


def _write(part: Exported, graph: Graph, folder: Path, precision: Precision) -> ExportedGraph:
    path = folder / _file(part, graph)
    path.parent.mkdir(exist_ok=True)
    write_graph(graph, path)
    parity = compare(graph, GraphSession(path, torch.get_num_threads()))
    _require_parity(part, graph, parity)
    return with_precision(graph, path, parity, precision)


def _rate(part: Exported) -> dict[str, int]:
    """Samples a second, of a part that takes or gives sound."""
    for holder in (getattr(part.module, "config", None), getattr(part.module, "mel", None)):
        rate = getattr(holder, "sample_rate", None)
        if isinstance(rate, int):
            return {"sample_rate": rate}
    return {}


def _file(part: Exported, graph: Graph) -> str:
    return f"{part.name}/{graph.name}.onnx"


def _description(part: Exported, graph: Graph, written: ExportedGraph) -> dict[str, Any]:
    parity, whole = written.parity, written.precision == "fp32"
    first = parity.cases[0]
    halves = {name for name, array in first.made.items() if array.dtype == np.float16}  # caches, in fp16
    return {
        "file": _file(part, graph),
        "inputs": {graph_input.name: list(graph_input.axes) for graph_input in graph.inputs},
        "types": {
            name: "float16" if graph.states.get(name) in halves else str(array.dtype)
            for name, array in first.feeds.items()
        },
        "outputs": list(graph.outputs),
        "states": dict(graph.states),
        "initial_sizes": dict(graph.initial_sizes),
        "precision": written.precision,
        "tolerance": graph.tolerance if whole else max(parity.error, ALIKE),
        "unchecked": sorted(graph.unchecked),
        "max_mismatch_fraction": graph.max_mismatch_fraction,
        "error": parity.error,
    }


def _saved(line: ExportedLine) -> dict[str, Any]:
    """Cases to check with later: PyTorch's outputs where the graph can be held to them, else its own."""
    whole = line.written.precision == "fp32"
    saved: dict[str, Any] = {}
    for number, case in enumerate(line.parity.cases):
        outputs = case.expected if whole else case.made
        saved |= case_arrays(f"{line.part}/{line.graph}", number, case.feeds, outputs)
    return saved


def _require_parity(part: Exported, graph: Graph, parity: Parity) -> None:
    """Raises MuomniError unless the graph agrees."""
    if not parity.holds:
        raise MuomniError(
            f"{part.name}: {graph.name} is {parity.error:.2g} from PyTorch ({parity.where}), and "
            f"{parity.tolerance:.2g} is allowed; nothing was written",
            "its graphs= must do what its forward does",
        )


def _require_whole(whole: EndToEndCheck) -> None:
    """Raises MuomniError unless a whole answer is PyTorch's."""
    if not whole.holds:
        raise MuomniError(
            f"{whole.says}; nothing was written", "graphs= must do what forward does, and runs= what the module does"
        )


def _rest(model: Model, folder: Path, chosen: PrecisionPlan) -> dict[str, Any]:
    """Tokenizer, special tokens, chat settings and provenance."""
    tokenizer: dict[str, Any] | None = None
    specials: dict[str, int] = {}
    if model.tokenizer is not None:
        opened, entry = model.tokenizer
        opened.save(folder / "tokenizer")
        tokenizer, specials = {**entry, "weights": "tokenizer"}, dict(opened.specials)
    return {
        "tokenizer": tokenizer,
        "special_tokens": specials,
        "chat": dict(model.chat),
        "precision": chosen.rest,
        "provenance": {
            **model.provenance,
            "muomni": __version__,
            "torch": str(torch.__version__),
            "opset": OPSET,
        },
    }

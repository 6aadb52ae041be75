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
from muomni_onnx.bundle import open_bundle, seal
from muomni_onnx.genai import why_no_text, write_text_form
from muomni_onnx.golden import case_arrays, relative, write_reference
from muomni_onnx.graphs import OPSET, THINKER, Exported, Model, those_with_graphs, write_graph
from muomni_onnx.parity import Parity, Whole, answer, compare
from muomni_onnx.precision import Chosen, Kept, Precision, lower
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import Session

ALLOWED: dict[Precision, float] = {"fp16": 0.01, "int8": 0.15, "int4": 0.4}
"""Largest relative error of any output on random inputs, over all calls in a row; of codes, the share that differs.
Trained models were measured at 0.001, 0.03 and 0.19, codes at 0, 0.05 and 0.15. It tells a graph that is broken from
one that is rounded. What rounding costs, evaluation says."""

ALIKE = 1e-3
"""How far a lowered graph may at least be from what it gave before, relative: another CPU adds in another order, which
may round a number up instead of down. If it is further from PyTorch than that, it may be as far from itself."""


@dataclass(frozen=True, slots=True)
class Written:
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
    kept: Sequence[Kept]


def lowered(graph: Graph, path: Path, parity: Parity, wanted: Precision) -> Written:
    """Lower the graph in the file ``path``, which is in fp32 and has ``parity``; leave it where that gains nothing or
    costs too much."""
    full = path.stat().st_size
    if wanted == "fp32":
        return Written("fp32", parity, full, [])
    lower_path = path.with_suffix(".lower")
    made = lower(path, lower_path, wanted, graph.states)
    try:
        if made.precision == "fp32":
            return Written("fp32", parity, full, made.kept)
        near = compare(graph, Session(lower_path), ALLOWED[wanted], relative)
        if not near.holds:
            why = f"{wanted} would be {near.error:.2g} off ({near.where}), and {near.tolerance:.2g} is allowed"
            return Written("fp32", parity, full, [Kept(full, why)])
        lower_path.replace(path)
        return Written(made.precision, near, made.size, made.kept)
    finally:
        lower_path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: a graph, and what became of it."""

    part: str
    graph: str
    written: Written

    @property
    def parity(self) -> Parity:
        """How far it is from PyTorch."""
        return self.written.parity


@dataclass(frozen=True, slots=True)
class Report:
    """What was exported: graph by graph, and whole answers; and what was left out, and why."""

    lines: Sequence[Line]
    wholes: Sequence[Whole]
    notes: Sequence[str] = ()


def export(
    model: Model,
    root: Path,
    *,
    partial: bool = False,
    precision: Chosen | None = None,
    replace: bool = False,
    tell: Callable[[str], None],
) -> Report:
    """Export the model to the folder ``root``, which appears only when everything in it agrees with PyTorch.

    Args:
        model: what to export.
        root: the folder to make.
        partial: leave out parts that declare no graphs.
        precision: of each part; fp32 by default.
        replace: an earlier export that is there.
        tell: told what is being done.

    Raises:
        RequestError: the folder is there, a part declares no graphs, or there is no part that ``precision`` names.
        MuomniError: a graph cannot be traced, or does not do what PyTorch does.
    """
    parts = those_with_graphs(model.parts, partial=partial)
    chosen = precision or Chosen()
    chosen.require([part.name for part in parts])
    with new_folder(root, replace=replace) as folder:
        described: dict[str, dict[str, Any]] = {}
        lines: list[Line] = []
        saved: dict[str, Any] = {}
        for part in parts:
            graphs = {}
            for graph in part.graphs:
                tell(f"exporting {part.name}: {graph.name}")
                line = Line(part.name, graph.name, _write(part, graph, folder, chosen.of(part.name)))
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
        seal(folder, manifest)  # as it is opened later, so that whole answers come from what is in there
        answered = answer(model, OnnxModel(open_bundle(folder), "cpu", torch.get_num_threads()), tell)
        for whole in answered.wholes:
            if all(chosen.of(part) == "fp32" for part in whole.parts):
                _require_whole(whole)
        write_reference(folder, {**saved, **answered.saved})
        seal(folder, manifest)
    return Report(lines, answered.wholes, notes)


def _write(part: Exported, graph: Graph, folder: Path, precision: Precision) -> Written:
    path = folder / _file(part, graph)
    path.parent.mkdir(exist_ok=True)
    write_graph(graph, path)
    parity = compare(graph, Session(path, torch.get_num_threads()))
    _require_parity(part, graph, parity)
    return lowered(graph, path, parity, precision)


def _rate(part: Exported) -> dict[str, int]:
    """Samples a second, of a part that takes or gives sound."""
    for holder in (getattr(part.module, "config", None), getattr(part.module, "mel", None)):
        rate = getattr(holder, "sample_rate", None)
        if isinstance(rate, int):
            return {"sample_rate": rate}
    return {}


def _file(part: Exported, graph: Graph) -> str:
    return f"{part.name}/{graph.name}.onnx"


def _description(part: Exported, graph: Graph, written: Written) -> dict[str, Any]:
    parity, whole = written.parity, written.precision == "fp32"
    first = parity.cases[0]
    halves = {name for name, array in first.made.items() if array.dtype == np.float16}  # caches, in fp16
    return {
        "file": _file(part, graph),
        "inputs": {port.name: list(port.axes) for port in graph.inputs},
        "types": {
            name: "float16" if graph.states.get(name) in halves else str(array.dtype)
            for name, array in first.feeds.items()
        },
        "outputs": list(graph.outputs),
        "states": dict(graph.states),
        "begin": dict(graph.begin),
        "precision": written.precision,
        "tolerance": graph.tolerance if whole else max(parity.error, ALIKE),
        "loose": sorted(graph.loose),
        "undecided": graph.undecided,
        "error": parity.error,
    }


def _saved(line: Line) -> dict[str, Any]:
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


def _require_whole(whole: Whole) -> None:
    """Raises MuomniError unless a whole answer is PyTorch's."""
    if not whole.holds:
        raise MuomniError(
            f"{whole.says}; nothing was written", "graphs= must do what forward does, and runs= what the module does"
        )


def _rest(model: Model, folder: Path, chosen: Chosen) -> dict[str, Any]:
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

"""Export a bundle: every graph is traced, compared with PyTorch and converted to the requested precision; the folder is
written only if all of them agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from muomni_cli.api import Graph, GraphFn, MuomniError, RequestError
from muomni_cli.core.errors import __version__
from muomni_cli.core.files import new_folder
from muomni_cli.runs.run import VOICES
from muomni_onnx.bundle import REFERENCE, open_bundle, write_manifest
from muomni_onnx.genai import why_no_text, write_text_form
from muomni_onnx.golden import absolute, case_arrays, relative
from muomni_onnx.graphs import OPSET, THINKER, Exported, Model, those_with_graphs, write_graph
from muomni_onnx.in_place import StandardCalls, StandardSteps
from muomni_onnx.in_place_graph import (
    DOMAIN,
    IN_PLACE,
    has_growing_cache,
    step_form,
    why_not_in_place,
    write_in_place_form,
    write_in_place_step,
)
from muomni_onnx.joined import FILES as WEIGHTS
from muomni_onnx.parity import EndToEndCheck, Parity, answer, compare, only_last
from muomni_onnx.precision import KeptTensor, Precision, PrecisionPlan, convert_precision
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import GraphSession

ALLOWED: dict[Precision, float] = {"fp16": 0.01, "int8": 0.15, "int4": 0.4, "web": 0.05}
"""Largest relative error of any output on random inputs, over all consecutive calls; for codes, the share that differs.
Trained models measured 0.001, 0.03 and 0.19 (codes 0, 0.05 and 0.15). It tells a broken graph from a rounded one; what
rounding costs, ``muomni eval`` measures."""

ALIKE = 1e-3
"""Least relative tolerance of a lowered graph to its own outputs at export: another CPU sums in another order, which
can round a value the other way. A graph that is further from PyTorch than that may be as far from itself."""


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """A graph as written to the bundle."""

    part: str
    graph: str
    precision: Precision
    parity: Parity  # with PyTorch: largest difference for fp32, relative for lower precision
    size: int  # bytes of the file
    kept: Sequence[KeptTensor]  # weights still in full precision, if a lower one was requested


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The exported graphs, the end-to-end checks, and notes on what was left out."""

    lines: Sequence[ExportedGraph]
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
        root: the folder to write.
        partial: leave out parts that declare no graphs.
        precision: of each part; fp32 by default.
        replace: replace an earlier export.
        notify: called with a line for each step.

    Raises:
        RequestError: the folder exists, a part declares no graphs, or ``precision`` names a part that the model lacks.
        MuomniError: a graph cannot be traced, or differs from PyTorch.
    """
    parts = those_with_graphs(model.parts, partial=partial)
    chosen = precision or PrecisionPlan()
    names = [part.name for part in parts]
    for name in chosen.parts:
        if name not in names:
            raise RequestError(f"--precision names no part: {name!r}", f"the parts are {', '.join(names)}")
    with new_folder(root, replace=replace) as folder:
        described: dict[str, dict[str, Any]] = {}
        lines: list[ExportedGraph] = []
        saved: dict[str, Any] = {}
        for name, voice in model.voices.items():
            notify(f"exporting the voice {name}")
            within = export(voice, folder / VOICES / name, precision=PrecisionPlan(chosen.rest), notify=notify)
            lines += [dataclasses.replace(line, part=f"{name}:{line.part}") for line in within.lines]
        for part in parts:
            graphs = {}
            for graph in part.graphs:
                notify(f"exporting {part.name}: {graph.name}")
                written = _write(part, graph, folder, chosen.of(part.name))
                lines.append(written)
                for number, case in enumerate(written.parity.cases):  # a lower precision is checked against itself
                    outputs = case.expected if written.precision == "fp32" else case.made
                    saved |= case_arrays(f"{part.name}/{graph.name}", number, case.feeds, outputs)
                graphs[graph.name] = _description(part, graph, written)
            described[part.name] = {**part.entry, "weights": "", **_rate(part), "graphs": graphs}
        manifest = {"name": model.name, "parts": described, **_rest(model, folder, chosen)}
        notes = []
        if model.tokenizer is not None:
            if why := why_no_text(described[THINKER]):
                notes.append(f"thinker: no files for onnxruntime-genai: {why}")
            else:
                write_text_form(folder, manifest)
        if (thinker := model.part(THINKER)) is not None:
            notify(f"exporting {THINKER}: a cache that is written in place")
            if why := _add_in_place(thinker, described[THINKER], folder):
                notes.append(f"thinker: no cache that is written in place: {why}")
        for part in model.parts:
            for graph in part.graphs:
                if part.name != THINKER and has_growing_cache(described[part.name]["graphs"][graph.name]):
                    notify(f"exporting {part.name}: {graph.name} with a cache that is written in place")
                    if why := _add_in_place_step(part, graph, described[part.name], folder):
                        notes.append(f"{part.name}: {graph.name} has no cache that is written in place: {why}")
        write_manifest(folder, manifest)  # the end-to-end checks open the bundle as a user would
        wholes, answers = answer(model, OnnxModel(open_bundle(folder), "cpu", torch.get_num_threads()), notify)
        for whole in wholes:
            if not whole.holds and all(chosen.of(part) == "fp32" for part in whole.parts):
                fix = "graphs= must do what forward does, and runner= what the module does"
                raise MuomniError(f"{whole.says}; nothing was written", fix)
        np.savez_compressed(folder / REFERENCE, allow_pickle=False, **saved, **answers)
        write_manifest(folder, manifest)
    return ExportReport(lines, wholes, notes)


def _write(part: Exported, graph: Graph, folder: Path, wanted: Precision) -> ExportedGraph:
    """Write a graph in the ``wanted`` precision, or in fp32 where that saves nothing or costs too much."""
    path = folder / part.name / f"{graph.name}.onnx"
    path.parent.mkdir(exist_ok=True)
    write_graph(graph, path)
    parity = compare(graph, GraphSession(path, torch.get_num_threads()))
    if not parity.holds:
        raise MuomniError(
            f"{part.name}: {graph.name} is {parity.error:.2g} from PyTorch ({parity.where}), and "
            f"{parity.tolerance:.2g} is allowed; nothing was written",
            "its graphs= must do what its forward does",
        )
    precision: Precision = "fp32"
    kept: Sequence[KeptTensor] = []
    lower_path = path.with_suffix(".lower")
    for halves in () if wanted == "fp32" else (False, True) if wanted == "web" else (False,):
        converted = convert_precision(path, lower_path, wanted, graph.states, halves=halves)
        kept = converted.kept
        if converted.precision == "fp32":
            break
        near = compare(graph, GraphSession(lower_path), ALLOWED["fp16" if halves else wanted], relative)
        if near.holds:
            precision, parity = wanted, near
            lower_path.replace(path)
            break
        why = f"{wanted} would be {near.error:.2g} off ({near.where}), and {near.tolerance:.2g} is allowed"
        kept = [KeptTensor(path.stat().st_size, why)]
    lower_path.unlink(missing_ok=True)
    return ExportedGraph(part.name, graph.name, precision, parity, path.stat().st_size, kept)


def _add_in_place(part: Exported, entry: dict[str, Any], folder: Path) -> str:
    """Write the form with a cache that is written in place, if there is one and it agrees with PyTorch as the standard
    graph does, and name it in the manifest's ``entry`` of the Thinker. Returns why there is none."""
    path = folder / THINKER / IN_PLACE
    if why := why_not_in_place(entry) or write_in_place_form(path.parent, int(entry["config"]["ctx_len"])):
        return why
    graph = next(graph for graph in part.graphs if graph.name == THINKER)
    weights = [f"{THINKER}/{name}" for name in WEIGHTS]
    return _checked_form(only_last(graph), StandardCalls, entry["graphs"][THINKER], path, weights)


def _add_in_place_step(part: Exported, graph: Graph, entry: dict[str, Any], folder: Path) -> str:
    """The same for a graph of another part, which takes one place at a time."""
    file = folder / part.name / f"{graph.name}.onnx"
    if why := write_in_place_step(file, int(entry["config"]["ctx_len"])):
        return why
    steps = replace(graph, cases={name: sizes for name, sizes in graph.cases.items() if sizes["time"] == 1})
    path = file.with_name(step_form(file.name))
    return _checked_form(steps, StandardSteps, entry["graphs"][graph.name], path, [f"{part.name}/{file.name}"])


def _checked_form(
    graph: Graph,
    calls: Callable[[GraphSession, Mapping[str, Any]], GraphFn],
    described: dict[str, Any],
    path: Path,
    weights: Sequence[str],
) -> str:
    """Name the form in the file ``path`` in the manifest's entry ``described`` of a graph, if it agrees with PyTorch as
    the standard graph does. Else remove it, and return why."""
    precision: Precision = described["precision"]
    allowed, distance = (graph.tolerance, absolute) if precision == "fp32" else (ALLOWED[precision], relative)
    try:
        parity = compare(graph, calls(GraphSession(path, torch.get_num_threads()), described), allowed, distance)
        why = "" if parity.holds else f"it would be {parity.error:.2g} off ({parity.where})"
    except RequestError as error:  # onnxruntime lacks the operator, or does not take these sizes
        why = str(error)
    if why:
        path.unlink()
    else:
        file = f"{path.parent.name}/{path.name}"
        described["in_place"] = {"file": file, "weights": [*weights], "domain": DOMAIN, "error": parity.error}
    return why


def _rate(part: Exported) -> dict[str, int]:
    for holder in (getattr(part.module, "config", None), getattr(part.module, "mel", None)):
        rate = getattr(holder, "sample_rate", None)
        if isinstance(rate, int):
            return {"sample_rate": rate}
    return {}


def _description(part: Exported, graph: Graph, written: ExportedGraph) -> dict[str, Any]:
    """The manifest's entry for a graph."""
    parity, first = written.parity, written.parity.cases[0]
    halves = {name for name, array in first.made.items() if array.dtype == np.float16}  # caches, in fp16
    return {
        "file": f"{part.name}/{graph.name}.onnx",
        "inputs": {graph_input.name: list(graph_input.axes) for graph_input in graph.inputs},
        "types": {
            name: "float16" if graph.states.get(name) in halves else str(array.dtype)
            for name, array in first.feeds.items()
        },
        "outputs": list(graph.outputs),
        "states": dict(graph.states),
        "initial_sizes": dict(graph.initial_sizes),
        "precision": written.precision,
        "tolerance": graph.tolerance if written.precision == "fp32" else max(parity.error, ALIKE),
        "unchecked": sorted(graph.unchecked),
        "max_mismatch_fraction": graph.max_mismatch_fraction,
        "error": parity.error,
    }


def _rest(model: Model, folder: Path, chosen: PrecisionPlan) -> dict[str, Any]:
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
        "provenance": {**model.provenance, "muomni": __version__, "torch": str(torch.__version__), "opset": OPSET},
    }

"""Making a bundle: every graph is traced, compared with PyTorch, and written only if it agrees. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli import __version__
from muomni_cli.api import Graph, MuomniError
from muomni_cli.generation.backend import Backend
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.runs.folder import open_entry
from muomni_onnx.backend import OnnxBackend
from muomni_onnx.bundle import REFERENCE, new_folder, seal
from muomni_onnx.choosing import Chosen, Precision
from muomni_onnx.lowering import Written, lowered
from muomni_onnx.parity import Parity, compare
from muomni_onnx.parts import THINKER, Exported, Model, those_with_graphs
from muomni_onnx.sessions import Session
from muomni_onnx.trace import OPSET, write_graph

GREEDY = 128
"""Tokens of the answer that is compared."""
ALIKE = 1e-3
"""How far a lowered graph may at least be from what it gave before, relative: another CPU adds in another order, which
may round a number up instead of down. If it is further from PyTorch than that, it may be as far from itself."""


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
    """What was exported. ``equal`` of ``asked`` greedy tokens were PyTorch's."""

    lines: Sequence[Line]
    equal: int
    asked: int


def export(
    model: Model,
    root: Path,
    *,
    partial: bool = False,
    precision: Chosen | None = None,
    tell: Callable[[str], None],
) -> Report:
    """Export the model to the folder ``root``, which appears only when everything in it agrees with PyTorch.

    Args:
        model: what to export.
        root: the folder to make.
        partial: leave out parts that declare no graphs.
        precision: of each part; fp32 by default.
        tell: told what is being done.

    Raises:
        RequestError: the folder is there, a part declares no graphs, or there is no part that ``precision`` names.
        MuomniError: a graph cannot be traced, or does not do what PyTorch does.
    """
    parts = those_with_graphs(model.parts, partial=partial)
    chosen = precision or Chosen()
    chosen.require([part.name for part in parts])
    with new_folder(root) as folder:
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
            described[part.name] = {**part.entry, "weights": "", "graphs": graphs}
        equal = asked = 0
        if thinker := model.part(THINKER):
            tell(f"comparing {GREEDY} greedy tokens")
            prompt, ours, theirs = _greedy(thinker, described[THINKER], folder)
            if chosen.of(THINKER) == "fp32":
                _require_equal(ours, theirs)
            equal, asked = int((ours == theirs).sum()), len(theirs)
            saved |= {"prompt": prompt, "greedy": theirs}
        np.savez(folder / REFERENCE, **saved)
        seal(folder, {"name": model.name, "parts": described, **_rest(model, folder, chosen)})
    return Report(lines, equal, asked)


def _write(part: Exported, graph: Graph, folder: Path, precision: Precision) -> Written:
    path = folder / _file(part, graph)
    path.parent.mkdir(exist_ok=True)
    write_graph(graph, path)
    parity = compare(graph, Session(path))
    _require_parity(part, graph, parity)
    return lowered(graph, path, parity, precision)


def _file(part: Exported, graph: Graph) -> str:
    return f"{part.name}/{graph.name}.onnx"


def _description(part: Exported, graph: Graph, written: Written) -> dict[str, Any]:
    parity, whole = written.parity, written.precision == "fp32"
    halves = {name for name, array in parity.made.items() if array.dtype == np.float16}  # caches, in fp16
    return {
        "file": _file(part, graph),
        "inputs": {port.name: list(port.axes) for port in graph.inputs},
        "types": {
            name: "float16" if graph.states.get(name) in halves else str(array.dtype)
            for name, array in parity.feeds.items()
        },
        "outputs": list(graph.outputs),
        "states": dict(graph.states),
        "begin": dict(graph.begin),
        "precision": written.precision,
        "tolerance": graph.tolerance if whole else max(parity.error, ALIKE),
        "error": parity.error,
    }


def _saved(line: Line) -> dict[str, Any]:
    """Inputs and outputs to check with later, under ``part/graph/in/name`` and ``part/graph/out/name``: PyTorch's
    outputs where it can be held to them, else the graph's own."""
    whole = line.written.precision == "fp32"
    sides = {"in": line.parity.feeds, "out": line.parity.expected if whole else line.parity.made}
    return {
        f"{line.part}/{line.graph}/{side}/{name}": array for side, held in sides.items() for name, array in held.items()
    }


def _greedy(
    part: Exported, entry: Mapping[str, Any], folder: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """A random prompt, what the graphs make of it, and what PyTorch does."""
    thinker: Any = part.module
    context = int(thinker.config.ctx_len)
    prompt = np.random.default_rng(0).integers(0, thinker.vocab_size, min(4, context // 2))
    count = min(GREEDY, context - len(prompt))
    graphs = entry["graphs"]
    embed, think = (Session(folder / graphs[name]["file"]) for name in ("embed", "thinker"))
    ours: Backend[Any] = OnnxBackend(embed, think, graphs["thinker"], context)
    registered, _ = open_entry(part.entry)
    theirs: Backend[Any] = TorchBackend(thinker, registered.part.can)
    return prompt, greedy(ours, prompt, count), greedy(theirs, prompt, count)


def greedy(backend: Backend[Any], prompt: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The likeliest token, ``count`` times."""
    state, logits = backend.begin([prompt.tolist()], len(prompt) + count)
    tokens = [int(logits[0].argmax())]
    while len(tokens) < count:
        tokens.append(int(backend.step(state, np.array(tokens[-1:], np.int64))[0].argmax()))
    return np.array(tokens, np.int64)


def _require_parity(part: Exported, graph: Graph, parity: Parity) -> None:
    """Raises MuomniError unless the graph agrees."""
    if not parity.holds:
        raise MuomniError(
            f"{part.name}: {graph.name} is {parity.error:.2g} from PyTorch ({parity.where}), and "
            f"{parity.tolerance:.2g} is allowed; nothing was written",
            "its graphs= must do what its forward does",
        )


def _require_equal(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> None:
    """Raises MuomniError unless the tokens agree."""
    if not np.array_equal(ours, theirs):
        raise MuomniError(
            f"{int((ours == theirs).sum())} of {len(theirs)} greedy tokens are PyTorch's; nothing was written",
            "its graphs= must do what its forward does",
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

"""Whether a bundle is whole and still gives what it gave when it was exported. No PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import MuomniError
from muomni_cli.packed import Sounds
from muomni_onnx import replay
from muomni_onnx.bundle import Bundle, open_bundle
from muomni_onnx.reference import Reference, distance, few
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import Session, fetch

FURTHER = 0.05
"""By which share samples may be further from the mel that they were made of, where they cannot be compared."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One graph or one kind of whole answer: largest absolute difference from what was saved, what is allowed, and the
    graph's size in bytes."""

    part: str
    graph: str
    error: float
    tolerance: float
    size: int = 0


def check(root: Path, threads: int | None = None) -> list[Checked]:
    """Compare every file with its digest, every graph with the saved outputs of PyTorch, and let it answer again.

    Raises:
        RequestError: it is no whole bundle, or of a newer format.
        MuomniError: a graph, or an answer, is another on this machine.
    """
    bundle = open_bundle(root)
    bundle.verify()
    saved = Reference(root)
    checked = [
        _graph(bundle, part, graph, saved, threads) for part, entry in bundle.parts.items() for graph in entry["graphs"]
    ]
    for one in checked:
        _require(one)
    for one in _answers(OnnxModel(bundle, "cpu", threads), saved):
        _require(one)
        checked.append(one)
    return checked


def _require(one: Checked) -> None:
    if not one.error <= one.tolerance:
        raise MuomniError(
            f"{one.part}: {one.graph} is {one.error:.2g} from PyTorch here, and {one.tolerance:.2g} is allowed",
            "try another version of onnxruntime",
        )


def _graph(bundle: Bundle, part: str, graph: str, saved: Reference, threads: int | None) -> Checked:
    path, entry = bundle.file(part, graph), bundle.graph(part, graph)
    session = Session(path, threads)
    loose = entry.get("loose", [])
    errors = [
        _apart(expected[f"out/{name}"], expected[f"shape/{name}"], fetch(made[name]), entry.get("undecided", 0.0))
        for feeds, expected in saved.cases(f"{part}/{graph}")
        for made in [session(feeds)]
        for name in entry["outputs"]
        if name not in loose
    ]
    return Checked(part, graph, max(errors, default=float("inf")), entry["tolerance"], path.stat().st_size)


def _apart(expected: NDArray[Any], shape: NDArray[Any], made: NDArray[Any], undecided: float = 0.0) -> float:
    """How far what was ``made`` is from a few expected values, and their whole shape."""
    return distance(expected, few(made), undecided) if list(made.shape) == shape.tolist() else float("inf")


def _answers(packed: OnnxModel, saved: Reference) -> Iterator[Checked]:
    """Whole answers; of choices the error is how many differ."""
    prompt, tokens = saved.get("text/prompt"), saved.get("text/tokens")
    if prompt is not None and tokens is not None:
        yield Checked("thinker", "greedy tokens", _other(replay.told_text(packed.backend(), prompt).values, tokens), 0)
    sentences = saved.listed("codes")
    if sentences:
        width = int(packed.parts["talker"].get("thinker_width", 0))
        told = replay.told_codes(packed.runner("talker"), width)
        codes = np.concatenate([one.values for one in told]) if told else np.zeros((0, 1))
        yield Checked("talker", "greedy code frames", _other(codes, np.concatenate(sentences)), 0)
    codes_of, mel, samples = (saved.get(f"sound/{name}") for name in ("codes", "mel", "samples"))
    if codes_of is not None and mel is not None and samples is not None:
        yield _sound(packed, codes_of.astype(np.int64), mel, samples)


def _sound(packed: OnnxModel, codes: NDArray[Any], mel: NDArray[Any], samples: NDArray[Any]) -> Checked:
    made = replay.sounded(Sounds(packed), codes)
    entry = packed.parts["vocoder"]
    if not replay.is_loose(entry):
        allowed = max(graph["tolerance"] for graph in entry["graphs"].values())
        return Checked("vocoder", "samples", _apart(few(samples), np.array(samples.shape), made), allowed)
    settings = packed.runner("codec").mel
    ours, theirs = (replay.heard_apart(one, mel, settings) for one in (made, samples))
    return Checked("vocoder", "what the samples sound like", max(0.0, ours / max(theirs, 1e-9) - 1), FURTHER)


def _other(ours: NDArray[Any], saved: NDArray[Any]) -> float:
    """How many rows differ."""
    if ours.shape != saved.shape:
        return float(max(len(ours), len(saved)))
    return float((ours != saved).reshape(len(saved), -1).any(1).sum())

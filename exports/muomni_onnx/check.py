"""Whether a bundle is complete and still computes what it computed when it was exported, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import MuomniError, RequestError
from muomni_cli.models.locate import makes_samples
from muomni_cli.voice.synthesis import codes_to_audio
from muomni_onnx import golden
from muomni_onnx.bundle import BundleManifest, open_bundle
from muomni_onnx.golden import Reference, absolute, few, forgiving, of_its_size, relative
from muomni_onnx.in_place import StandardCalls, StandardSteps
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import GraphSession, fetch

THINKER = "thinker"
SAMPLES = 1e-3  # allowed difference of samples of a codec of waveforms, full scale 1
FURTHER = 0.05  # allowed relative increase of the samples' distance from their mel, where samples cannot be compared


@dataclass(frozen=True, slots=True)
class Checked:
    """One graph or one end-to-end output: its distance from PyTorch's output (fp32: largest difference) or from its own
    at export (lower precision: relative), the tolerance, and the size in bytes."""

    part: str
    graph: str
    precision: str
    error: float
    tolerance: float
    size: int = 0


def check(root: Path, threads: int | None = None) -> list[Checked]:
    """Compare every file with its digest, and every graph and end-to-end output with the saved one.

    Raises:
        RequestError: the bundle is incomplete, changed, or of a newer format.
        MuomniError: a graph or an end-to-end output differs on this machine.
    """
    bundle = open_bundle(root)
    bundle.verify()
    saved = Reference(root)
    checked = []
    graphs = (
        _graph(bundle, part, graph, saved, threads) for part, entry in bundle.parts.items() for graph in entry["graphs"]
    )
    for one in chain(graphs, _in_place(bundle, saved, threads), _answers(OnnxModel(bundle, "cpu", threads), saved)):
        if not one.error <= one.tolerance:
            raise MuomniError(
                f"{one.part}: {one.graph} is {one.error:.2g} from what it gave when it was exported, and "
                f"{one.tolerance:.2g} is allowed",
                "try another version of onnxruntime",
            )
        checked.append(one)
    return checked


def _graph(bundle: BundleManifest, part: str, graph: str, saved: Reference, threads: int | None) -> Checked:
    path, entry = bundle.file(part, graph), bundle.graph(part, graph)
    session = GraphSession(path, threads)
    precision, unchecked = entry.get("precision", "fp32"), entry.get("unchecked", [])
    usual, of_states = (absolute, of_its_size) if precision == "fp32" else (relative, relative)
    distances = dict.fromkeys(entry["outputs"], usual) | dict.fromkeys(entry["states"].values(), of_states)
    mismatch = entry.get("max_mismatch_fraction", 0.0)
    errors = []
    for feeds, expected in saved.cases(f"{part}/{graph}"):
        made = session(feeds)
        for name in distances.keys() - unchecked:
            output, distance = fetch(made[name]), forgiving(distances[name], mismatch)
            same_shape = list(output.shape) == expected[f"shape/{name}"].tolist()
            errors.append(distance(expected[f"out/{name}"], few(output)) if same_shape else float("inf"))
    error = max(errors, default=float("inf"))
    return Checked(part, graph, precision, error, entry["tolerance"], path.stat().st_size)


def _in_place(bundle: BundleManifest, saved: Reference, threads: int | None) -> Iterator[Checked]:
    """The graphs with a cache that is written in place, where the bundle has them and this onnxruntime opens them: the
    outputs that are also the standard graph's, which are all of a step, and the caches. In lower precision the two
    forms may round apart."""
    for part, described in bundle.parts.items():
        for graph, entry in described["graphs"].items():
            form = entry.get("in_place")
            if form is None:
                continue
            path = bundle.trusted(form["file"])
            try:
                session = GraphSession(path, threads)
            except RequestError:  # the standard graph is used
                continue
            calls = (StandardCalls if graph == THINKER else StandardSteps)(session, entry)
            precision = entry.get("precision", "fp32")
            usual, of_states = (absolute, of_its_size) if precision == "fp32" else (relative, relative)
            distances = dict.fromkeys(entry["outputs"], usual) | dict.fromkeys(entry["states"].values(), of_states)
            errors = []
            for feeds, expected in saved.cases(f"{part}/{graph}"):
                if graph != THINKER and any(
                    feeds[name].shape[axes.index("time")] > 1
                    for name, axes in entry["inputs"].items()
                    if "time" in axes
                ):
                    continue  # it takes one place at a time
                for name, output in calls(feeds).items():
                    if list(output.shape) == expected[f"shape/{name}"].tolist():
                        errors.append(distances[name](expected[f"out/{name}"], few(output)))
            apart = entry["tolerance"] if precision == "fp32" else entry["tolerance"] + form["error"]
            error, name = max(errors, default=float("inf")), "cache in place"
            yield Checked(part, name, precision, error, apart, path.stat().st_size)


def _rounded(bundle: OnnxModel, part: str) -> bool:
    """Whether a part has graphs in lower precision: rounding, which differs between CPUs, may then change a token or
    code, so the number of changes is reported without a limit."""
    return any(graph.get("precision", "fp32") != "fp32" for graph in bundle.parts[part]["graphs"].values())


def _answers(bundle: OnnxModel, saved: Reference) -> Iterator[Checked]:
    """End-to-end outputs; for tokens and codes the error is how many differ."""
    prompt, tokens = saved.get("text/prompt"), saved.get("text/tokens")
    if prompt is not None and tokens is not None:
        made = golden.golden_text(bundle.backend(), prompt).values
        yield _choices(bundle, "thinker", "greedy tokens", made, tokens)
    sentences: list[NDArray[Any]] = []
    while (frames := saved.get(f"codes/{len(sentences)}")) is not None:
        sentences.append(frames)
    if sentences:
        width = int(bundle.parts["talker"].get("thinker_width", 0))
        spoken = [one.values for one in golden.golden_codes(bundle.talker(), width)] or [np.zeros((0, 1), np.int64)]
        yield _choices(bundle, "talker", "greedy code frames", np.concatenate(spoken), np.concatenate(sentences))
    codes, mel, samples = (saved.get(f"sound/{name}") for name in ("codes", "mel", "samples"))
    if codes is not None and samples is not None and makes_samples(bundle.parts["codec"]):
        sound = golden.sounded(codes_to_audio(bundle), codes.astype(np.int64))
        rounded = _rounded(bundle, "codec")
        precision, allowed = ("rounded", float("inf")) if rounded else ("fp32", SAMPLES)
        yield Checked("codec", "samples", precision, absolute(samples, sound), allowed)
    elif codes is not None and mel is not None and samples is not None:
        yield _sound(bundle, codes.astype(np.int64), mel, samples)


def _choices(bundle: OnnxModel, part: str, name: str, made: NDArray[Any], saved: NDArray[Any]) -> Checked:
    precision, allowed = ("rounded", float("inf")) if _rounded(bundle, part) else ("fp32", 0.0)
    if made.shape != saved.shape:
        return Checked(part, name, precision, float(max(len(made), len(saved))), allowed)
    return Checked(part, name, precision, float((made != saved).reshape(len(saved), -1).any(1).sum()), allowed)


def _sound(bundle: OnnxModel, codes: NDArray[Any], mel: NDArray[Any], samples: NDArray[Any]) -> Checked:
    made = golden.sounded(codes_to_audio(bundle), codes)
    entry = bundle.parts["vocoder"]
    rounded = _rounded(bundle, "vocoder") or _rounded(bundle, "codec")
    if not rounded and not golden.is_unchecked(entry):
        return Checked("vocoder", "samples", "fp32", absolute(samples, made), golden.largest_tolerance(entry))
    further = golden.heard_further(made, samples, mel, bundle.codec().mel)
    return Checked("vocoder", "what the samples sound like", "rounded" if rounded else "fp32", further, FURTHER)

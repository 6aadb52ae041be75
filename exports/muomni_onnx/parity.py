"""Parity of exported graphs with PyTorch: each graph on random inputs of several sizes and over consecutive calls, then
end-to-end outputs of the bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.api import Codec, Graph, Vocoder
from muomni_cli.audio.mel import decode_codes
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.models.torch_engine import TorchCodec, TorchVocoder
from muomni_cli.runs.run import open_entry
from muomni_cli.voice.synthesis import CodesToAudio, codes_to_audio
from muomni_onnx import golden
from muomni_onnx.golden import Distance, absolute, forgiving, of_its_size
from muomni_onnx.graphs import THINKER, Exported, Model
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import Arrays, GraphSession, fetch

SEED = 20
TIMED = 5  # runs of each side; the fastest counts
MEL = 1e-3  # allowed difference of a log-mel of the same codes, in nats
SAMPLES = 1e-3  # allowed difference of samples, full scale 1
FURTHER = 0.02  # allowed relative increase of the samples' distance from their mel, where samples cannot be compared
SAVED = 12  # code frames whose samples are saved to check with later


@dataclass(frozen=True, slots=True)
class ParityCase:
    """Inputs, PyTorch's outputs for them, and the graph's (empty where it does not run)."""

    name: str
    feeds: Arrays
    expected: Arrays
    made: Arrays


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph is from PyTorch.

    Args:
        error: largest distance of any output in any case; infinite where shapes differ or one is NaN.
        where: the case and the output with that error.
        tolerance: allowed error.
        cases: in order.
        speed: PyTorch's time over the graph's, on the first case.
    """

    error: float
    where: str
    tolerance: float
    cases: Sequence[ParityCase]
    speed: float

    @property
    def holds(self) -> bool:
        return self.error <= self.tolerance


@torch.inference_mode()
def expect(graph: Graph, feeds: Arrays) -> dict[str, NDArray[Any]]:
    """PyTorch's outputs, from the graph's reference where it has one."""
    tensors = [torch.from_numpy(feeds[graph_input.name]) for graph_input in graph.inputs]
    outputs = (graph.reference or graph.module)(*tensors)
    return {name: output.numpy().copy() for name, output in zip(graph.outputs, outputs, strict=True)}


def compare(
    graph: Graph, session: GraphSession, tolerance: float | None = None, distance: Distance = absolute
) -> Parity:
    """Run ``session`` beside PyTorch over the cases of ``graph``, then over consecutive calls.

    Args:
        graph: what was exported.
        session: runs it.
        tolerance: allowed error; by default what ``graph`` declares.
        distance: of two arrays; with :func:`absolute`, states are measured by :func:`of_its_size`.
    """
    distances = _distances(graph, distance)
    random = np.random.default_rng(SEED)
    found = [(0.0, "everywhere")]
    cases: list[ParityCase] = []
    for name, sizes in graph.cases.items():
        feeds = {p.name: coarse(a) for p, a in zip(graph.inputs, graph.sample_inputs(sizes, random), strict=True)}
        expected = expect(graph, feeds)
        error, where, made = _apart(session, name, feeds, expected, distances)
        cases.append(ParityCase(name, feeds, expected, made))
        found.append((error, where))
    found.append(_in_a_row(graph, session, random, distances))
    error, where = max(found, key=lambda one: one[0])
    allowed = graph.tolerance if tolerance is None else tolerance
    return Parity(error, where, allowed, cases, _speed(graph, session, cases[0].feeds))


def coarse(drawn: NDArray[Any]) -> NDArray[Any]:
    """Random fp32 numbers rounded to bfloat16: as good to compare with, and smaller in a compressed file."""
    if drawn.dtype != np.float32:
        return drawn
    return (np.ascontiguousarray(drawn).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _distances(graph: Graph, distance: Distance) -> dict[str, Distance]:
    states = of_its_size if distance is absolute else distance
    return {
        name: forgiving(states if name in graph.states.values() else distance, graph.max_mismatch_fraction)
        for name in graph.outputs
        if name not in graph.unchecked
    }


def difference(expected: Arrays, made: Arrays, distances: Mapping[str, Distance]) -> tuple[float, str]:
    """The largest distance of any output, and that output's name."""
    errors = {name: distance(expected[name], fetch(made[name])) for name, distance in distances.items()}
    name = max(errors, key=lambda name: errors[name])
    return errors[name], name


def _apart(
    session: GraphSession, case: str, feeds: Arrays, expected: Arrays, distances: Mapping[str, Distance]
) -> tuple[float, str, Arrays]:
    """The graph's error in one case, its place, and its outputs; infinite where it does not run."""
    try:
        made = session(feeds)
    except Exception as failure:  # onnxruntime's errors have no common base
        return float("inf"), f"{case}: {str(failure).partition(chr(10))[0][:200]}", {}
    error, output = difference(expected, made, distances)
    return error, f"{case}: {output}", made


def _in_a_row(
    graph: Graph, session: GraphSession, random: np.random.Generator, distances: Mapping[str, Distance]
) -> tuple[float, str]:
    """Consecutive calls that carry states: the graph its own, PyTorch its own, or both PyTorch's if some are
    unchecked."""
    worst, where = 0.0, ""
    ours, theirs = _zeros(graph), _zeros(graph)
    for call in range(graph.calls):
        fresh = {
            free.name: free.sampler(random, free.shape(graph.initial_sizes))
            for free in graph.inputs
            if free.name not in graph.states
        }
        expected = expect(graph, {**fresh, **theirs})
        error, output, made = _apart(session, f"call {call + 1}", {**fresh, **ours}, expected, distances)
        if error > worst:
            worst, where = error, output
        if not made:
            break
        theirs = {past: expected[now] for past, now in graph.states.items()}
        ours = theirs if graph.unchecked else {past: made[now] for past, now in graph.states.items()}
    return worst, where


def _zeros(graph: Graph) -> Mapping[str, NDArray[Any]]:
    random = np.random.default_rng(0)
    return {
        graph_input.name: np.zeros_like(graph_input.sampler(random, graph_input.shape(graph.initial_sizes)))
        for graph_input in graph.inputs
        if graph_input.name in graph.states
    }


def _speed(graph: Graph, session: GraphSession, feeds: Arrays) -> float:
    """PyTorch's time over the graph's, measured in turns; 0 where it does not run."""
    try:
        session(feeds)
    except Exception:  # already reported
        return 0.0
    rounds = [(_seconds(lambda: expect(graph, feeds)), _seconds(lambda: session(feeds))) for _ in range(TIMED)]
    theirs, ours = map(min, zip(*rounds, strict=True))
    return float(theirs / ours)


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


@dataclass(frozen=True, slots=True)
class EndToEndCheck:
    """One end-to-end output: ``equal`` of ``asked`` choices, or its error and the allowed one; and its parts."""

    name: str
    parts: tuple[str, ...]
    equal: int = 0
    asked: int = 0
    error: float = 0.0
    allowed: float = 0.0

    @property
    def holds(self) -> bool:
        return self.equal == self.asked and self.error <= self.allowed

    @property
    def says(self) -> str:
        if self.asked:
            return f"{self.equal} of {self.asked} {self.name} are those of PyTorch"
        return f"{self.name}: {self.error:.1e} from PyTorch, {self.allowed:.0e} allowed"


@dataclass(frozen=True, slots=True)
class GoldenAnswers:
    """End-to-end checks, and the arrays to check with later."""

    wholes: list[EndToEndCheck]
    saved: dict[str, NDArray[Any]]


def answer(model: Model, bundle: OnnxModel, notify: Callable[[str], None]) -> GoldenAnswers:
    """Compare the end-to-end outputs of a bundle with those of its model in PyTorch.

    Args:
        model: in PyTorch.
        bundle: its export.
        notify: called with a line for each step.
    """
    wholes: list[EndToEndCheck] = []
    saved: dict[str, NDArray[Any]] = {}
    thinker, talker, codec, vocoder = (
        _runnable(model, bundle, name) for name in (THINKER, "talker", "codec", "vocoder")
    )
    if thinker is not None:
        notify(f"comparing {golden.TOKENS} greedy tokens")
        wholes.append(_text(thinker, bundle, saved))
    codes = np.zeros((0, 1), np.int64)
    if talker is not None:
        notify(f"comparing {golden.FRAMES} greedy code frames")
        codes = _codes(talker, bundle, wholes, saved)
    if codec is not None and vocoder is not None:
        notify("comparing what they sound like")
        module = cast("Codec", codec.module)
        if not len(codes):
            codes = np.random.default_rng(0).integers(0, module.codebook_size, (golden.FRAMES, module.codebooks))
        wholes += _sounds(module, cast("Vocoder", vocoder.module), bundle, codes, saved)
    return GoldenAnswers(wholes, saved)


def _runnable(model: Model, bundle: OnnxModel, name: str) -> Exported | None:
    """The part, if it is in the bundle and declares a runner (the host runs the Thinker)."""
    part = model.part(name) if name in bundle.parts else None
    if part is None or (name != THINKER and open_entry(part.entry)[0].part.runner is None):
        return None
    return part


def _text(part: Exported, bundle: OnnxModel, saved: dict[str, NDArray[Any]]) -> EndToEndCheck:
    thinker: Any = part.module
    registered, _ = open_entry(part.entry)
    prompt = golden.prompt_for(thinker.vocab_size, int(thinker.config.ctx_len))
    ours = golden.golden_text(bundle.backend(), prompt)
    theirs = golden.golden_text(TorchBackend(thinker, registered.part.capabilities), prompt)
    saved |= {"text/prompt": prompt, "text/tokens": ours.values}
    equal, asked = golden.agreeing([ours], [theirs], _allowed(bundle.parts[THINKER]))
    return EndToEndCheck("greedy tokens", (THINKER,), equal, asked)


def _codes(
    part: Exported, bundle: OnnxModel, wholes: list[EndToEndCheck], saved: dict[str, NDArray[Any]]
) -> NDArray[np.int64]:
    talker: Any = part.module
    width = int(part.entry.get("thinker_width", 0))
    ours = golden.golden_codes(bundle.talker(), width)
    with torch.inference_mode():
        theirs = golden.golden_codes(talker, width)
    equal, asked = golden.agreeing(ours, theirs, _allowed(bundle.parts["talker"]))
    wholes.append(EndToEndCheck("greedy code frames", ("talker",), equal, asked))
    saved |= {f"codes/{number}": one.values.astype(np.int32) for number, one in enumerate(ours)}
    return np.concatenate([one.values for one in theirs]) if theirs else np.zeros((0, 1), np.int64)


def _sounds(
    codec: Codec, vocoder: Vocoder, bundle: OnnxModel, codes: NDArray[np.int64], saved: dict[str, NDArray[Any]]
) -> list[EndToEndCheck]:
    cpu = torch.device("cpu")
    stream = CodesToAudio(TorchCodec(codec, cpu).stream(), TorchVocoder(vocoder, cpu).stream())
    mel = decode_codes(codec, codes)
    made = golden.sounded(bundle.codec().stream(), codes)
    ours, theirs = golden.sounded(codes_to_audio(bundle), codes), golden.sounded(stream, codes)
    few = codes[:SAVED]
    saved |= {"sound/codes": few.astype(np.int32), "sound/samples": golden.sounded(codes_to_audio(bundle), few)}
    saved["sound/mel"] = golden.sounded(bundle.codec().stream(), few)
    first = EndToEndCheck("log-mel of code frames", ("codec",), error=absolute(made, mel), allowed=MEL)
    if not golden.is_unchecked(bundle.parts["vocoder"]):
        return [first, EndToEndCheck("samples", ("codec", "vocoder"), error=absolute(ours, theirs), allowed=SAMPLES)]
    heard = [golden.heard_apart(samples, mel, codec.mel) for samples in (ours, theirs)]
    further = max(0.0, heard[0] / max(heard[1], 1e-9) - 1)
    return [first, EndToEndCheck("what the samples sound like", ("codec", "vocoder"), error=further, allowed=FURTHER)]


def _allowed(entry: Mapping[str, Any]) -> float:
    """The largest tolerance of a part's graphs."""
    return max(float(graph["tolerance"]) for graph in entry["graphs"].values())

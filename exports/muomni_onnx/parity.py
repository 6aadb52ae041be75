"""Parity of exported graphs with PyTorch: each graph on random inputs of several sizes and over consecutive calls, then
end-to-end outputs of the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from timeit import timeit
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.api import Codec, Graph, Vocoder
from muomni_cli.audio.mel import codes_to_samples, decode_codes
from muomni_cli.contract.codecs import WaveCodec
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.models.locate import makes_samples
from muomni_cli.models.torch_engine import TorchCodec, TorchVocoder
from muomni_cli.registry.entries import open_entry
from muomni_cli.voice.synthesis import Chain, codes_to_audio
from muomni_onnx import golden
from muomni_onnx.golden import Distance, absolute, forgiving, of_its_size
from muomni_onnx.graphs import THINKER, Exported, Model
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import Arrays, fetch

SEED = 20
TIMED = 5  # runs of each side; the fastest counts
MEL = 1e-3  # allowed difference of a log-mel of the same codes, in nats
SAMPLES = 1e-3  # allowed difference of samples, full scale 1
FURTHER = 0.02  # allowed relative increase of the samples' distance from their mel, where samples cannot be compared
SAVED = 12  # code frames whose samples are saved to check with later


Calls = Callable[[Arrays], Mapping[str, Any]]
"""A graph as a function of arrays, such as a :class:`muomni_onnx.sessions.GraphSession`."""


@dataclass(frozen=True, slots=True)
class ParityCase:
    """Inputs, PyTorch's outputs for them, and the graph's (empty where it does not run)."""

    feeds: Arrays
    expected: Arrays
    made: Arrays


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph is from PyTorch."""

    error: float  # largest distance of any output in any case; infinite where shapes differ or one is NaN
    where: str  # the case and the output with that error
    tolerance: float  # allowed error
    cases: Sequence[ParityCase]
    speed: float  # PyTorch's time over the graph's, on the first case

    @property
    def holds(self) -> bool:
        return self.error <= self.tolerance


@torch.inference_mode()
def expect(graph: Graph, feeds: Arrays) -> dict[str, NDArray[Any]]:
    """PyTorch's outputs, from the graph's reference where it has one."""
    tensors = [torch.from_numpy(feeds[graph_input.name]) for graph_input in graph.inputs]
    outputs = (graph.reference or graph.module)(*tensors)
    return {name: output.numpy().copy() for name, output in zip(graph.outputs, outputs, strict=True)}


def only_last(graph: Graph) -> Graph:
    """A Thinker's graph with the logits and hidden states of the last token alone."""
    outputs = [name in ("logits", "hidden") for name in graph.outputs]

    def reference(*inputs: torch.Tensor) -> list[torch.Tensor]:
        made = (graph.reference or graph.module)(*inputs)
        return [one[:, -1:] if last else one for one, last in zip(made, outputs, strict=True)]

    return replace(graph, reference=reference)


def compare(graph: Graph, session: Calls, tolerance: float | None = None, distance: Distance = absolute) -> Parity:
    """Run ``session`` beside PyTorch over the cases of ``graph``, then over consecutive calls.

    Args:
        graph: what was exported.
        session: runs it.
        tolerance: allowed error; by default what ``graph`` declares.
        distance: of two arrays; with :func:`absolute`, states are measured by :func:`of_its_size`.
    """
    of_states = of_its_size if distance is absolute else distance
    distances = {
        name: forgiving(of_states if name in graph.states.values() else distance, graph.max_mismatch_fraction)
        for name in graph.outputs
        if name not in graph.unchecked
    }
    random = np.random.default_rng(SEED)
    found = [(0.0, "everywhere")]
    cases: list[ParityCase] = []
    for name, sizes in graph.cases.items():
        feeds = {p.name: coarse(a) for p, a in zip(graph.inputs, graph.sample_inputs(sizes, random), strict=True)}
        expected = expect(graph, feeds)
        error, where, made = _apart(session, name, feeds, expected, distances)
        cases.append(ParityCase(feeds, expected, made))
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


def _apart(
    session: Calls, case: str, feeds: Arrays, expected: Arrays, distances: Mapping[str, Distance]
) -> tuple[float, str, Arrays]:
    """The largest error of any output in one case, its place, and all outputs; infinite where the graph fails."""
    try:
        made = session(feeds)
    except Exception as failure:  # onnxruntime's errors have no common base
        return float("inf"), f"{case}: {str(failure).partition(chr(10))[0][:200]}", {}
    errors = {name: distance(expected[name], fetch(made[name])) for name, distance in distances.items()}
    worst = max(errors, key=lambda name: errors[name])
    return errors[worst], f"{case}: {worst}", made


def _in_a_row(
    graph: Graph, session: Calls, random: np.random.Generator, distances: Mapping[str, Distance]
) -> tuple[float, str]:
    """Consecutive calls that carry states: the graph its own, PyTorch its own, or both PyTorch's if some are
    unchecked."""
    worst, where, unused = 0.0, "", np.random.default_rng(0)
    free = [graph_input for graph_input in graph.inputs if graph_input.name not in graph.states]
    ours: Arrays = {
        graph_input.name: np.zeros_like(graph_input.sampler(unused, graph_input.shape(graph.initial_sizes)))
        for graph_input in graph.inputs
        if graph_input.name in graph.states
    }
    theirs = ours
    for call in range(graph.calls):
        fresh = {one.name: one.sampler(random, one.shape(graph.initial_sizes)) for one in free}
        expected = expect(graph, {**fresh, **theirs})
        error, output, made = _apart(session, f"call {call + 1}", {**fresh, **ours}, expected, distances)
        if error > worst:
            worst, where = error, output
        if not made:
            break
        theirs = {past: expected[now] for past, now in graph.states.items()}
        ours = theirs if graph.unchecked else {past: made[now] for past, now in graph.states.items()}
    return worst, where


def _speed(graph: Graph, session: Calls, feeds: Arrays) -> float:
    """PyTorch's time over the graph's, measured in turns; 0 where it does not run."""
    try:
        session(feeds)
    except Exception:  # already reported
        return 0.0
    torch_seconds, graph_seconds = [], []
    for _ in range(TIMED):
        torch_seconds.append(timeit(lambda: expect(graph, feeds), number=1))
        graph_seconds.append(timeit(lambda: session(feeds), number=1))
    return min(torch_seconds) / min(graph_seconds)


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


def answer(
    model: Model, bundle: OnnxModel, notify: Callable[[str], None]
) -> tuple[list[EndToEndCheck], dict[str, NDArray[Any]]]:
    """Compare the end-to-end outputs of a bundle with those of its model in PyTorch. ``notify`` gets a line for each
    step. Returns the checks, and the arrays to check with later."""
    wholes: list[EndToEndCheck] = []
    saved: dict[str, NDArray[Any]] = {}
    runnable: dict[str, Exported] = {}
    for name in (THINKER, "talker", "codec", "vocoder"):
        part = model.part(name) if name in bundle.parts else None
        # the host runs the Thinker; other parts need a runner of their own
        if part is not None and (name == THINKER or open_entry(part.entry)[0].part.runner is not None):
            runnable[name] = part
    if THINKER in runnable:
        notify(f"comparing {golden.TOKENS} greedy tokens")
        wholes.append(_text(runnable[THINKER], bundle, saved))
    codes = np.zeros((0, 1), np.int64)
    if "talker" in runnable:
        notify(f"comparing {golden.FRAMES} greedy code frames")
        codes = _codes(runnable["talker"], bundle, wholes, saved)
    alone = "codec" in runnable and makes_samples(runnable["codec"].entry)
    if "codec" in runnable and ("vocoder" in runnable or alone):
        notify("comparing what they sound like")
        codec = cast("Codec", runnable["codec"].module)
        if not len(codes):
            codes = np.random.default_rng(0).integers(0, codec.codebook_size, (golden.FRAMES, codec.codebooks))
        if alone:
            wholes.append(_samples(cast("WaveCodec", codec), bundle, codes, saved))
        else:
            wholes += _sounds(codec, cast("Vocoder", runnable["vocoder"].module), bundle, codes, saved)
    return wholes, saved


def _text(part: Exported, bundle: OnnxModel, saved: dict[str, NDArray[Any]]) -> EndToEndCheck:
    thinker: Any = part.module
    registered, _ = open_entry(part.entry)
    prompt = np.random.default_rng(0).integers(0, thinker.vocab_size, min(4, int(thinker.config.ctx_len) // 2))
    ours = golden.golden_text(bundle.backend(), prompt)
    theirs = golden.golden_text(TorchBackend(thinker, registered.part.capabilities), prompt)
    saved |= {"text/prompt": prompt, "text/tokens": ours.values}
    equal, asked = golden.agreeing([ours], [theirs], golden.largest_tolerance(bundle.parts[THINKER]))
    return EndToEndCheck("greedy tokens", (THINKER,), equal, asked)


def _codes(
    part: Exported, bundle: OnnxModel, wholes: list[EndToEndCheck], saved: dict[str, NDArray[Any]]
) -> NDArray[np.int64]:
    talker: Any = part.module
    width = int(part.entry.get("thinker_width", 0))
    ours = golden.golden_codes(bundle.talker(), width)
    with torch.inference_mode():
        theirs = golden.golden_codes(talker, width)
    equal, asked = golden.agreeing(ours, theirs, golden.largest_tolerance(bundle.parts["talker"]))
    wholes.append(EndToEndCheck("greedy code frames", ("talker",), equal, asked))
    saved |= {f"codes/{number}": one.values.astype(np.int32) for number, one in enumerate(ours)}
    return np.concatenate([one.values for one in theirs]) if theirs else np.zeros((0, 1), np.int64)


def _samples(
    codec: WaveCodec, bundle: OnnxModel, codes: NDArray[np.int64], saved: dict[str, NDArray[Any]]
) -> EndToEndCheck:
    """What a codec of waveforms makes of codes, as a stream."""
    few, stream = codes[:SAVED], codes_to_audio(bundle)
    saved |= {"sound/codes": few.astype(np.int32), "sound/samples": golden.sounded(stream, few)}
    wanted = codes_to_samples(codec, None, codes, torch.device("cpu"))
    error = absolute(golden.sounded(stream, codes), wanted)
    return EndToEndCheck("samples", ("codec",), error=error, allowed=SAMPLES)


def _sounds(
    codec: Codec, vocoder: Vocoder, bundle: OnnxModel, codes: NDArray[np.int64], saved: dict[str, NDArray[Any]]
) -> list[EndToEndCheck]:
    cpu = torch.device("cpu")
    stream = Chain(TorchCodec(codec, cpu).stream(), TorchVocoder(vocoder, cpu).stream())
    mel = decode_codes(codec, codes)
    made = golden.sounded(bundle.codec().stream(), codes)
    ours, theirs = golden.sounded(codes_to_audio(bundle), codes), golden.sounded(stream, codes)
    few = codes[:SAVED]
    saved |= {"sound/codes": few.astype(np.int32), "sound/samples": golden.sounded(codes_to_audio(bundle), few)}
    saved["sound/mel"] = golden.sounded(bundle.codec().stream(), few)
    first = EndToEndCheck("log-mel of code frames", ("codec",), error=absolute(made, mel), allowed=MEL)
    if not golden.is_unchecked(bundle.parts["vocoder"]):
        return [first, EndToEndCheck("samples", ("codec", "vocoder"), error=absolute(ours, theirs), allowed=SAMPLES)]
    further = golden.heard_further(ours, theirs, mel, codec.mel)
    return [first, EndToEndCheck("what the samples sound like", ("codec", "vocoder"), error=further, allowed=FURTHER)]

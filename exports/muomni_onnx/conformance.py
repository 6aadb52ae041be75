"""Conformance checks of parts that declare graphs; ``muomni plugins check`` runs them beside the host's own. Imports
torch and onnxruntime only when a check runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from muomni_cli.api import GraphFn
from muomni_cli.contract.checks import Check, CheckSkipped, Number, check_that

if TYPE_CHECKING:
    from muomni_cli.api import Graph
    from muomni_cli.contract.checks import PartUnderTest

WANTED = ("onnx", "onnxscript", "onnxruntime")  # packages needed to export and run graphs
EXPECTED = {"thinker": ("embed", "thinker"), "encoder": ("encoder",)}  # kind -> graphs that every runtime expects of it


def exports(subject: PartUnderTest) -> Sequence[Number]:
    """Every graph of the small part, over all its cases and consecutive calls."""
    sessions = opened(subject)
    for name in EXPECTED.get(subject.part.kind, ()):
        check_that(name in sessions, f"there is no graph called {name}")
    from muomni_onnx.parity import compare

    numbers = []
    for graph in graphs_of(subject):
        parity = compare(graph, sessions[graph.name])
        where = f"graph {graph.name}, {parity.where}"
        numbers.append(Number("largest difference", parity.error, parity.tolerance, where))
    return numbers


def graphs_of(subject: PartUnderTest) -> Sequence[Graph]:
    return subject.once("graphs", lambda: list(subject.find("graphs")(subject.lively)))


def opened(subject: PartUnderTest) -> Mapping[str, Any]:
    """Every graph, written and opened once."""
    lacking = [package for package in WANTED if importlib.util.find_spec(package) is None]
    if lacking:
        raise CheckSkipped(f"{' and '.join(lacking)} must be installed: pip install 'muomni[onnx]'")
    from muomni_onnx.graphs import write_graph
    from muomni_onnx.sessions import GraphSession

    def write() -> dict[str, GraphSession]:
        folder = subject.folder()
        sessions: dict[str, GraphSession] = {}
        for graph in graphs_of(subject):
            check_that(graph.name not in sessions, f"two graphs are called {graph.name}")
            write_graph(graph, folder / f"{graph.name}.onnx")
            sessions[graph.name] = GraphSession(folder / f"{graph.name}.onnx", threads=1)
        return sessions

    return subject.once("sessions", write)


def serves(subject: PartUnderTest) -> Sequence[Number]:
    """The graphs together, as a runtime uses them, against the part itself."""
    return SERVED_AS[subject.part.kind](subject, opened(subject))


def _thinks(subject: PartUnderTest, sessions: Mapping[str, GraphFn]) -> Sequence[Number]:
    """From empty states: a prompt, then token by token."""
    import torch

    from muomni_cli.conformance.modules import same
    from muomni_cli.conformance.thinkers import sequence

    ids = sequence(subject, rows=1)
    (graph,) = (graph for graph in graphs_of(subject) if graph.name == "thinker")
    sizes = {**graph.initial_sizes, "batch": 1}
    states = {
        graph_input.name: torch.zeros(graph_input.shape(sizes)).numpy()
        for graph_input in graph.inputs
        if graph_input.name in graph.states
    }
    made: list[Any] = []
    for piece in torch.split(ids, [ids.shape[1] // 2, *[1] * (ids.shape[1] - ids.shape[1] // 2)], dim=1):
        embedded = sessions["embed"]({"input_ids": piece.numpy()})["inputs_embeds"]
        gave = sessions["thinker"]({"inputs_embeds": embedded, **states})
        states = {past: gave[now] for past, now in graph.states.items()}
        made.append(torch.from_numpy(gave["logits"]))
    with torch.no_grad():
        wanted = subject.lively(ids).logits
    return [same([torch.cat(made, dim=1)], [wanted], ["logits, token by token"])]


def _perceives(subject: PartUnderTest, sessions: Mapping[str, GraphFn]) -> Sequence[Number]:
    import torch

    from muomni_cli.conformance.encoders import alone, inputs_of
    from muomni_cli.conformance.modules import same

    arrays = inputs_of(subject)
    made = [torch.from_numpy(sessions["encoder"]({"inputs": array[None]})["tokens"][0]) for array in arrays]
    with torch.no_grad():
        wanted = [alone(subject, array) for array in arrays]
    return [same(made, wanted, [f"an input of {array.shape}" for array in arrays])]


def runner(subject: PartUnderTest, sessions: Mapping[str, GraphFn], **arguments: Any) -> Any:
    return subject.find("runner")(subject.config, dict(sessions), **arguments)


def _codes(subject: PartUnderTest, sessions: Mapping[str, GraphFn]) -> Sequence[Number]:
    """Codes to log-mel, or to samples, streamed, one row at a time."""
    import torch

    from muomni_cli.conformance.codecs import codes_of, sound_of
    from muomni_cli.conformance.modules import same
    from muomni_onnx.golden import sounded

    codec = subject.lively
    codes = codes_of(codec)
    stream = runner(subject, sessions).stream()
    made = [torch.from_numpy(sounded(stream, row.numpy(), 3)) for row in codes]
    with torch.no_grad():
        wanted = sound_of(codec, codes)
    return [same(made, wanted.unbind(0), [f"row {row}" for row in range(len(made))])]


def _sounds(subject: PartUnderTest, sessions: Mapping[str, GraphFn]) -> Sequence[Number]:
    """Log-mel to samples, streamed, one row at a time."""
    import torch

    from muomni_cli.conformance.common import MEL
    from muomni_cli.conformance.modules import log_mel
    from muomni_cli.conformance.vocoders import FRAMES
    from muomni_onnx.golden import sounded

    mel = log_mel(MEL, FRAMES)
    stream = runner(subject, sessions, mel=MEL).stream()
    made = torch.stack([torch.from_numpy(sounded(stream, row.numpy(), 3)) for row in mel])
    with torch.no_grad():
        wanted = subject.lively(mel)
    check_that(made.shape == wanted.shape, f"{made.shape[1]} samples, but {wanted.shape[1]} by PyTorch")
    tolerance = max(graph.tolerance for graph in graphs_of(subject))
    return [Number("largest difference", float((made - wanted).abs().max()), tolerance, "samples")]


def _speaks(subject: PartUnderTest, sessions: Mapping[str, GraphFn]) -> Sequence[Number]:
    from muomni_cli.api import TextChunk
    from muomni_cli.conformance.common import ARGUMENTS
    from muomni_cli.conformance.talkers import TEXT, differing, greedy, spoken

    talkers = (runner(subject, sessions, **ARGUMENTS["talker"]), subject.lively)
    made, wanted = (spoken(talker, [TextChunk(TEXT)], greedy) for talker in talkers)
    return [differing(made, wanted, "without PyTorch")]


SERVED_AS: Mapping[str, Callable[[PartUnderTest, Mapping[str, GraphFn]], Sequence[Number]]] = {
    "thinker": _thinks, "encoder": _perceives, "codec": _codes, "vocoder": _sounds, "talker": _speaks
}  # fmt: skip
KINDS = frozenset(SERVED_AS)

EXPORTS = Check(
    name="exports",
    doc="every graph, written as ONNX and run by onnxruntime, returns what PyTorch returns",
    run=exports,
    kinds=KINDS,
    declares="graphs",
    depends_on=("repeats",),
)

SERVES = Check(
    name="serves",
    doc="the graphs together, as a runtime uses them, do what the part does",
    run=serves,
    kinds=KINDS,
    declares="graphs",
    depends_on=("exports",),
)

"""A bundle as an inference engine; each graph is opened lazily. Imports no torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import EncoderPart, PartConfig, RequestError, Tokenizer
from muomni_cli.contract.engine import Engine, GraphCall
from muomni_cli.contract.models import Predictor, Transcriber
from muomni_cli.contract.speech import CodecRunner, SpeechGenerator, VocoderRunner
from muomni_cli.registry.entries import is_named, open_entry, run_arguments, use_of
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.run import VOICES
from muomni_onnx.alignment import alignment_of
from muomni_onnx.backend import OnnxBackend, empty_state
from muomni_onnx.bundle import MANIFEST, BundleManifest, open_bundle
from muomni_onnx.in_place import InPlaceBackend, InPlaceRows
from muomni_onnx.sessions import CPU, Arrays, GraphSession, Value, cores, fetch, open_sessions, places

MOST_BATCHES = 4  # at a time; each has the weights' integers in common, but a batch of few rows reads them as often

FUSION = {"encoder", "projector"}
"""Graphs that feed the Thinker; other graphs of an encoder are the head of its own stage."""


class OnnxModel:
    """An :class:`muomni_cli.api.Engine` over a bundle.

    Args:
        bundle: what was exported.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: CUDA if the first graphs that are needed open on it.
        threads: CPU threads; all cores by default.
    """

    def __init__(self, bundle: BundleManifest, device: str = "auto", threads: int | None = None) -> None:
        self._bundle, self._device, self._threads = bundle, device, threads
        self._provider = ""
        self._sessions: dict[tuple[str, str], GraphSession] = {}
        # by part, graph and threads; None cannot be opened here
        self._in_places: dict[tuple[str, str, int], GraphSession | None] = {}
        self._rows_graphs: dict[GraphSession, InPlaceRows] = {}
        self._runners: dict[str, Any] = {}
        self._tokenizer: Tokenizer | None = None
        self._notify: Callable[[GraphCall], None] | None = None
        self._alignment: list[int | None] = []  # once it is known
        self._lock = threading.RLock()

    @property
    def label(self) -> str:
        return f"{self._bundle.root} ({self._provider})" if self._provider else str(self._bundle.root)

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        return self._bundle.parts

    @property
    def modalities(self) -> list[str]:
        return [name for name, entry in self.parts.items() if "projector" in entry["graphs"]]

    @property
    def thinker_stages(self) -> list[str]:
        return ["omni" if self.modalities else "thinker"] if "thinker" in self.parts else []

    def at(self, stage: str) -> OnnxModel:
        if stage not in self.thinker_stages:
            fix = "use the run that it was exported from: -m RUN"
            raise RequestError(f"{self.label} has no Thinker of the stage {stage}", fix)
        return self

    @property
    def alignment(self) -> int | None:
        with self._lock:
            if not self._alignment:
                self._alignment.append(self._find_alignment())
            return self._alignment[0]

    def _find_alignment(self) -> int | None:
        found = alignment_of(self.backend, self.tokenizer().vocab_size)
        exact = self._bundle.graph("thinker", "thinker").get("precision") not in ("int8", "int4")
        return 1 if exact and found is None else found

    @property
    def heads(self) -> Mapping[str, Mapping[str, Any]]:
        return {modality: self.parts[name] for modality, name in self._with_heads.items()}

    @cached_property
    def _with_heads(self) -> dict[str, str]:
        """Modality -> the part with the head of its own stage."""
        found: dict[str, str] = {}
        for name, entry in self.parts.items():
            if entry["kind"] == EncoderPart.kind and entry["graphs"].keys() - FUSION:
                part = open_entry(entry)[0].part
                if isinstance(part, EncoderPart) and part.runner:
                    found.setdefault(part.modality, name)
        return found

    def source(self, part: str) -> str:  # noqa: ARG002
        return self.label

    @property
    def chat(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._bundle.manifest["chat"])

    @property
    def provenance(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._bundle.manifest.get("provenance", {}))

    def verify(self) -> int:
        self._bundle.verify()
        return len(self._bundle.manifest["files"])

    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:  # kept, since forms of answers are compiled for each tokenizer
            self._tokenizer = self._open_tokenizer()
        return self._tokenizer

    def _open_tokenizer(self) -> Tokenizer:
        entry = self._bundle.manifest["tokenizer"]
        if entry is None:
            raise RequestError(f"{self.label} has no tokenizer, so it reads no text", "name another model with -m")
        registered, config = open_entry(entry)
        folder = self._bundle.trusted_folder(entry["weights"])
        return cast("Tokenizer", resolve(registered.part.build)(config, folder))

    @property
    def batches(self) -> int:
        """Python samples the tokens of one batch while the graph runs for another, which two small batches gain more by
        than by two threads in one product."""
        if "thinker" not in self.parts:
            on_cpu = places(self._device)[0].provider == CPU
        else:
            on_cpu = self._in_place() is not None or self._thinking()["thinker"].provider == CPU
        if not on_cpu:
            return 1
        return min(MOST_BATCHES, self._threads or cores())

    def backend(
        self, *, prefix_cache: bool = False, hidden: bool = False, share: int = 1
    ) -> OnnxBackend | InPlaceBackend:
        self._require_thinker()
        context = int(self.parts["thinker"]["config"]["ctx_len"])
        entry = self._bundle.graph("thinker", "thinker")
        if (session := self._in_place(share=share)) is not None:
            return InPlaceBackend(session, entry, context, prefix_cache=prefix_cache, hidden=hidden)
        opened = self._thinking(share)
        return OnnxBackend(opened["embed"], opened["thinker"], entry, context, prefix_cache=prefix_cache, hidden=hidden)

    def score(self, ids: NDArray[Any]) -> NDArray[np.float32]:
        opened = self._thinking()
        thinker, entry = opened["thinker"], self._bundle.graph("thinker", "thinker")
        embeds = opened["embed"]({"input_ids": ids[None].astype(np.int64)})["inputs_embeds"]
        nothing = {name: empty_state(entry["inputs"][name], thinker.type(name)) for name in entry["states"]}
        made = thinker({"inputs_embeds": embeds, **nothing}, ["logits"])
        return cast("NDArray[np.float32]", made["logits"][0].astype(np.float32))

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
        opened = self._open(modality, ("encoder", "projector"))
        tokens = opened["encoder"]({"inputs": inputs[None]})["tokens"]
        return cast("NDArray[np.float32]", opened["projector"]({"tokens": tokens})["inputs_embeds"][0])

    def predictor(self, modality: str) -> Predictor:
        name = self._with_heads.get(modality)
        if name is None:
            fix = "train that stage, and export the run again"
            raise RequestError(f"{self.label} has no trained {modality} encoder", fix)
        return cast("Predictor", self.runner(name))

    def transcriber(self) -> Transcriber:
        for name in self._with_heads.values():
            part = open_entry(self.parts[name])[0].part
            if isinstance(part, EncoderPart) and part.transcribe:
                return cast("Transcriber", self.runner(name))
        raise RequestError(f"{self.label} has no encoder that transcribes", "name another model with -m")

    @cached_property
    def voice_models(self) -> Mapping[str, OnnxModel]:
        names = [PurePosixPath(name) for name in self._bundle.manifest["files"]]
        there = [name for name in names if (name.parts[0], name.parts[2:]) == (VOICES, (MANIFEST,))]
        opened = [open_bundle(self._bundle.trusted(str(name)).parent) for name in there]
        return {one.root.name: OnnxModel(one, self._device, self._threads) for one in opened}

    def talker(self) -> SpeechGenerator:
        return cast("SpeechGenerator", self._speech("talker"))

    def codec(self) -> CodecRunner:
        return cast("CodecRunner", self._speech("codec"))

    @property
    def vocoders(self) -> list[str]:
        return [use_of(self.parts["vocoder"])] if "vocoder" in self.parts else []

    def vocoder_name(self, name: str | None = None) -> str:
        if "vocoder" not in self.parts:
            self._speech("vocoder")  # raises
        own = self.vocoders[0]
        if name is not None and not is_named(self.parts["vocoder"], name):
            raise RequestError(f"{self.label} has only the vocoder {own}, not {name}", "leave --vocoder out")
        return own

    def vocoder(self, name: str) -> VocoderRunner:  # noqa: ARG002 - a bundle has one
        return cast("VocoderRunner", self._speech("vocoder"))

    def _speech(self, part: str) -> Any:
        if part not in self.parts:
            raise RequestError(f"{self.label} has no {part}, so it cannot speak", "name another model with -m")
        return self.runner(part)

    def close(self) -> None:
        with self._lock:
            self._sessions.clear()
            self._in_places.clear()
            self._rows_graphs.clear()
            self._runners.clear()
            self._tokenizer = None
        for one in self.voice_models.values():
            one.close()

    def runner(self, part: str) -> Any:
        """What the part's declared ``runner`` builds around its graphs, built once. RequestError if the part or the
        runner is missing."""
        if part not in self._runners:
            entry = self._bundle.parts.get(part)
            if entry is None:
                raise RequestError(f"{self.label} has no {part}", "name another model with -m")
            registered, config = open_entry(entry)
            name = f"{entry['kind']} {entry['use']}"
            if registered.part.runner is None:
                raise RequestError(f"{name} declares no runner for its graphs", "its plugin must declare runner=")
            runs = resolve(registered.part.runner, name)
            graphs = {graph: BundleGraph(self, part, graph) for graph in entry["graphs"]}
            self._runners[part] = runs(config, graphs, **run_arguments(entry))
        return self._runners[part]

    @property
    def graph_seconds(self) -> float:
        with self._lock:
            opened = [*self._sessions.values(), *(one for one in self._in_places.values() if one is not None)]
        return sum(session.seconds for session in opened)

    @contextmanager
    def watched(self, notify: Callable[[GraphCall], None]) -> Iterator[None]:
        self._notify = notify
        try:
            yield
        finally:
            self._notify = None

    def _watch(
        self, part: str, graph: str, feeds: Mapping[str, Value], made: Mapping[str, Value], seconds: float
    ) -> None:
        if (notify := self._notify) is not None:
            # copied, since the arrays of a bound call are written again
            inputs, outputs = ({name: np.array(fetch(value)) for name, value in held.items()} for held in (feeds, made))
            notify(GraphCall(part, graph, inputs, outputs, seconds))

    def _require_thinker(self) -> None:
        if "thinker" not in self.parts:
            raise RequestError(f"{self.label} has no Thinker, so it answers nothing", "name another model with -m")

    def _in_place(self, part: str = "thinker", graph: str = "thinker", share: int = 1) -> GraphSession | None:
        """A graph with a cache that is written in place, with a ``share`` of the cores. None if the bundle has no such
        form, this onnxruntime does not open it, the model runs on another device than the CPU, or the calls of its
        graphs are watched."""
        form = self._bundle.graph(part, graph).get("in_place")
        if form is None or self._notify is not None or places(self._device)[0].provider != CPU:
            return None
        key = part, graph, max(1, (self._threads or cores()) // share)
        with self._lock:
            if key not in self._in_places:
                path, *_ = [self._bundle.trusted(str(name)) for name in (form["file"], *form["weights"])]
                try:
                    self._in_places[key] = GraphSession(path, key[-1], "cpu")
                    self._device, self._provider = "cpu", CPU
                except RequestError:  # an operator that this version lacks
                    self._in_places[key] = None
            return self._in_places[key]

    def in_place_rows(self, part: str, graph: str) -> InPlaceRows | None:
        """A graph of another part than the Thinker with such a cache, on the share of the cores that one of several
        threads has. None as above."""
        session = self._in_place(part, graph, min(MOST_BATCHES, self._threads or cores()))
        if session is None:
            return None
        with self._lock:
            if session not in self._rows_graphs:
                context = int(self.parts[part]["config"]["ctx_len"])
                self._rows_graphs[session] = InPlaceRows(session, self._bundle.graph(part, graph), context)
            return self._rows_graphs[session]

    def _thinking(self, share: int = 1) -> dict[str, GraphSession]:
        """The graphs of the Thinker; with a ``share`` of the cores, if there are several for each."""
        self._require_thinker()
        opened = self._open("thinker", ("embed", "thinker"))
        threads = (self._threads or cores()) // share
        if share == 1 or threads < 1 or opened["thinker"].provider != CPU:
            return opened
        with self._lock:
            key = ("thinker", f"thinker, {threads} threads")
            if key not in self._sessions:
                entry = self._bundle.graph("thinker", "thinker")
                path, kept = self._bundle.trusted(str(entry["file"])), entry["states"].values()
                self._sessions[key] = GraphSession(path, threads, self._device, kept)
                self._sessions[key].watcher = opened["thinker"].watcher
            return {**opened, "thinker": self._sessions[key]}

    def session(self, part: str, graph: str) -> GraphSession:
        """A graph, which is opened the first time."""
        return self._sessions.get((part, graph)) or self._open(part, (graph,))[graph]

    def _open(self, part: str, graphs: Sequence[str]) -> dict[str, GraphSession]:
        with self._lock:
            missing = [graph for graph in graphs if (part, graph) not in self._sessions]
            if not missing:
                return {graph: self._sessions[part, graph] for graph in graphs}
            entries = {graph: self._bundle.graph(part, graph) for graph in missing}
            paths = {graph: self._bundle.trusted(str(entry["file"])) for graph, entry in entries.items()}
            kept = {graph: entry["states"].values() for graph, entry in entries.items()}
            for graph, session in open_sessions(paths, self._device, self._threads, kept).items():
                self._sessions[part, graph] = session
                session.watcher = partial(self._watch, part, graph)
                # All graphs run on one device: one may take what another left there.
                self._device, self._provider = session.device, session.provider
            return {graph: self._sessions[part, graph] for graph in graphs}


class BundleGraph:
    """A graph of a bundle, opened when it is first called. A :class:`muomni_cli.contract.bundle.RowsGraphFn` and
    :class:`muomni_cli.contract.bundle.BindableGraphFn`."""

    def __init__(self, model: OnnxModel, part: str, graph: str) -> None:
        self._model, self._part, self._graph = model, part, graph

    def __call__(self, feeds: Arrays, /) -> Arrays:
        return self._model.session(self._part, self._graph)(feeds)

    def bind(self, arrays: Arrays) -> Callable[[], None] | None:
        session = self._model.session(self._part, self._graph)
        return session.bind(arrays) if session.provider == CPU and session.takes(arrays) else None

    def rows(self) -> InPlaceRows | None:
        return self._model.in_place_rows(self._part, self._graph)


def build(config: PartConfig, folder: Path, device: str, threads: int | None) -> Engine:  # noqa: ARG001
    return OnnxModel(open_bundle(folder), device, threads)

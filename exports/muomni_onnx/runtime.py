"""A bundle as a model that commands use: each part's graphs are opened when they are first asked for, and only then.
Knows no torch and no part by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import EncoderPart, GraphFn, PartConfig, RequestError, Tokenizer
from muomni_cli.contract.engine import Engine, GraphCall
from muomni_cli.contract.models import Backend, Predictor, Transcriber
from muomni_cli.contract.speech import CodecRunner, SpeechGenerator, VocoderRunner
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.run import open_entry, run_arguments
from muomni_onnx.backend import PAST, OnnxBackend
from muomni_onnx.bundle import BundleManifest, open_bundle
from muomni_onnx.sessions import Arrays, GraphSession, Value, Watcher, fetch, open_sessions

FUSION = {"encoder", "projector"}
"""Graphs that feed the Thinker; any other graph of an encoder belongs to the head of its own stage."""


class OnnxModel:
    """See :class:`muomni_cli.api.Engine`.

    Args:
        bundle: what was exported.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: CUDA if the first graphs that are needed open on it.
        threads: of the CPU; all of them by default.
    """

    def __init__(self, bundle: BundleManifest, device: str = "auto", threads: int | None = None) -> None:
        self._bundle, self._device, self._threads = bundle, device, threads
        self._provider = ""
        self._sessions: dict[tuple[str, str], GraphSession] = {}
        self._runners: dict[str, Any] = {}
        self._tell: Callable[[GraphCall], None] | None = None
        self._lock = threading.Lock()

    @property
    def label(self) -> str:
        """What to call it; with what runs it, once that is known."""
        return f"{self._bundle.root} ({self._provider})" if self._provider else str(self._bundle.root)

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """See :class:`muomni_cli.api.Engine`."""
        return self._bundle.parts

    @property
    def modalities(self) -> list[str]:
        """See :class:`muomni_cli.api.Engine`."""
        return [name for name, entry in self.parts.items() if "projector" in entry["graphs"]]

    @property
    def thinker_stages(self) -> list[str]:
        """See :class:`muomni_cli.api.Engine`."""
        return ["omni" if self.modalities else "thinker"] if "thinker" in self.parts else []

    def at(self, stage: str) -> OnnxModel:
        """See :class:`muomni_cli.api.Engine`."""
        if stage not in self.thinker_stages:
            raise RequestError(f"{self.label} has no Thinker of the stage {stage}", "name the run that it was made of")
        return self

    @property
    def heads(self) -> Mapping[str, Mapping[str, Any]]:
        """See :class:`muomni_cli.api.Engine`."""
        return {modality: self.parts[name] for modality, name in self._with_heads.items()}

    @cached_property
    def _with_heads(self) -> dict[str, str]:
        """Modality -> the part whose graphs include the head of its own stage."""
        found: dict[str, str] = {}
        for name, entry in self.parts.items():
            if entry["kind"] == EncoderPart.kind and entry["graphs"].keys() - FUSION:
                part = open_entry(entry)[0].part
                if isinstance(part, EncoderPart) and part.runner:
                    found.setdefault(part.modality, name)
        return found

    def source(self, part: str) -> str:  # noqa: ARG002 - all parts lie in one folder
        """See :class:`muomni_cli.api.Engine`."""
        return self.label

    @property
    def chat(self) -> Mapping[str, Any]:
        """See :class:`muomni_cli.api.Engine`."""
        chat: Mapping[str, Any] = self._bundle.manifest["chat"]
        return chat

    @property
    def provenance(self) -> Mapping[str, Any]:
        """See :class:`muomni_cli.api.Engine`."""
        provenance: Mapping[str, Any] = self._bundle.manifest.get("provenance", {})
        return provenance

    def verify(self) -> int:
        """See :class:`muomni_cli.api.Engine`."""
        self._bundle.verify()
        return len(self._bundle.manifest["files"])

    def tokenizer(self) -> Tokenizer:
        """See :class:`muomni_cli.api.Engine`."""
        entry = self._bundle.manifest["tokenizer"]
        if entry is None:
            raise RequestError(f"{self.label} has no tokenizer, so it reads no text", "name another model with -m")
        registered, config = open_entry(entry)
        for name in self._bundle.manifest["files"]:
            if Path(name).parts[0] == entry["weights"]:
                self._bundle.trusted(name)
        tokenizer: Tokenizer = resolve(registered.part.build)(config, self._bundle.root / entry["weights"])
        return tokenizer

    def backend(self, *, prefix_cache: bool = False, hidden: bool = False) -> Backend[Any]:
        """See :class:`muomni_cli.api.Engine`."""
        opened = self._thinking()
        context = int(self.parts["thinker"]["config"]["ctx_len"])
        entry = self._bundle.graph("thinker", "thinker")
        return OnnxBackend(opened["embed"], opened["thinker"], entry, context, prefix_cache=prefix_cache, hidden=hidden)

    def score(self, ids: NDArray[Any]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.api.Engine`."""
        opened = self._thinking()
        thinker, entry = opened["thinker"], self._bundle.graph("thinker", "thinker")
        embeds = opened["embed"]({"input_ids": ids[None].astype(np.int64)})["inputs_embeds"]
        nothing = {name: np.zeros(_empty(entry["inputs"][name]), thinker.type(name)) for name in entry["states"]}
        made = thinker({"inputs_embeds": embeds, **nothing}, ["logits"])
        logits: NDArray[np.float32] = made["logits"][0].astype(np.float32)
        return logits

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.api.Engine`."""
        opened = self._open(modality, ("encoder", "projector"))
        tokens = opened["encoder"]({"inputs": inputs[None]})["tokens"]
        made: NDArray[np.float32] = opened["projector"]({"tokens": tokens})["inputs_embeds"][0]
        return made

    def predictor(self, modality: str) -> Predictor:
        """See :class:`muomni_cli.api.Engine`."""
        name = self._with_heads.get(modality)
        if name is None:
            raise RequestError(
                f"{self.label} has nothing that the stage {modality} learned",
                "train that stage, and export the run again",
            )
        answers: Predictor = self.runner(name)
        return answers

    def transcriber(self) -> Transcriber:
        """See :class:`muomni_cli.api.Engine`."""
        for name in self._with_heads.values():
            part = open_entry(self.parts[name])[0].part
            if isinstance(part, EncoderPart) and part.transcribe:
                transcriber: Transcriber = self.runner(name)
                return transcriber
        raise RequestError(f"{self.label} has no encoder that transcribes", "name another model with -m")

    def talker(self) -> SpeechGenerator:
        """See :class:`muomni_cli.api.Engine`."""
        talker: SpeechGenerator = self._speech("talker")
        return talker

    def codec(self) -> CodecRunner:
        """See :class:`muomni_cli.api.Engine`."""
        codec: CodecRunner = self._speech("codec")
        return codec

    @property
    def vocoders(self) -> list[str]:
        """See :class:`muomni_cli.api.Engine`."""
        return [str(self.parts["vocoder"]["use"])] if "vocoder" in self.parts else []

    def vocoder_name(self, name: str | None = None) -> str:
        """See :class:`muomni_cli.api.Engine`."""
        if "vocoder" not in self.parts:
            self._speech("vocoder")
        own = self.vocoders[0]
        if name is not None and name.rpartition(":")[2] != own:
            raise RequestError(f"{self.label} has the vocoder {own} alone, not {name}", "leave --vocoder out")
        return own

    def vocoder(self, name: str) -> VocoderRunner:  # noqa: ARG002 - a bundle holds one
        """See :class:`muomni_cli.api.Engine`."""
        vocoder: VocoderRunner = self._speech("vocoder")
        return vocoder

    def _speech(self, part: str) -> Any:
        if part not in self.parts:
            raise RequestError(f"{self.label} has no {part}, so it cannot speak", "name another model with -m")
        return self.runner(part)

    def close(self) -> None:
        """See :class:`muomni_cli.api.Engine`."""
        with self._lock:
            self._sessions.clear()
            self._runners.clear()

    def runner(self, part: str) -> Any:
        """What the part's declared ``runner`` builds around its graphs; the same object each time.

        Raises:
            RequestError: there is no such part, or its plugin declares no ``runner``.
        """
        if part not in self._runners:
            entry = self._bundle.parts.get(part)
            if entry is None:
                raise RequestError(f"{self.label} has no {part}", "name another model with -m")
            registered, config = open_entry(entry)
            name = f"{entry['kind']} {entry['use']}"
            if registered.part.runner is None:
                raise RequestError(f"{name} does not say who runs its graphs", "its plugin must declare runs=")
            runs = resolve(registered.part.runner, name)
            graphs = {graph: self._run(part, graph) for graph in entry["graphs"]}
            self._runners[part] = runs(config, graphs, **run_arguments(entry))
        return self._runners[part]

    @contextmanager
    def watched(self, notify: Callable[[GraphCall], None]) -> Iterator[None]:
        """See :class:`muomni_cli.api.Engine`."""
        self._tell = notify
        try:
            self._tell_all()
            yield
        finally:
            self._tell = None
            self._tell_all()

    def _tell_all(self) -> None:
        with self._lock:
            for (part, graph), session in self._sessions.items():
                session.watcher = self._watcher(part, graph)

    def _watcher(self, part: str, graph: str) -> Watcher | None:
        notify = self._tell
        if notify is None:
            return None

        def told(feeds: Mapping[str, Value], made: Mapping[str, Value], seconds: float) -> None:
            inputs, outputs = ({name: fetch(value) for name, value in held.items()} for held in (feeds, made))
            notify(GraphCall(part, graph, inputs, outputs, seconds))

        return told

    def _thinking(self) -> dict[str, GraphSession]:
        if "thinker" not in self.parts:
            raise RequestError(f"{self.label} has no Thinker, so it answers nothing", "name another model with -m")
        return self._open("thinker", ("embed", "thinker"))

    def _run(self, part: str, graph: str) -> GraphFn:
        """A graph that is opened when it is first run."""

        def run(feeds: Arrays) -> Arrays:
            return self._open(part, (graph,))[graph](feeds)

        return run

    def _open(self, part: str, graphs: Sequence[str]) -> dict[str, GraphSession]:
        with self._lock:
            missing = [graph for graph in graphs if (part, graph) not in self._sessions]
            entries = {graph: self._bundle.graph(part, graph) for graph in missing}
            paths = {graph: self._bundle.trusted(str(entry["file"])) for graph, entry in entries.items()}
            kept = {graph: entry["states"].values() for graph, entry in entries.items()}
            for graph, session in open_sessions(paths, self._device, self._threads, kept).items():
                self._sessions[part, graph] = session
                session.watcher = self._watcher(part, graph)
                # A model does not change its place: what one graph keeps there another may take.
                self._device, self._provider = session.device, session.provider
            return {graph: self._sessions[part, graph] for graph in graphs}


def _empty(axes: Sequence[int | str]) -> list[int]:
    """The shape of a state of one row that holds nothing."""
    return [axis if isinstance(axis, int) else 0 if axis == PAST else 1 for axis in axes]


def build(config: PartConfig, folder: Path, device: str, threads: int | None) -> Engine:  # noqa: ARG001
    """See :class:`muomni_cli.api.RuntimePart`."""
    return OnnxModel(open_bundle(folder), device, threads)

"""A bundle as a model that commands use: each part's graphs are opened when they are first asked for, and only then.
Knows no torch and no part by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import PartConfig, RequestError, Run, Tokenizer
from muomni_cli.contract.backend import Backend
from muomni_cli.contract.packed import GraphCall, Packed
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.arguments import run_arguments
from muomni_cli.runs.folder import open_entry
from muomni_onnx.backend import OnnxBackend
from muomni_onnx.bundle import Bundle, open_bundle
from muomni_onnx.rows import PAST
from muomni_onnx.sessions import Arrays, Session, Value, Watcher, fetch, open_sessions


class OnnxModel:
    """See :class:`muomni_cli.contract.packed.Packed`.

    Args:
        bundle: what was exported.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: CUDA if the first graphs that are needed open on it.
        threads: of the CPU; all of them by default.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", threads: int | None = None) -> None:
        self._bundle, self._device, self._threads = bundle, device, threads
        self._provider = ""
        self._sessions: dict[tuple[str, str], Session] = {}
        self._runners: dict[str, Any] = {}
        self._tell: Callable[[GraphCall], None] | None = None
        self._lock = threading.Lock()

    @property
    def label(self) -> str:
        """What to call it; with what runs it, once that is known."""
        return f"{self._bundle.root} ({self._provider})" if self._provider else str(self._bundle.root)

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        return self._bundle.parts

    @property
    def senses(self) -> list[str]:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        return [name for name, entry in self.parts.items() if "projector" in entry["graphs"]]

    @property
    def chat(self) -> Mapping[str, Any]:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        chat: Mapping[str, Any] = self._bundle.manifest["chat"]
        return chat

    @property
    def provenance(self) -> Mapping[str, Any]:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        provenance: Mapping[str, Any] = self._bundle.manifest.get("provenance", {})
        return provenance

    def verify(self) -> int:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        self._bundle.verify()
        return len(self._bundle.manifest["files"])

    def tokenizer(self) -> Tokenizer:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        entry = self._bundle.manifest["tokenizer"]
        if entry is None:
            raise RequestError(f"{self.label} has no tokenizer, so it reads no text", "name another model with -m")
        registered, config = open_entry(entry)
        for name in self._bundle.manifest["files"]:
            if Path(name).parts[0] == entry["weights"]:
                self._bundle.trusted(name)
        tokenizer: Tokenizer = resolve(registered.part.build)(config, self._bundle.root / entry["weights"])
        return tokenizer

    def backend(self, *, keep: bool = False, hidden: bool = False) -> Backend[Any]:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        opened = self._thinking()
        context = int(self.parts["thinker"]["config"]["ctx_len"])
        entry = self._bundle.graph("thinker", "thinker")
        return OnnxBackend(opened["embed"], opened["thinker"], entry, context, keep=keep, hidden=hidden)

    def score(self, ids: NDArray[Any]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        opened = self._thinking()
        thinker, entry = opened["thinker"], self._bundle.graph("thinker", "thinker")
        embeds = opened["embed"]({"input_ids": ids[None].astype(np.int64)})["inputs_embeds"]
        nothing = {name: np.zeros(_empty(entry["inputs"][name]), thinker.type(name)) for name in entry["states"]}
        made = thinker({"inputs_embeds": embeds, **nothing}, ["logits"])
        logits: NDArray[np.float32] = made["logits"][0].astype(np.float32)
        return logits

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        opened = self._open(modality, ("encoder", "projector"))
        tokens = opened["encoder"]({"inputs": inputs[None]})["tokens"]
        made: NDArray[np.float32] = opened["projector"]({"tokens": tokens})["inputs_embeds"][0]
        return made

    def runner(self, part: str) -> Any:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        if part not in self._runners:
            entry = self._bundle.parts.get(part)
            if entry is None:
                raise RequestError(f"{self.label} has no {part}", "name another model with -m")
            registered, config = open_entry(entry)
            name = f"{entry['kind']} {entry['use']}"
            if registered.part.runs is None:
                raise RequestError(f"{name} does not say who runs its graphs", "its plugin must declare runs=")
            runs = resolve(registered.part.runs, name)
            graphs = {graph: self._run(part, graph) for graph in entry["graphs"]}
            self._runners[part] = runs(config, graphs, **run_arguments(entry))
        return self._runners[part]

    @contextmanager
    def watched(self, tell: Callable[[GraphCall], None]) -> Iterator[None]:
        """See :class:`muomni_cli.contract.packed.Packed`."""
        self._tell = tell
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
        tell = self._tell
        if tell is None:
            return None

        def told(feeds: Mapping[str, Value], made: Mapping[str, Value], seconds: float) -> None:
            inputs, outputs = ({name: fetch(value) for name, value in held.items()} for held in (feeds, made))
            tell(GraphCall(part, graph, inputs, outputs, seconds))

        return told

    def _thinking(self) -> dict[str, Session]:
        if "thinker" not in self.parts:
            raise RequestError(f"{self.label} has no Thinker, so it answers nothing", "name another model with -m")
        return self._open("thinker", ("embed", "thinker"))

    def _run(self, part: str, graph: str) -> Run:
        """A graph that is opened when it is first run."""

        def run(feeds: Arrays) -> Arrays:
            return self._open(part, (graph,))[graph](feeds)

        return run

    def _open(self, part: str, graphs: Sequence[str]) -> dict[str, Session]:
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


def build(config: PartConfig, folder: Path, device: str, threads: int | None) -> Packed:  # noqa: ARG001
    """See :class:`muomni_cli.api.RuntimePart`."""
    return OnnxModel(open_bundle(folder), device, threads)

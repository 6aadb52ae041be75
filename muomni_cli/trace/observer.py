"""Observers record what happens inside the parts of a model: declared steps of PyTorch modules, or runs of graphs.

Shapes: T tokens or code frames, D width, V vocabulary, Q codebooks, M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.codecs import is_waveform
from muomni_cli.contract.declarations import Capability, Step
from muomni_cli.contract.engine import Engine, GraphCall
from muomni_cli.contract.speech import ArrayStream
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.trace.pictures import captured
from muomni_cli.trace.recorder import TensorRecorder, default_steps, statistics_of
from muomni_cli.trace.report import counted, plural

if TYPE_CHECKING:
    from torch import Tensor

    from muomni_cli.models.torch_engine import TorchEngine

P = ParamSpec("P")
R = TypeVar("R")


class Observer(Protocol):
    """Runs the parts of one engine for the trace, and records what happens inside them.

    Attributes:
        recorder: holds the steps.
        every_place: the Thinker returns logits for every position while observed; otherwise only for the last.
        cached: the Thinker has a cache.
        attention: weights (H,T,S) of each layer in the last :meth:`think`, if requested and available.
    """

    recorder: TensorRecorder
    every_place: bool
    cached: bool
    attention: list[NDArray[np.float32]]

    def inside(self, part: str, step: Step, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call, record it as ``step``, and nested in it what happens in ``part``."""

    def think(self, step: Step, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """:meth:`inside` for the Thinker; ``call`` runs it once."""

    def last_logits(self) -> NDArray[np.float32] | None:
        """Record the selection of the last position from the logits of all, and return (V,); None if only those of the
        last exist."""

    def embed(self, ids: Sequence[int]) -> NDArray[np.float32] | None:
        """(T,D) embeddings of text; None if the engine cannot compute them separately."""

    def codes(self, frames: NDArray[Any]) -> Any:
        """(T,Q) codes in the form that :meth:`decode` takes."""

    def decode(self, codes: Any) -> Any:
        """Log-mel of :meth:`codes`."""

    def vocode(self, mel: Any) -> Any:
        """Samples of :meth:`decode`."""


def observing(engine: Engine, *, attention: bool = False) -> AbstractContextManager[Observer]:
    """The observer of an engine, active inside the context.

    Args:
        engine: an open model.
        attention: keep attention weights if PyTorch runs the model; the Thinker's time then includes computing them.
    """
    if has_modules(engine):
        return nullcontext(_ModuleObserver(cast("TorchEngine", engine), attention=attention))
    return _watching_graphs(engine)


@contextmanager
def _watching_graphs(engine: Engine) -> Iterator[Observer]:
    observer = GraphObserver(engine)
    with engine.watched(observer.record):
        yield observer


def has_modules(engine: Engine) -> bool:
    """Whether PyTorch runs the model, so its modules can be observed. Does not import torch."""
    return hasattr(engine, "speech_module")


class _ModuleObserver:
    """Observer of PyTorch modules: temporarily replaces the methods that declared steps name."""

    def __init__(self, engine: TorchEngine, *, attention: bool) -> None:
        import torch

        device = engine.device
        cuda = device.type == "cuda"
        self.recorder = TensorRecorder((lambda: torch.cuda.synchronize(device)) if cuda else lambda: None)
        self.every_place = True
        self.cached = "thinker" in engine.parts and Capability.CACHE in engine.declaration("thinker").capabilities
        self.attention: list[NDArray[np.float32]] = []
        self._engine, self._with_attention = engine, attention
        self._prefilled = False
        self._logits: Any = None  # (1,T,V)

    def inside(self, part: str, step: Step, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        with self._watching(part):
            return self.recorder.measure(step, call, *args, **kwargs)

    def think(self, step: Step, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The step is the Thinker's ``forward`` alone. The first call computes logits for every position, and records
        inner steps."""
        thinker, first, self._prefilled = self._engine.omni().thinker, not self._prefilled, True
        forward = thinker.forward

        def recorded(*given: Any, **options: Any) -> Any:
            if not first:
                return self.recorder.measure(step, forward, *given, **options)
            with ExitStack() as stack:
                stack.enter_context(self._watching("thinker"))
                self.attention = stack.enter_context(captured()) if self._with_attention else []
                output = self.recorder.measure(step, forward, *given, **{**options, "last_only": False})
            self._logits = output.logits
            return output

        thinker.forward = recorded
        try:
            return call(*args, **kwargs)
        finally:
            thinker.__dict__.pop("forward", None)

    def last_logits(self) -> NDArray[np.float32] | None:
        step = Step(at="", title="last place", what="only the logits after the last token are needed")
        last = self.recorder.measure(step, lambda logits: logits[0, -1], self._logits)
        self.recorder.note(counts=f"{plural(self._logits.shape[1], 'set')} of logits -> 1")
        made: NDArray[np.float32] = last.float().cpu().numpy()
        return made

    def embed(self, ids: Sequence[int]) -> NDArray[np.float32] | None:
        import torch

        with self._watching("thinker"), torch.inference_mode():
            rows = self._engine.omni().thinker.embed(torch.tensor([list(ids)], device=self._engine.device))
        made: NDArray[np.float32] = rows[0].float().cpu().numpy()
        return made

    def codes(self, frames: NDArray[Any]) -> Tensor:
        """(1,T,Q)."""
        import torch

        return torch.from_numpy(frames.astype(np.int64))[None].to(self._engine.device)

    def decode(self, codes: Tensor) -> Tensor:
        """(1,T,Q) -> (1,M,F), or (1,N) of a codec of waveforms."""
        import torch

        codec = self._engine.speech_module("codec")
        with torch.inference_mode():
            made: Tensor = codec.decode(codes)
            return made if is_waveform(codec) else codec.expand(made)

    def vocode(self, mel: Tensor) -> Tensor:
        """(1,M,F) -> (1,N)."""
        import torch

        with torch.inference_mode():
            wave: Tensor = self._engine.speech_module(self._engine.vocoder_name())(mel)
        return wave

    @contextmanager
    def _watching(self, part: str) -> Iterator[None]:
        engine = self._engine
        with ExitStack() as stack:
            if part == "vocoder":
                name = engine.vocoder_name()
                declaration, module = get_registry().get("vocoder", name).part, engine.speech_module(name)
            elif part in ("talker", "codec"):
                declaration, module = engine.declaration(part), engine.speech_module(part)
            else:
                omni = engine.omni()
                declaration = engine.declaration(part)
                module = omni.thinker if part == "thinker" else omni.encoders[part]
                if part != "thinker":
                    stack.enter_context(self.recorder.watching(omni, [_projector(part, omni.thinker.config.d_model)]))
            if declaration.steps is not None:
                steps = resolve(declaration.steps, f"{declaration.kind} {declaration.name}")(module)
                stack.enter_context(self.recorder.watching(module, list(steps)))
            elif part == "thinker" or part in engine.modalities:
                # Without declared steps, a speech part may call its layers hundreds of times.
                stack.enter_context(self.recorder.watching(module, default_steps(module)))
            yield


def _projector(modality: str, width: int) -> Step:
    return Step(
        at=f"projectors.{modality}",
        title="projector",
        what=f"linear layer to the Thinker's width, {width}",
        counts=lambda a, b: f"{plural(a[1], 'token')} of {a[2]} -> {plural(b[1], 'token')} of {b[2]}",
    )


class GraphObserver:
    """Observer of graphs: each step contains the graphs that it runs. The first run of a graph is a step; all further
    runs (hundreds for speech) are one more step, with the shapes and statistics of the last."""

    def __init__(self, engine: Engine) -> None:
        self.recorder = TensorRecorder()
        self.every_place, self.cached = False, True
        self.attention: list[NDArray[np.float32]] = []
        self._engine = engine
        # Further runs of each graph: their number, their seconds, and the number of their step once it exists.
        self._repeats: dict[tuple[str, str], tuple[int, float, int | None]] = {}

    def inside(self, part: str, step: Step, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:  # noqa: ARG002
        return self.think(step, call, *args, **kwargs)

    def think(self, step: Step, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        self._repeats.clear()
        return self.recorder.measure(step, call, *args, **kwargs)

    def record(self, call: GraphCall) -> None:
        """Record a run of a graph."""
        with self.recorder.untimed():
            key, title = (call.part, call.graph), f"{call.part}: {call.graph}"
            if key not in self._repeats:
                self._repeats[key] = 0, 0.0, None
                self.recorder.add(title=title, **_described(call, "one graph", call.seconds, 1))
                return
            count, seconds, number = self._repeats[key]
            count, seconds = count + 1, seconds + call.seconds
            what = "more runs of the graph; shapes and statistics of the last one"
            described = {"title": f"{title}, {count:,} more", **_described(call, what, seconds, count)}
            if number is None:
                number = self.recorder.add(**described)
            else:
                self.recorder.change(number, **described)
            self._repeats[key] = count, seconds, number

    def last_logits(self) -> None: ...

    def embed(self, ids: Sequence[int]) -> None: ...

    def codes(self, frames: NDArray[Any]) -> NDArray[Any]:
        """(T,Q)."""
        return frames

    def decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        """(T,Q) -> (M,F), or (N,) of a codec of waveforms."""
        return _flush(self._engine.codec().stream(), codes)

    def vocode(self, mel: NDArray[Any]) -> NDArray[Any]:
        """(M,F) -> (N,)."""
        return _flush(self._engine.vocoder(self._engine.vocoder_name()).stream(), mel)


def _flush(stream: ArrayStream, whole: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([stream.push(whole), stream.finish()])


def _described(call: GraphCall, what: str, seconds: float, calls: int) -> dict[str, Any]:
    """Fields of a graph's :class:`muomni_cli.trace.recorder.TraceStep`, without the title."""
    inputs, outputs = _tensors(call.inputs), _tensors(call.outputs)
    # Numbered states are counted: ``inputs_embeds + 8 x past_key_values -> logits + 8 x present``.
    taken, made = (counted(name.partition(".")[0] for name in names) for names in (call.inputs, call.outputs))
    return {
        "what": what,
        "inputs": tuple(array.shape for array in call.inputs.values()),
        "outputs": tuple(array.shape for array in call.outputs.values()),
        "ms": 1000 * seconds,
        "counts": f"{taken} -> {made}",
        "statistics": next(filter(None, map(statistics_of, call.outputs.values())), None),
        "values": {"part": call.part, "graph": call.graph, "calls": calls, "inputs": inputs, "outputs": outputs},
    }


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    found = {}
    for name, array in arrays.items():
        numbers = statistics_of(array)
        described = {"shape": list(array.shape), "type": str(array.dtype)}
        found[name] = {**described, "statistics": None if numbers is None else asdict(numbers)}
    return found

"""A trace as the command requests it: the engine and the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError, how_to_install
from muomni_cli.data.media import attachments
from muomni_cli.models.engines import modalities_of, open_run
from muomni_cli.trace.report import answer_of
from muomni_cli.trace.trace import QuestionTrace, SpeechTrace, trace_question, trace_speech
from muomni_cli.voice.synthesis import voice_of

if TYPE_CHECKING:
    from muomni_cli.contract.engine import Engine
    from muomni_cli.models.locate import BundleFolder, ModelRef
    from muomni_cli.trace.recorder import TraceStep


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """What to trace."""

    text: str  # the question; for a model without a Thinker, the text to speak
    media: Sequence[str]  # its inputs, ``NAME=FILE`` each
    tokens: int  # maximum tokens of the answer
    speech: bool  # also speak the answer
    loop_guard: bool | None = None  # stop the answer before it repeats itself; None for the recipe's setting
    attention: bool = False  # keep attention weights


@dataclass(frozen=True, slots=True)
class Trace:
    """Recorded steps of a question, of speech, or of both."""

    question: QuestionTrace | None
    speech: SpeechTrace | None

    @property
    def steps(self) -> list[TraceStep]:
        """All steps, in order."""
        return [step for one in (self.question, self.speech) if one is not None for step in one.steps]


def graphs_to_trace(found: ModelRef, engine: str) -> BundleFolder | None:
    """The bundle whose graphs are traced; None to trace the modules of a run, which needs PyTorch.

    Args:
        found: the model.
        engine: ``torch``, ``bundle``, or ``auto``: torch where possible, else a message says why not.

    Raises:
        RequestError: ``bundle`` is requested, but there is none.
    """
    if engine == "torch" or (engine == "auto" and found.bundle is None):
        return None
    if found.bundle is None:
        raise RequestError("this model is a run and has no bundle", "leave --engine out, or export it: muomni export")
    if engine == "bundle":
        return found.bundle
    if found.folder is None:
        say("tracing the graphs of the bundle; to trace inside its parts, name the run it was exported from")
    elif find_spec("torch") is None:
        say(f"tracing the graphs of the bundle; tracing inside its parts needs PyTorch: {how_to_install(['torch'])}")
    else:
        return None
    return found.bundle


def engine_to_trace(found: ModelRef, engine: str, device: str, threads: int | None) -> Engine:
    """The engine of a trained model; see :func:`graphs_to_trace`."""
    bundle = graphs_to_trace(found, engine)
    if bundle is not None:
        return bundle.open(device, threads)
    return open_run(found.run(), found.weights, device=device, threads=threads)


def recipe_to_trace(recipe: str, device: str, threads: int | None) -> Engine:
    """The engine of a recipe, with random weights. RequestError if there is no such recipe."""
    from muomni_cli.models.untrained_engine import recipe_engine

    engine = recipe_engine(recipe, device=device, threads=threads)
    say(f"{engine.label}: random weights; the shapes are real, the answer is noise")
    return engine


def trace(engine: Engine, request: TraceRequest, *, untrained: bool = False) -> Trace:
    """Trace the question, its answer, and optionally speaking the answer.

    Args:
        engine: an open model.
        request: what to trace.
        untrained: the weights are random: speak the question, because little of the answer can be spoken.

    Raises:
        RequestError: the model cannot fulfill the request.
    """
    if request.speech:
        voice = voice_of(engine)
        if not untrained:
            say(f"voice: {voice.label}, vocoder {voice.vocoder_name}")
    question = None
    if not request.speech or "thinker" in engine.parts:
        if not untrained and "thinker" in engine.parts:
            say(f"model: {engine.source('thinker')}")
        media = attachments(request.media, modalities_of(engine))
        guard, weights = request.loop_guard, request.attention
        question = trace_question(engine, request.text, media, request.tokens, say, loop_guard=guard, attention=weights)
    elif request.media:
        raise RequestError("this model has no Thinker, so it takes no media", "trace text only")
    if not request.speech:
        return Trace(question, None)
    answer = answer_of(question.steps) if question is not None and not untrained else ""
    return Trace(question, trace_speech(engine, answer or request.text))

"""A trace as it is asked for, of whatever runs the model. Imports torch only for modules of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.core.extras import how_to_install
from muomni_cli.data.attachments import attachments
from muomni_cli.models.engines import senses_of
from muomni_cli.trace.lines import Line
from muomni_cli.trace.tellers import answer_of

if TYPE_CHECKING:
    from muomni_cli.contract.engine import Engine
    from muomni_cli.models.bundle import BundleFolder
    from muomni_cli.models.find import Found


@dataclass(frozen=True, slots=True)
class Asked:
    """A question.

    Args:
        text: of it.
        words: its media, ``NAME=FILE`` each.
        tokens: to answer with.
        speech: whether the answer is spoken, too.
        loop_guard: end the answer before it repeats itself; as the model's recipe says if None.
    """

    text: str
    words: Sequence[str]
    tokens: int
    speech: bool
    loop_guard: bool | None = None

    def require_no_media(self) -> None:
        """For a model without a Thinker. RequestError if there are some."""
        if self.words:
            raise RequestError("this model has no Thinker, so it can neither see nor hear", "trace text alone")


def graphs_to_trace(found: Found, engine: str) -> BundleFolder | None:
    """The bundle whose graphs are traced; None where the modules of a run are. A model that has both is traced inside
    of its parts, which needs PyTorch; where that cannot be, a line says how it could.

    Args:
        found: the model.
        engine: ``torch``, ``bundle``, or ``auto``: torch where it can be.

    Raises:
        RequestError: it has no bundle, and ``bundle`` is asked for.
    """
    if engine == "torch" or (engine == "auto" and found.bundle is None):
        return None
    if found.bundle is None:
        raise RequestError("this model is a run and has no bundle", "leave --engine out, or export it: muomni export")
    if engine == "bundle":
        return found.bundle
    if found.folder is None:
        say("tracing the graphs of the bundle; for the insides of its parts, name the run that it was exported from")
    elif find_spec("torch") is None:
        say(f"tracing the graphs of the bundle; the insides of its parts need PyTorch: {how_to_install(['torch'])}")
    else:
        return None
    return found.bundle


def of_packed(packed: Engine, asked: Asked) -> list[Line]:
    """Of a model without PyTorch: every graph that is run."""
    from muomni_cli.trace.packed import trace_packed, trace_packed_speech

    say(f"model: {packed.label}")
    lines: list[Line] = []
    if not asked.speech or "thinker" in packed.parts:
        media = attachments(asked.words, senses_of(packed))
        lines = trace_packed(packed, asked.text, media, asked.tokens, say, loop_guard=asked.loop_guard)
    else:
        asked.require_no_media()
    return lines + (trace_packed_speech(packed, answer_of(lines) or asked.text) if asked.speech else [])


def of_modules(recipe: str | None, model: str | None, device: str, threads: int | None, asked: Asked) -> list[Line]:
    """Of a recipe with random weights, or of a run: every step inside of its parts.

    Args:
        recipe: its name or file, if it is one.
        model: a run otherwise.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: of the CPU.
        asked: what.
    """
    from muomni_cli.layers.device import set_threads
    from muomni_cli.trace.aloud import trace_speech
    from muomni_cli.trace.open import open_recipe, open_recipe_mouth, open_run, open_run_mouth
    from muomni_cli.trace.run import trace

    set_threads(threads or 0)
    mouth = (open_recipe_mouth(recipe, device) if recipe else open_run_mouth(model, device)) if asked.speech else None
    lines: list[Line] = []
    if mouth is None or mouth.thinks:
        subject = open_recipe(recipe, device) if recipe else open_run(model, device)
        media = attachments(asked.words, subject.model.senses)
        lines = trace(subject, asked.text, media, asked.tokens, say, loop_guard=asked.loop_guard)
    else:
        asked.require_no_media()
    if mouth is not None:
        # What random weights answer is noise, of which hardly anything can be spoken.
        lines += trace_speech(mouth, asked.text if recipe else answer_of(lines) or asked.text)
    return lines

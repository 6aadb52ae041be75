"""Who speaks a corpus: the teacher of a source of data, or a trained model. Imports torch only for a model."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

from muomni_cli.contract.declarations import DatasetPart
from muomni_cli.contract.speech import Said, Teacher
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.registry import Registered, get_registry, resolve

HOW = "install a plugin that has one, or let a trained model speak: --model RUN"


@dataclass(frozen=True, slots=True)
class Speaker:
    """A teacher, a ``name`` that tells its voices from those of others, and how many texts it is given at a time."""

    teacher: Teacher
    name: str
    at_once: int = 1


def find_speaker(name: str | None, voice: str | None, model: str | None) -> Speaker:
    """Who speaks.

    Args:
        name: of the source of data whose teacher it is; the first that has one.
        voice: its voice; its first.
        model: a run that speaks in its place.

    Raises:
        RequestError: there is none, it has no such voice, or something that it needs is missing.
    """
    if model is not None:
        own = ModelTeacher(model, voice)
        return Speaker(own, own.name)
    registered = _named(name) if name is not None else _first()
    assert isinstance(registered.part, DatasetPart), "all parts of that kind are"
    assert registered.part.teacher is not None, "both have looked"
    teacher: Teacher = resolve(registered.part.teacher, f"the teacher {registered.use}")(voice)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Speaker(teacher, f"{registered.plugin.name}:{registered.part.name}", cores)


def _teachers() -> list[Registered]:
    offers = get_registry().all(DatasetPart.kind)
    return [one for one in offers if isinstance(one.part, DatasetPart) and one.part.teacher is not None]


def _first() -> Registered:
    found = _teachers()
    if not found:
        raise RequestError("no installed source of data has a teacher", HOW)
    return found[0]


def _named(name: str) -> Registered:
    registered = get_registry().get(DatasetPart.kind, name)
    if registered not in _teachers():
        names = ", ".join(one.use for one in _teachers())
        raise RequestError(f"{name} has no teacher", f"these have: {names}" if names else HOW)
    return registered


class ModelTeacher:
    """A :class:`muomni_cli.contract.speech.Teacher`: a trained model. One text at a time.

    Raises:
        RequestError: it cannot speak, or has no such voice.
    """

    def __init__(self, model: str, voice: str | None) -> None:
        from muomni_cli.models.engines import CAN_SPEAK, open_engine
        from muomni_cli.speaking.speech import Drawing
        from muomni_cli.speaking.voice import voice_of

        engine = open_engine(model, CAN_SPEAK)
        self._voice = voice_of(engine)
        weights = Path(engine.source("talker"))
        self.name = f"{weights.resolve()}:{weights.stat().st_mtime_ns}"  # trained again, it is another speaker
        self._manner = self._voice.manner(voice)
        self._drawing = Drawing(max_seconds=600.0)
        names = self._voice.talker.voices
        self.voice = voice or (names[0] if names else weights.resolve().parent.parent.name)

    def say(self, text: str) -> bytes:
        """WAV at the model's rate; the same samples for the same text each time."""
        import numpy as np
        import soundfile  # type: ignore[import-untyped]

        pieces = list(self._voice.say([Said(text)], self._manner, self._drawing))
        if not pieces:
            raise RequestError(f"the model said nothing for {text[:40]!r}", "leave that text out")
        file = io.BytesIO()
        soundfile.write(file, np.concatenate(pieces), self._voice.sample_rate, subtype="PCM_16", format="WAV")
        return file.getvalue()

"""Voices of speech programs by name, ``program:voice``, whichever plugin declares the program."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from muomni_cli.contract.declarations import Part, SpeechProgramPart
from muomni_cli.contract.speech import SpeechProgram
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.registry import did_you_mean, get_registry, resolve


def voices_named(patterns: Sequence[str]) -> list[str]:
    """All voices ``program:voice`` that the patterns match (``*`` stands for any letters), in their order. Raises
    RequestError: one matches none."""
    programs = get_registry().all(SpeechProgramPart.kind)
    known = [f"{entry.use}:{voice}" for entry in programs for voice in _declared(entry.part).voices]
    found: list[str] = []
    for pattern in patterns:
        matching = [voice for voice in known if fnmatchcase(voice, pattern)]
        if not matching:
            raise RequestError(
                f"no speech program has a voice {pattern!r}",
                did_you_mean(pattern, known, "see all: muomni plugins list --kind speech-program"),
            )
        found += [voice for voice in matching if voice not in found]
    return found


def require_voices(voices: Iterable[str]) -> None:
    """Raise RequestError if the program of one of the voices ``program:voice`` is not installed, or lacks it."""
    wanted: dict[str, list[str]] = {}
    for voice in voices:
        program, _, name = voice.rpartition(":")
        wanted.setdefault(program, []).append(name)
    for program, names in wanted.items():
        open_program(program).require(names)


def program_files(voices: Iterable[str]) -> list[Path]:
    """The files that decide what the voices' programs say, of those that are installed."""
    programs = dict.fromkeys(voice.rpartition(":")[0] for voice in voices)
    return [file for program in programs if (file := open_program(program).file)]


def speak(text: str, voice: str, stretch: float, pitch: float) -> bytes:
    """A text in a voice ``program:voice``, as a WAV file; see :meth:`SpeechProgram.say`."""
    import soundfile  # type: ignore[import-untyped]

    program, _, name = voice.rpartition(":")
    samples, rate = open_program(program).say(text, name, stretch, pitch)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


@cache
def open_program(name: str) -> SpeechProgram:
    """The speech program of this name, with its default settings. Raises RequestError: there is none."""
    entry = get_registry().get(SpeechProgramPart.kind, name)
    program: SpeechProgram = resolve(entry.part.build, f"speech program {name}")(entry.part.config())
    return program


def _declared(part: Part) -> SpeechProgramPart:
    assert isinstance(part, SpeechProgramPart), "all parts of that kind are"
    return part

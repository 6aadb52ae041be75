"""Synthetic speech: any text, spoken by a speech program when the example is opened.

Durations and pitch vary a little, by seed, so that no text sounds the same twice. The programs are those of
:mod:`muomni_datasets.voices`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import BinaryIO, Literal

from muomni_cli.api import Example, RequestError, cut_sentences
from muomni_datasets.config import SIDES
from muomni_datasets.grammar import made
from muomni_datasets.holdout import Holdout
from muomni_datasets.made_config import SpokenConfig, unsayable
from muomni_datasets.plots import Chance
from muomni_datasets.reading import Files
from muomni_datasets.voices import PITCH, Program, choose_program, program_files, require_voices, synthesize


@dataclass(frozen=True, slots=True)
class SpokenMedia:
    """A text in a voice. Opens as WAV. ``stretch`` and ``pitch``: relative to the voice's own duration and pitch."""

    modality: str
    text: str
    voice: str
    stretch: float
    pitch: float
    program: Program = "flite"

    @property
    def name(self) -> str:
        """How the text begins, and who says it."""
        return f"{self.text[:40]!r} said by {_label(self.program, self.voice)}"

    @property
    def facts(self) -> Mapping[str, str]:
        """Who says it."""
        return {"voice": _label(self.program, self.voice)}

    def open(self) -> BinaryIO:
        """See :class:`muomni_cli.api.Media`."""
        return io.BytesIO(synthesize(self.program, self.text, self.voice, self.stretch, self.pitch))


class Spoken:
    """The texts of a table of a recipe, each in a voice that the seed chooses."""

    def __init__(self, config: SpokenConfig) -> None:
        self._config = config
        self._files = Files(config, (".txt",))
        self._holdout = Holdout(config.holdout)

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    @property
    def remarks(self) -> list[str]:
        return self._holdout.remarks

    def files(self) -> list[Path]:
        listed = self._config.sentences or self._config.words or self._config.patterns
        texts = [] if listed else self._files.paths()
        return [*texts, *program_files(self._config.program)]

    def documents(self) -> Iterator[Example]:
        program = choose_program(self._config.program)
        require_voices(program, self._config.voices)
        count = self._config.count
        for index, text in enumerate(islice(cycle(self._texts()), count) if count else self._texts()):
            chance = Chance(f"spoken/{self._config.seed}/{index}")
            voice = chance.one(self._config.voices)
            stretch = round(chance.between(*self._config.stretch), 2)
            pitch = chance.between(*self._config.pitch)
            label = _label(program, voice)
            key = text if self._config.key == "text" else label
            yield Example(
                media=SpokenMedia("audio", text, voice, stretch, pitch, program),
                text=text,
                key=key,
                label=text if self._config.words else None,
                source="spoken",
                split=self._side(key),
                voice=label,
            )

    def _side(self, key: str) -> Literal["train", "val"] | None:
        if not self._holdout:
            return SIDES[self._config.split]
        return "val" if self._holdout.finds(key) else "train"

    def _texts(self) -> Iterator[str]:
        listed = self._config.words or self._config.sentences
        if listed:
            yield from listed
        elif self._config.patterns:
            yield from made(self._config.patterns, self._config.slots, self._config.seed)
        else:
            for path in self._files.paths():
                yield from self._texts_of(path)

    def _texts_of(self, path: Path) -> Iterator[str]:
        if self._config.cut == "sentences":
            yield from cut_sentences(self._files.lines(path), self._config.min_words, self._config.max_words)
            return
        for number, line in enumerate(self._files.lines(path), start=1):
            text = line.strip()
            if reason := unsayable(text) if text else "":
                self._files.note(path, f"line {number} {reason}")
            elif text:
                yield text


def build(config: SpokenConfig) -> Spoken:
    """A source of spoken text."""
    return Spoken(config)


class SpeechProgram:
    """A :class:`muomni_cli.contract.speech.Teacher`: one voice of a speech program, at its own speed and pitch."""

    def __init__(self, program: Program, voice: str) -> None:
        self._program, self._voice = program, voice
        self.voice = _label(program, voice)

    def say(self, text: str) -> bytes:
        """WAV at the program's rate."""
        if reason := unsayable(text):
            raise RequestError(f"{self._program} cannot say {text[:40]!r}: it {reason}", "leave that text out")
        return synthesize(self._program, text, self._voice, 1.0, 1.0)


def teacher(voice: str | None) -> SpeechProgram:
    """The voice of that name: of flite, or "hibari". None: slt, the clearest of flite; hibari where flite is missing.

    Raises:
        RequestError: there is no such voice, or nothing that speaks is installed.
    """
    if voice == "hibari":
        return SpeechProgram(choose_program("hibari"), _CLEAREST)
    if voice is not None and voice not in PITCH:
        raise RequestError(f"there is no voice {voice!r}", f"voices: {', '.join(PITCH)} (flite), hibari")
    program = choose_program("auto" if voice is None else "flite")
    require_voices(program, [voice or _CLEAREST])
    return SpeechProgram(program, voice or _CLEAREST)


_CLEAREST = next(iter(PITCH))


def _label(program: Program, voice: str) -> str:
    """The name of a voice for people, splits and Talkers."""
    if program == "flite":
        return voice
    return "hibari" if voice == _CLEAREST else f"hibari-{voice}"

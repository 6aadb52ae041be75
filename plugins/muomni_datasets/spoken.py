"""A teacher's voice: any text, spoken by the program flite when the example is opened.

flite (Carnegie Mellon University, free licence) is small and some fifty times faster than speech. Durations and pitch
vary a little, by seed, so that a text is not heard twice in the same way.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
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

PITCH = {"slt": 172, "awb": 130, "kal16": 95, "rms": 100}
"""Mean pitch of each voice in Hz. What rms says follows its recordings, whatever is asked for."""

PATIENCE = 60
"""Seconds that flite may take; it takes a fraction of one."""


@dataclass(frozen=True, slots=True)
class SpokenMedia:
    """A text in a voice. Opens as WAV, 16 kHz."""

    modality: str
    text: str
    voice: str
    stretch: float
    pitch: int

    @property
    def name(self) -> str:
        """How the text begins, and who says it."""
        return f"{self.text[:40]!r} said by {self.voice}"

    @property
    def facts(self) -> Mapping[str, str]:
        """Who says it."""
        return {"voice": self.voice}

    def open(self) -> BinaryIO:
        """See :class:`muomni_cli.api.Media`."""
        settings = ["--setf", f"duration_stretch={self.stretch}", "--setf", f"int_f0_target_mean={self.pitch}"]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "said.wav"
            command = [_flite(), "-voice", self.voice, *settings, "-t", self.text, "-o", str(file)]
            try:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
                )
                sound = file.read_bytes()
            except (OSError, ValueError, subprocess.TimeoutExpired) as error:
                raise RequestError(f"flite did not say {self.text[:40]!r}: {error}", "leave that text out") from error
        if done.returncode:
            raise RequestError(
                f"flite failed on {self.text[:40]!r} (exit code {done.returncode})", "leave that text out"
            )
        return io.BytesIO(sound)


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
        return [] if listed else self._files.paths()

    def documents(self) -> Iterator[Example]:
        _require_voices(self._config.voices)
        count = self._config.count
        for index, text in enumerate(islice(cycle(self._texts()), count) if count else self._texts()):
            chance = Chance(f"spoken/{self._config.seed}/{index}")
            voice = chance.one(self._config.voices)
            stretch = round(chance.between(*self._config.stretch), 2)
            pitch = round(PITCH[voice] * chance.between(*self._config.pitch))
            key = text if self._config.key == "text" else voice
            yield Example(
                media=SpokenMedia("audio", text, voice, stretch, pitch),
                text=text,
                key=key,
                label=text if self._config.words else None,
                source="spoken",
                split=self._side(key),
                voice=voice,
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


class Flite:
    """A :class:`muomni_cli.api.Teacher`: one voice of flite, at its own speed and pitch."""

    def __init__(self, voice: str) -> None:
        self.voice = voice

    def say(self, text: str) -> bytes:
        """WAV, 16 kHz."""
        if reason := unsayable(text):
            raise RequestError(f"flite cannot say {text[:40]!r}: it {reason}", "leave that text out")
        return SpokenMedia("audio", text, self.voice, 1.0, PITCH[self.voice]).open().read()


def teacher(voice: str | None) -> Flite:
    """The voice of that name; slt, the clearest, where none is named."""
    if voice is not None and voice not in PITCH:
        raise RequestError(f"the program flite has no voice {voice!r}", f"its voices: {', '.join(PITCH)}")
    chosen = voice or next(iter(PITCH))
    _require_voices([chosen])
    return Flite(chosen)


def _require_voices(voices: Sequence[str]) -> None:
    """Refuse a voice that this flite does not have: it would speak with another one, and say nothing of it."""
    told = subprocess.run([_flite(), "-lv"], stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    _, _, names = told.stdout.partition("Voices available:")
    lacking = sorted(set(voices) - set(names.split()))
    if names and lacking:
        raise RequestError(
            f"the program flite has no voice {', '.join(lacking)}", f"write voices = [...] of these: {names.strip()}"
        )


def _flite() -> str:
    program = shutil.which("flite")
    if program is None:
        raise RequestError(
            "the program flite, which speaks these texts, is not installed",
            "install it: apt install flite (Debian, Ubuntu), brew install flite (macOS)",
        )
    return program

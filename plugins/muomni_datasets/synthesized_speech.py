"""Synthesized speech: any text, spoken by a speech program when the example is opened.

The programs are flite, a command, and hibari, a Python package, about 65 and 118 times faster than real time on one
core. Duration and pitch vary a little, by seed.
"""

from __future__ import annotations

import importlib.util
import io
import random
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from muomni_cli.api import Example, RequestError, cut_sentences, expand_path, speech_programs
from muomni_cli.structured_output.command_grammar import read_grammar
from muomni_datasets.config import LONGEST, SIDES, SpokenConfig, unsayable
from muomni_datasets.story_plots import StoryRandom, made
from muomni_datasets.text import Files, FilesSource, Holdout

if TYPE_CHECKING:
    from hibari import Hibari

Program = Literal["flite", "hibari"]
Choice = Literal["auto", "flite", "hibari"]  # the setting of a recipe; "auto": flite if installed, else hibari

PITCH = {"slt": 172, "awb": 130, "kal16": 95, "rms": 100}
"""Mean pitch of flite's voices in Hz. rms is concatenative and ignores it."""

HIBARI_PITCH = {"slt": 1.0, "awb": 0.86, "kal16": 0.78, "rms": 0.92}
"""Relative pitch and formants of hibari's one voice as a replacement of flite's voices."""

CLEAREST = "slt"
TIMEOUT = 60  # time limit of flite in seconds; it usually takes a fraction of one
INSTALL = "install one: apt install flite (Debian, Ubuntu), brew install flite (macOS), or pip install 'muomni[voices]'"


def choose_program(asked: Choice) -> Program:
    """The speech program to use. Raises RequestError: it is not installed."""
    if asked != "hibari" and shutil.which("flite"):
        return "flite"
    if asked != "flite" and importlib.util.find_spec("hibari"):
        return "hibari"
    if asked == "auto":
        raise RequestError("no speech program is installed (flite or hibari)", INSTALL)
    raise RequestError(f"{asked}, which speaks these texts, is not installed", INSTALL)


def program_files(asked: Choice) -> list[Path]:
    """The file that determines the output of the chosen program; empty if none is installed."""
    flite = shutil.which("flite")
    if asked != "hibari" and flite:
        return [Path(flite)]
    found = importlib.util.find_spec("hibari") if asked != "flite" else None
    return [Path(found.origin).parent / "assets" / "hibari.onnx"] if found and found.origin else []


def synthesize(program: Program, text: str, voice: str, stretch: float, pitch: float) -> bytes:
    """Speak a printable English text with a voice of flite (hibari replaces it by :data:`HIBARI_PITCH`) and return WAV.
    ``stretch`` and ``pitch`` are duration and pitch, relative to the voice's own. Raises RequestError: the program
    failed."""
    if program == "flite":
        return _say_flite(text, voice, stretch, round(PITCH[voice] * pitch))
    return _say_hibari(text, stretch, HIBARI_PITCH[voice] * pitch)


def require_voices(program: Program, voices: Sequence[str]) -> None:
    """Check that the installed flite has the voices: it would silently use another one. Raises RequestError: it has
    not."""
    if program != "flite":
        return
    listed = subprocess.run([_flite(), "-lv"], stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True)
    _, _, names = listed.stdout.partition("Voices available:")
    lacking = ", ".join(sorted(set(voices) - set(names.split())))
    if names and lacking:
        raise RequestError(f"the program flite has no voice {lacking}", f"set voices to some of: {names.strip()}")


def _say_flite(text: str, voice: str, stretch: float, pitch: int) -> bytes:
    settings = ["--setf", f"duration_stretch={stretch}", "--setf", f"int_f0_target_mean={pitch}"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        command = [_flite(), "-voice", voice, *settings, "-t", text, "-o", str(file)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
            sound = file.read_bytes()
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise RequestError(f"flite failed on {text[:40]!r}: {error}", "remove that text") from error
    if done.returncode:
        raise RequestError(f"flite failed on {text[:40]!r} (exit code {done.returncode})", "remove that text")
    return sound


def _flite() -> str:
    program = shutil.which("flite")
    if program is None:
        raise RequestError("flite, which speaks these texts, is not installed", INSTALL)
    return program


def _say_hibari(text: str, stretch: float, pitch: float) -> bytes:
    """Pitch is changed by the declared sample rate, so the formants move with it as between speakers; ``speed``
    compensates for the duration."""
    import soundfile  # type: ignore[import-untyped]

    engine = _hibari()
    samples = engine(text, speed=min(max(1 / (stretch * pitch), 0.5), 2.0), seed=zlib.crc32(text.encode()))
    if not len(samples):
        raise RequestError(f"hibari returned no sound for {text[:40]!r}", "remove that text")
    file = io.BytesIO()
    soundfile.write(file, samples.clip(-1, 1), round(engine.sample_rate * pitch), subtype="PCM_16", format="WAV")
    return file.getvalue()


@cache
def _hibari() -> Hibari:
    from hibari import Hibari

    return Hibari()


@dataclass(frozen=True, slots=True)
class SpokenMedia:
    """A text in a voice, opened as WAV; arguments as of :func:`synthesize`."""

    modality: str
    text: str
    voice: str
    stretch: float
    pitch: float
    program: Program = "flite"

    @property
    def name(self) -> str:
        return f"{self.text[:40]!r} said by {_label(self.program, self.voice)}"

    @property
    def facts(self) -> Mapping[str, str]:
        return {"voice": _label(self.program, self.voice)}

    def open(self) -> BinaryIO:
        return io.BytesIO(synthesize(self.program, self.text, self.voice, self.stretch, self.pitch))


@dataclass(frozen=True, slots=True)
class VoicedMedia:
    """A text in a voice ``program:voice``, opened as WAV; arguments as of
    :func:`muomni_cli.data.speech_programs.speak`."""

    modality: str
    text: str
    voice: str
    stretch: float
    pitch: float

    @property
    def name(self) -> str:
        return f"{self.text[:40]!r} said by {self.voice}"

    @property
    def facts(self) -> Mapping[str, str]:
        return {"voice": self.voice}

    def open(self) -> BinaryIO:
        return io.BytesIO(speech_programs.speak(self.text, self.voice, self.stretch, self.pitch))


def with_pauses(text: str, rng: StoryRandom) -> str:
    """A text with a comma after one or several of its words."""
    words = text.split()
    for place in range(len(words) - 1):
        if words[place][-1].isalnum() and rng.between(0, 1) < 1.5 / len(words):
            words[place] += ","
    return " ".join(words)


def said_by(grammar: str, seed: int) -> Iterator[str]:
    """Endless random sentences of a grammar's file, none with a slot twice. RequestError: it is no grammar."""
    try:
        rules = read_grammar(expand_path(grammar))
    except ValueError as error:
        raise RequestError(f"the grammar cannot be used: {error}", "correct its file") from error
    rng = random.Random(seed)
    while True:
        sentence, command = rules.sentence(rng)
        if sentence and len(sentence) <= LONGEST and command.intent:
            yield sentence


class SpokenSentences(FilesSource):
    """A source of texts, each in a random voice."""

    def __init__(self, config: SpokenConfig) -> None:
        super().__init__(Files(config, (".txt",)), Holdout(config.holdout))
        self._config = config

    def files(self) -> list[Path]:
        listed = self._config.sentences or self._config.words or self._config.patterns
        texts = [] if listed else [expand_path(self._config.grammar)] if self._config.grammar else self._files.paths()
        return [*texts, *self._program_files()]

    def _program_files(self) -> list[Path]:
        if ":" in self._config.voices[0]:
            return speech_programs.program_files(speech_programs.voices_named(self._config.voices))
        return program_files(self._config.program)

    def documents(self) -> Iterator[Example]:
        if ":" in self._config.voices[0]:
            yield from self._by_named_voices()
            return
        program = choose_program(self._config.program)
        require_voices(program, self._config.voices)
        count = self._config.count
        for index, text in enumerate(islice(cycle(self._texts()), count) if count else self._texts()):
            rng = StoryRandom(f"spoken/{self._config.seed}/{index}")
            voice = rng.one(self._config.voices)
            stretch = round(rng.between(*self._config.stretch), 2)
            pitch = rng.between(*self._config.pitch)
            label = _label(program, voice)
            key = text if self._config.key == "text" else label
            yield Example(
                media=SpokenMedia("audio", text, voice, stretch, pitch, program),
                text=text,
                key=key,
                label=text if self._config.words else None,
                source="spoken",
                split=self._holdout.side(key) or SIDES[self._config.split],
                voice=label,
            )

    def _by_named_voices(self) -> Iterator[Example]:
        """Examples in voices ``program:voice``."""
        config = self._config
        voices = speech_programs.voices_named(config.voices)
        speech_programs.require_voices(voices)
        texts = islice(cycle(self._texts()), config.count) if config.count else self._texts()
        for index, text in enumerate(texts):
            rng = StoryRandom(f"spoken/{config.seed}/{index}")
            voice = rng.one(voices)
            stretch, pitch = round(rng.between(*config.stretch), 2), round(rng.between(*config.pitch), 2)
            said = with_pauses(text, rng) if rng.between(0, 1) < config.pauses else text
            key = text if config.key == "text" else voice
            yield Example(
                media=VoicedMedia("audio", said, voice, stretch, pitch),
                text=text,
                key=key,
                label=text if config.words else None,
                source="spoken",
                split=self._holdout.side(key) or SIDES[config.split],
                voice=voice.rpartition(":")[2],  # as a Talker's users name it
            )

    def _texts(self) -> Iterator[str]:
        config = self._config
        if listed := config.words or config.sentences:
            yield from listed
        elif config.patterns:
            yield from made(config.patterns, config.slots, config.seed)
        elif config.grammar:
            yield from said_by(config.grammar, config.seed)
        elif config.cut == "sentences":
            for path in self._files.paths():
                lines = (line for _, line in self._files.lines(path))
                yield from cut_sentences(lines, config.min_words, config.max_words)
        else:
            for path in self._files.paths():
                for number, line in self._files.lines(path):
                    text = line.strip()
                    if reason := unsayable(text) if text else "":
                        self._files.note(path, reason, f"line {number}")
                    elif text:
                        yield text


class SpeechProgram:
    """A :class:`muomni_cli.contract.speech.Synthesizer`: one voice of a speech program at its natural speed and
    pitch."""

    def __init__(self, program: Program, voice: str) -> None:
        self._program, self._voice, self.voice = program, voice, _label(program, voice)

    def say(self, text: str) -> bytes:
        if reason := unsayable(text):
            raise RequestError(f"{self._program} cannot speak {text[:40]!r}: it {reason}", "remove that text")
        return synthesize(self._program, text, self._voice, 1.0, 1.0)


def synthesizer(voice: str | None) -> SpeechProgram:
    """A voice of flite, or "hibari". None: slt, the clearest of flite, or hibari if flite is not installed. Raises
    RequestError: there is no such voice, or its program is not installed."""
    if voice == "hibari":
        return SpeechProgram(choose_program("hibari"), CLEAREST)
    if voice is not None and voice not in PITCH:
        raise RequestError(f"there is no voice {voice!r}", f"voices: {', '.join(PITCH)} (flite), hibari")
    program = choose_program("auto" if voice is None else "flite")
    require_voices(program, [voice or CLEAREST])
    return SpeechProgram(program, voice or CLEAREST)


def _label(program: Program, voice: str) -> str:
    """The name of a voice in messages, splits and Talkers."""
    if program == "flite":
        return voice
    return "hibari" if voice == CLEAREST else f"hibari-{voice}"

"""``muomni data synthesize``: a speech dataset from text, spoken by a speech synthesizer or a trained model."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import soundfile  # type: ignore[import-untyped]

from muomni_cli.contract.declarations import DatasetPart
from muomni_cli.contract.speech import Synthesizer, TextChunk
from muomni_cli.core.console import duration
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import open_regular, replacing, write_text
from muomni_cli.core.text import cut_sentences
from muomni_cli.registry.registry import RegisteredPart, get_registry, resolve

HOW = "install a plugin that has one, or use a trained model: --model RUN"

LIST = "speech.jsonl"

SOUNDS = "audio"

AT_ONCE = 64
"""Sentences submitted to the synthesizer before waiting for the first."""

TOLD = 5.0
"""Seconds between two lines of progress."""

Format = Literal["wav", "flac"]


@dataclass(frozen=True, slots=True)
class SynthesizerChoice:
    """A synthesizer, a ``name`` that distinguishes its voices from those of others, and its number of parallel
    texts."""

    synthesizer: Synthesizer
    name: str
    at_once: int = 1


def choose_synthesizer(name: str | None, voice: str | None, model: str | None) -> SynthesizerChoice:
    """Choose the synthesizer.

    Args:
        name: dataset plugin whose synthesizer to use; None for the first that has one.
        voice: voice name; None for the first.
        model: a run to use instead.

    Raises:
        RequestError: there is none, it has no such voice, or a dependency is missing.
    """
    if model is not None:
        own = ModelSynthesizer(model, voice)
        return SynthesizerChoice(own, own.name)
    registered = _named(name) if name is not None else _first()
    assert isinstance(registered.part, DatasetPart), "the registry checks the kind"
    assert registered.part.synthesizer is not None, "_named and _first check it"
    synthesizer: Synthesizer = resolve(registered.part.synthesizer, f"the synthesizer {registered.use}")(voice)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return SynthesizerChoice(synthesizer, f"{registered.plugin.name}:{registered.part.name}", cores)


def _synthesizers() -> list[RegisteredPart]:
    offers = get_registry().all(DatasetPart.kind)
    return [one for one in offers if isinstance(one.part, DatasetPart) and one.part.synthesizer is not None]


def _first() -> RegisteredPart:
    found = _synthesizers()
    if not found:
        raise RequestError("no installed dataset plugin has a speech synthesizer", HOW)
    return found[0]


def _named(name: str) -> RegisteredPart:
    registered = get_registry().get(DatasetPart.kind, name)
    if registered not in _synthesizers():
        names = ", ".join(one.use for one in _synthesizers())
        raise RequestError(f"{name} has no speech synthesizer", f"these have one: {names}" if names else HOW)
    return registered


class ModelSynthesizer:
    """A trained model as a :class:`muomni_cli.contract.speech.Synthesizer`; one text at a time.

    Raises:
        RequestError: it cannot speak, or has no such voice.
    """

    def __init__(self, model: str, voice: str | None) -> None:
        from muomni_cli.models.engines import CAN_SPEAK, open_engine
        from muomni_cli.voice.synthesis import SpeechSampling, voice_of

        engine = open_engine(model, CAN_SPEAK)
        self._voice = voice_of(engine)
        weights = Path(engine.source("talker"))
        self.name = f"{weights.resolve()}:{weights.stat().st_mtime_ns}"  # retrained weights are another speaker
        self._settings = self._voice.voice_settings(voice)
        self._sampling = SpeechSampling(max_seconds=600.0)
        names = self._voice.talker.voices
        self.voice = voice or (names[0] if names else weights.resolve().parent.parent.name)

    def say(self, text: str) -> bytes:
        """A WAV file at the model's rate; deterministic."""
        import numpy as np
        import soundfile

        pieces = list(self._voice.say([TextChunk(text)], self._settings, self._sampling))
        if not pieces:
            raise RequestError(f"the model cannot speak {text[:40]!r}", "leave that text out")
        file = io.BytesIO()
        soundfile.write(file, np.concatenate(pieces), self._voice.sample_rate, subtype="PCM_16", format="WAV")
        return file.getvalue()


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was written: the list, its number of sentences, how many were synthesized now, their seconds, and the number
    of texts that could not be spoken."""

    path: Path
    sentences: int
    made: int
    seconds: float
    left_out: int


def texts_of(files: Sequence[Path], words: tuple[int, int], limit: int, *, cut: bool = True) -> list[str]:
    """Unique sentences of the texts, in order; the first ``limit`` of them unless it is 0.

    Args:
        files: UTF-8.
        words: minimum and maximum words of a sentence.
        cut: split into sentences; otherwise every line is one.
        limit: maximum number of sentences.

    Raises:
        RequestError: a file cannot be read, or there is no sentence.
    """
    found = list(islice(_different(files, words, cut), limit or None))
    if not found:
        what = "English sentence" if cut else "line"
        raise RequestError(
            f"no {what} of {words[0]} to {words[1]} words in {', '.join(map(str, files))}",
            "change --min-words and --max-words, give text with whole sentences, or use --lines",
        )
    return found


def _different(files: Sequence[Path], words: tuple[int, int], cut: bool) -> Iterator[str]:
    seen: set[str] = set()
    for file in files:
        with open_regular(file) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace") as lines:
            for text in cut_sentences(lines, *words) if cut else _lines(lines, *words):
                if text not in seen:
                    seen.add(text)
                    yield text


def _lines(lines: Iterable[str], min_words: int, max_words: int) -> Iterator[str]:
    for line in lines:
        words = line.split()
        if min_words <= len(words) <= max_words:
            yield " ".join(words)


def speak(
    texts: Sequence[str], speaker: SynthesizerChoice, folder: Path, *, form: Format, progress: Callable[[str], None]
) -> Corpus:
    """Synthesize a corpus, except for files that exist already.

    Args:
        texts: unique.
        speaker: speaks them.
        folder: created if needed.
        form: audio format.
        progress: receives progress messages.

    Raises:
        RequestError: none of the texts could be spoken.
        MuomniError: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file, not a folder", "name another folder: -o FOLDER")
    begin = told = time.monotonic()
    rows: list[str] = []
    made, seconds, refused = 0, 0.0, None
    for done, result in enumerate(_all_said(texts, speaker, folder, form), start=1):
        if isinstance(result, RequestError):
            refused = refused or result
        else:
            rows.append(json.dumps(result.row, ensure_ascii=False))
            made, seconds = made + result.made, seconds + result.seconds
        if time.monotonic() > told + TOLD:
            told = time.monotonic()
            rate = done / (told - begin)
            left = duration((len(texts) - done) / rate)
            progress(f"speaking: {done:,} of {len(texts):,}, {rate:,.0f} a second, {left} left")
    if refused is not None:
        progress(f"warning: {len(texts) - len(rows):,} sentences could not be spoken: {refused.what}")
        if not rows:
            raise refused
    write_text(folder / LIST, "".join(f"{row}\n" for row in rows))
    return Corpus(folder / LIST, len(rows), made, seconds, len(texts) - len(rows))


@dataclass(frozen=True, slots=True)
class _Synthesized:
    row: dict[str, str]
    made: bool
    seconds: float


def _all_said(
    texts: Sequence[str], speaker: SynthesizerChoice, folder: Path, form: Format
) -> Iterator[_Synthesized | RequestError]:
    def said(text: str) -> _Synthesized | RequestError:
        try:
            return _said(text, speaker, folder, form)
        except RequestError as error:
            return error

    pool = ThreadPoolExecutor(speaker.at_once)
    try:
        for begin in range(0, len(texts), AT_ONCE):
            yield from pool.map(said, texts[begin : begin + AT_ONCE])
    finally:
        pool.shutdown(cancel_futures=True)


def _said(text: str, speaker: SynthesizerChoice, folder: Path, form: Format) -> _Synthesized:
    synthesizer = speaker.synthesizer
    digest = hashlib.blake2b(f"{speaker.name}\0{synthesizer.voice}\0{text}".encode(), digest_size=8).hexdigest()
    name = f"{SOUNDS}/{digest}.{form}"
    path = folder / name
    made = not path.is_file()
    if made:
        sound = synthesizer.say(text)
        with replacing(path) as temporary:
            if form == "wav":
                temporary.write_bytes(sound)
            else:
                samples, rate = soundfile.read(io.BytesIO(sound), dtype="int16")
                soundfile.write(temporary, samples, rate, format=form.upper())
    row = {SOUNDS: name, "text": text, "key": text, "voice": synthesizer.voice}
    return _Synthesized(row, made, float(soundfile.info(path).duration))

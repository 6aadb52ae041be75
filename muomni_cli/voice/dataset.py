"""``muomni data synthesize``: a speech dataset from text, spoken by a speech synthesizer or a trained model."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile  # type: ignore[import-untyped]

from muomni_cli.audio.io import read_samples
from muomni_cli.contract.declarations import DatasetPart
from muomni_cli.contract.speech import Synthesizer, TextChunk
from muomni_cli.core.console import duration, say
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import open_regular, replacing, write_text
from muomni_cli.core.text import cut_sentences, utf8_lines
from muomni_cli.registry.registry import built_in, get_registry, resolve

LIST = "speech.jsonl"
SOUNDS = "audio"
LONGEST = 3600.0  # seconds of a sentence
AT_ONCE = 64  # sentences submitted to the synthesizer before waiting for the first

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
    registry = get_registry()
    offers = {
        one.use: (one, one.part.synthesizer)
        for one in registry.all(DatasetPart.kind)
        if isinstance(one.part, DatasetPart) and one.part.synthesizer is not None
    }
    wanted = next(iter(offers), "") if name is None else registry.get(DatasetPart.kind, name, built_in).use
    if wanted not in offers:
        what = f"{name} has no speech synthesizer"
        if name is None:
            what = "no installed dataset plugin has a speech synthesizer"
        how = "install a plugin that has one, or use a trained model: --model RUN"
        raise RequestError(what, f"these have one: {', '.join(offers)}" if offers else how)
    registered, reference = offers[wanted]
    synthesizer: Synthesizer = resolve(reference, f"the synthesizer {registered.use}")(voice)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return SynthesizerChoice(synthesizer, f"{registered.plugin.name}:{registered.part.name}", cores)


class ModelSynthesizer:
    """A trained model as a :class:`muomni_cli.contract.speech.Synthesizer`; one text at a time. RequestError if it
    cannot speak, or has no such voice."""

    def __init__(self, model: str, voice: str | None) -> None:
        from muomni_cli.models.engines import CAN_SPEAK, open_engine
        from muomni_cli.voice.synthesis import voice_of

        engine = open_engine(model, CAN_SPEAK)
        self._voice = voice_of(engine)
        weights = Path(engine.source("talker"))
        self.name = f"{weights.resolve()}:{weights.stat().st_mtime_ns}"  # retrained weights are another speaker
        self._settings = self._voice.voice_settings(voice)
        names = self._voice.names
        self.voice = voice or (names[0] if names else weights.resolve().parent.parent.name)

    def say(self, text: str) -> bytes:
        """A WAV file at the model's rate; deterministic."""
        from muomni_cli.voice.synthesis import SpeechSampling, SpeechStats

        speech, sampling = SpeechStats(self._voice.sample_rate), SpeechSampling(max_seconds=600.0)
        pieces = list(self._voice.say([TextChunk(text)], self._settings, sampling, speech))
        if not pieces or speech.cut or speech.skipped:  # a recording must say what its text says
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
    found = list(islice(_unique(files, words, cut), limit or None))
    if not found:
        what = "English sentence" if cut else "line"
        raise RequestError(
            f"no {what} of {words[0]} to {words[1]} words in {', '.join(map(str, files))}",
            "change --min-words and --max-words, give text with whole sentences, or use --lines",
        )
    return found


def _unique(files: Sequence[Path], words: tuple[int, int], cut: bool) -> Iterator[str]:
    seen: set[str] = set()
    for file in files:
        with open_regular(file) as raw:
            lines = (line for _, line in utf8_lines(raw, partial(_not_used, file)))
            whole = (" ".join(line.split()) for line in lines if words[0] <= len(line.split()) <= words[1])
            for text in cut_sentences(lines, *words) if cut else whole:
                if text not in seen:
                    seen.add(text)
                    yield text


def _not_used(file: Path, reason: str, line: str) -> None:
    say(f"warning: not used: {file}: {line} {reason}")


def speak(
    texts: Sequence[str], speaker: SynthesizerChoice, folder: Path, *, form: Format, progress: Callable[[str], None]
) -> Corpus:
    """Synthesize a corpus of unique ``texts`` into ``folder``, except for files that exist already.

    Raises:
        RequestError: none of the texts could be spoken.
        MuomniError: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file, not a folder", "name another folder: -o FOLDER")
    begin = reported = time.monotonic()
    rows: list[str] = []
    made, seconds, refused = 0, 0.0, None
    for done, result in enumerate(_all_said(texts, speaker, folder, form), start=1):
        if isinstance(result, RequestError):
            refused = refused or result
        else:
            row, new, length = result
            rows.append(json.dumps(row, ensure_ascii=False))
            made, seconds = made + new, seconds + length
        if time.monotonic() > reported + 5.0:
            reported = time.monotonic()
            rate = done / (reported - begin)
            left = duration((len(texts) - done) / rate)
            progress(f"speaking: {done:,} of {len(texts):,}, {rate:,.0f} a second, {left} left")
    if refused is not None:
        progress(f"warning: {len(texts) - len(rows):,} sentences could not be spoken: {refused.what}")
        if not rows:
            raise refused
    write_text(folder / LIST, "".join(f"{row}\n" for row in rows))
    return Corpus(folder / LIST, len(rows), made, seconds, len(texts) - len(rows))


def _all_said(
    texts: Sequence[str], speaker: SynthesizerChoice, folder: Path, form: Format
) -> Iterator[tuple[dict[str, str], bool, float] | RequestError]:
    """For each text: its row of the list, whether it was synthesized now, its seconds; or why it cannot be spoken."""
    synthesizer = speaker.synthesizer

    def said(text: str) -> tuple[dict[str, str], bool, float] | RequestError:
        digest = hashlib.blake2b(f"{speaker.name}\0{synthesizer.voice}\0{text}".encode(), digest_size=8).hexdigest()
        name = f"{SOUNDS}/{digest}.{form}"
        path = folder / name
        row = {SOUNDS: name, "text": text, "key": text, "voice": synthesizer.voice}
        if path.is_file():
            with suppress(RequestError), open_regular(path) as file:  # a damaged one is spoken again
                samples, rate = read_samples(file, name, LONGEST)
                return row, False, len(samples) / rate
        try:
            sound = synthesizer.say(text)
            samples, rate = read_samples(io.BytesIO(sound), f"what {speaker.name} says to {text[:40]!r}", LONGEST)
        except RequestError as error:
            return error
        with replacing(path) as temporary:
            if form == "wav":
                temporary.write_bytes(sound)
            else:
                whole = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
                soundfile.write(temporary, whole, rate, format=form.upper(), subtype="PCM_16")
        return row, True, len(samples) / rate

    pool = ThreadPoolExecutor(speaker.at_once)
    try:
        for begin in range(0, len(texts), AT_ONCE):
            yield from pool.map(said, texts[begin : begin + AT_ONCE])
    finally:
        pool.shutdown(cancel_futures=True)

"""Independent speech recognition (pocketsphinx; Huggins-Daines et al., 2006), to score speech by word error rate.

The language model is made of the sentences in question among many others, so that the recognizer hears what was said
rather than what is likely in English. With few words it is a unigram model of them, all equally likely, which makes a
quarter of the mistakes of a JSGF grammar (that takes breaths for words). The same sentences always give the same
language model, so that voices can be compared.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.sound.resampling import resample
from muomni_cli.speech.language_model import arpa
from muomni_cli.speech.lexicon import model_folder, pronunciations, words_of

RATE = 16000
"""Sample rate of the recognizer, in Hz."""

FEW_WORDS = 20
"""Vocabularies up to this size (digits, for example) get a unigram model, larger ones one of word order."""

OTHERS = 400
"""Most other sentences in the language model."""

CHUNK = 8
"""Recordings that a worker process gets at a time."""

FEW = 24
"""Up to this many recordings are transcribed in this process, as starting workers would take longer."""

Wave = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recognizer:
    """A speech recognizer for given sentences. It is plain data, so it can be sent to worker processes.

    Args:
        dictionary: pronunciations, in pocketsphinx's format.
        language_model: in the ARPA format.
        left_out: those of the sentences with a word of unknown pronunciation; they cannot be recognized.
    """

    dictionary: str
    language_model: str
    left_out: frozenset[str]

    @classmethod
    def for_sentences(cls, sentences: Sequence[str], others: Iterable[str] = ()) -> Recognizer:
        """A recognizer of ``sentences`` among the first :data:`OTHERS` of ``others`` with known pronunciations.

        Raises:
            RequestError: pocketsphinx is not installed.
        """
        known = {sentence: words for sentence in sentences if (words := _words(sentence))}
        left_out = frozenset(sentences).difference(known)
        vocabulary = sorted({word for words in known.values() for word in words})
        if len(vocabulary) <= FEW_WORDS:
            return cls(_dictionary(vocabulary), arpa([vocabulary], order=1), left_out)
        rows = [*(known[sentence] for sentence in sentences if sentence in known), *_more(others, known)]
        return cls(_dictionary(sorted({word for row in rows for word in row})), arpa(rows), left_out)

    def transcribe(self, wave: Wave, sample_rate: int = RATE) -> str:
        """(N,) samples between -1 and 1 -> the words; empty if there are none."""
        if not self.dictionary:
            return ""
        sound = resample(np.ascontiguousarray(wave, np.float32), sample_rate, RATE)
        pcm = (np.clip(sound, -1, 1) * 32767).round().astype(np.int16)
        if not pcm.size:
            return ""
        decoder = _decoder(self)
        decoder.start_utt()
        decoder.process_raw(pcm.tobytes(), full_utt=True)  # whole, so that earlier recordings have no effect
        decoder.end_utt()
        heard = decoder.hyp()
        return " ".join(words_of(heard.hypstr)) if heard else ""

    def transcribe_all(self, waves: Sequence[Wave], sample_rate: int = RATE) -> list[str]:
        """:meth:`transcribe` of each, in worker processes if there are many."""
        if len(waves) <= FEW:
            return [self.transcribe(wave, sample_rate) for wave in waves]
        chunks = [waves[begin : begin + CHUNK] for begin in range(0, len(waves), CHUNK)]
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        # Not forked: torch or a progress display may have started threads.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            futures = [pool.submit(_transcribe_chunk, self, chunk, sample_rate) for chunk in chunks]
            return [text for future in futures for text in future.result()]


def _transcribe_chunk(recognizer: Recognizer, waves: Sequence[Wave], sample_rate: int) -> list[str]:
    return [recognizer.transcribe(np.array(wave), sample_rate) for wave in waves]


def _words(sentence: str) -> list[str]:
    """Its words; empty if there are none, or one has no known pronunciation."""
    words = words_of(sentence)
    return words if all(pronunciations(word) for word in words) else []


def _more(others: Iterable[str], known: Iterable[str]) -> list[list[str]]:
    seen = set(known)
    found: list[list[str]] = []
    for sentence in others:
        if len(found) == OTHERS:
            break
        if sentence not in seen and (words := _words(sentence)):
            seen.add(sentence)
            found.append(words)
    return found


def _dictionary(vocabulary: Sequence[str]) -> str:
    lines = []
    for word in vocabulary:
        for number, phones in enumerate(pronunciations(word), start=1):
            lines.append(f"{word}({number}) {phones}" if number > 1 else f"{word} {phones}")
    return "".join(f"{line}\n" for line in lines)


@lru_cache(maxsize=4)
def _decoder(recognizer: Recognizer) -> Any:
    """A pocketsphinx decoder."""
    model = model_folder()
    from pocketsphinx import Config, Decoder

    with _files(recognizer) as (dictionary, language_model):
        files = {"hmm": str(model / "en-us"), "dict": str(dictionary), "lm": str(language_model)}
        return Decoder(Config(**files, samprate=RATE, loglevel="FATAL"))


@contextmanager
def _files(recognizer: Recognizer) -> Iterator[tuple[Path, Path]]:
    """Dictionary and language model as temporary files."""
    with tempfile.TemporaryDirectory(prefix="muomni-recognizer-") as folder:
        dictionary, language_model = Path(folder) / "words.dict", Path(folder) / "words.lm"
        dictionary.write_text(recognizer.dictionary, "utf-8")
        language_model.write_text(recognizer.language_model, "utf-8")
        yield dictionary, language_model

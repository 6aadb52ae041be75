"""A judge of speech that nobody here wrote: pocketsphinx (Huggins-Daines et al., 2006) hears it, and says which words.

It is told what could be said, the sentences in question among many others, so that it hears what was said rather than
what is likely in English. Where the words are few it hears any row of them, all equally likely: a model of single words
for that makes a quarter of the mistakes of a JSGF grammar, which takes breaths for words. Either way it is told the
same whoever speaks, so that voices can be compared.
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
"""Samples a second that the recogniser takes."""

FEW_WORDS = 20
"""So many words may come in any order: digits, say. Any order of more is harder to hear than speech is."""

OTHERS = 400
"""Other sentences that could have been said as well, at most."""

CHUNK = 8
"""Sounds that a worker hears at a time."""

FEW = 24
"""So many are heard in this process: starting workers would take longer."""

Wave = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Judge:
    """What could be said, and ears for it. It is plain data, so it travels to worker processes.

    Args:
        dictionary: pronunciations, in pocketsphinx's format.
        expected: an ARPA model.
        left_out: those of the sentences that hold a word nobody knows how to say. What is said in their place cannot
            be judged.
    """

    dictionary: str
    expected: str
    left_out: frozenset[str]

    @classmethod
    def of(cls, sentences: Sequence[str], others: Iterable[str] = ()) -> Judge:
        """A judge of ``sentences``, which could also have been ``others``, the first :data:`OTHERS` that it can say.

        Raises:
            RequestError: pocketsphinx is not installed.
        """
        known = {sentence: words for sentence in sentences if (words := _said(sentence))}
        left_out = frozenset(sentences).difference(known)
        vocabulary = sorted({word for words in known.values() for word in words})
        if len(vocabulary) <= FEW_WORDS:
            return cls(_dictionary(vocabulary), arpa([vocabulary], order=1), left_out)
        rows = [*(known[sentence] for sentence in sentences if sentence in known), *_more(others, known)]
        return cls(_dictionary(sorted({word for row in rows for word in row})), arpa(rows), left_out)

    def hear(self, wave: Wave, sample_rate: int = RATE) -> str:
        """The words said in (N,) samples, full scale 1; empty if there are none."""
        if not self.dictionary:
            return ""
        sound = resample(np.ascontiguousarray(wave, np.float32), sample_rate, RATE)
        pcm = (np.clip(sound, -1, 1) * 32767).round().astype(np.int16)
        if not pcm.size:
            return ""
        ears = _ears(self)
        ears.start_utt()
        ears.process_raw(pcm.tobytes(), full_utt=True)  # the whole: nothing of earlier sounds is left in its levels
        ears.end_utt()
        heard = ears.hyp()
        return " ".join(words_of(heard.hypstr)) if heard else ""

    def hear_all(self, waves: Sequence[Wave], sample_rate: int = RATE) -> list[str]:
        """:meth:`hear` of each, by worker processes where there are many."""
        if len(waves) <= FEW:
            return [self.hear(wave, sample_rate) for wave in waves]
        chunks = [waves[begin : begin + CHUNK] for begin in range(0, len(waves), CHUNK)]
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        # Not forked: this process may hold threads that torch or a display has started.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            futures = [pool.submit(_hear_chunk, self, chunk, sample_rate) for chunk in chunks]
            return [text for future in futures for text in future.result()]


def _hear_chunk(judge: Judge, waves: Sequence[Wave], sample_rate: int) -> list[str]:
    return [judge.hear(np.array(wave), sample_rate) for wave in waves]


def _said(sentence: str) -> list[str]:
    """Its words; empty if there are none, or one cannot be pronounced."""
    words = words_of(sentence)
    return words if all(pronunciations(word) for word in words) else []


def _more(others: Iterable[str], known: Iterable[str]) -> list[list[str]]:
    seen = set(known)
    found: list[list[str]] = []
    for sentence in others:
        if len(found) == OTHERS:
            break
        if sentence not in seen and (words := _said(sentence)):
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
def _ears(judge: Judge) -> Any:
    """A pocketsphinx decoder."""
    model = model_folder()
    from pocketsphinx import Config, Decoder

    with _files(judge) as (dictionary, expected):
        files = {"hmm": str(model / "en-us"), "dict": str(dictionary), "lm": str(expected)}
        return Decoder(Config(**files, samprate=RATE, loglevel="FATAL"))


@contextmanager
def _files(judge: Judge) -> Iterator[tuple[Path, Path]]:
    """Its dictionary and what it expects, as files for as long as they are read."""
    with tempfile.TemporaryDirectory(prefix="muomni-judge-") as folder:
        dictionary, expected = Path(folder) / "words.dict", Path(folder) / "expected"
        dictionary.write_text(judge.dictionary, "utf-8")
        expected.write_text(judge.expected, "utf-8")
        yield dictionary, expected

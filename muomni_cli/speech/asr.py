"""An independent recognizer (pocketsphinx, Huggins-Daines et al., 2006), with its trigram language model and
pronunciation dictionary, for word error rates of speech."""

from __future__ import annotations

import math
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.audio.dsp import resample
from muomni_cli.contract.models import Word
from muomni_cli.core.errors import RequestError
from muomni_cli.core.workers import WorkerPool

BEGIN, END = "<s>", "</s>"
NEVER = -99.0  # log10 of 0 in ARPA files
Gram = tuple[str, ...]

ENDINGS = {  # pronunciation of a possessive ``'s`` by the phone before it; Z after all others
    **dict.fromkeys(("S", "Z", "SH", "ZH", "CH", "JH"), "IH Z"),
    **dict.fromkeys(("P", "T", "K", "F", "TH"), "S"),
}
SHORTEST = 3  # fewest letters of each part of a compound: shorter words match by chance
APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})
NOT_WORDS = re.compile(r"[^\w']+|_")

RATE = 16000  # sample rate of the recognizer, in Hz
FEW_WORDS = 20  # vocabularies up to this size (digits, for example) get a unigram model, larger ones a trigram model
OTHERS = 400  # most other sentences in the language model
CHUNK = 8  # recordings per task of a worker process; at most FEW
FEW = 24  # up to this many recordings are transcribed in this process, as workers take longer to start
Wave = NDArray[np.float32]


def arpa(sentences: Iterable[Sequence[str]], order: int = 3) -> str:
    """A back-off language model (Witten-Bell) of ``sentences``, each a list of words, as an ARPA file."""
    model = _Model(sentences, order)
    grams = [sorted(model.words if size == 1 else model.counts[size]) for size in range(1, order + 1)]
    first = [(BEGIN,), *grams[0]]
    lines = ["\\data\\", f"ngram 1={len(first)}"]
    lines += [f"ngram {size}={len(own)}" for size, own in enumerate(grams[1:], start=2)]
    for size, own in enumerate([first, *grams[1:]], start=1):
        lines += ["", f"\\{size}-grams:"]
        for gram in own:
            log = NEVER if gram == (BEGIN,) else math.log10(model.probability(gram))
            weight = ""
            if size < order and model.seen[gram]:  # back-off weight: the probability of unseen words after ``gram``
                weight = f"\t{math.log10(model.kinds[gram] / (model.seen[gram] + model.kinds[gram])):.6f}"
            lines.append(f"{log:.6f}\t{' '.join(gram)}{weight}")
    return "\n".join([*lines, "", "\\end\\", ""])


class _Model:
    def __init__(self, sentences: Iterable[Sequence[str]], order: int) -> None:
        self.counts: dict[int, Counter[Gram]] = {size: Counter() for size in range(1, order + 1)}
        for words in sentences:
            row = (BEGIN, *words, END)
            for size, counter in self.counts.items():
                counter.update(row[end - size : end] for end in range(max(size, 2), len(row) + 1))
        self.seen: Counter[Gram] = Counter()  # tokens after each history, c(h)
        self.kinds: Counter[Gram] = Counter()  # distinct words after each history, t(h)
        for counter in self.counts.values():
            for gram, count in counter.items():
                self.seen[gram[:-1]] += count
                self.kinds[gram[:-1]] += 1
        self.words = self.counts[1]

    def probability(self, gram: Gram) -> float:
        """Probability of the last word given the others; never 0 for a known word."""
        if not gram:
            return 1 / len(self.words)
        history = gram[:-1]
        total = self.seen[history] + self.kinds[history]
        return (self.counts[len(gram)][gram] + self.kinds[history] * self.probability(gram[1:])) / total


def words_of(text: str) -> list[str]:
    """Lower-case words without accents and punctuation, except apostrophes within words."""
    plain = unicodedata.normalize("NFKD", text.translate(APOSTROPHES)).casefold()
    bare = "".join(one for one in plain if not unicodedata.combining(one))
    return [word for piece in NOT_WORDS.split(bare) if (word := piece.strip("'"))]


@lru_cache(maxsize=1)
def english() -> Mapping[str, tuple[str, ...]]:
    """pocketsphinx's dictionary: word -> pronunciations, phones separated by spaces. RequestError if it is not
    installed."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (model_folder() / "cmudict-en-us.dict").read_text("utf-8").splitlines():
        name, _, phones = line.partition(" ")
        word = name.partition("(")[0]
        found[word] = (*found.get(word, ()), phones.strip())
    return found


def model_folder() -> Path:
    """The folder of pocketsphinx's English model. RequestError if it is not installed."""
    try:
        from pocketsphinx import get_model_path
    except ImportError as error:
        raise RequestError(
            "word error rates of speech need pocketsphinx, which is not installed", "pip install 'muomni[eval]'"
        ) from error
    return Path(get_model_path()) / "en-us"


def pronunciations(word: str) -> tuple[str, ...]:
    """Pronunciations of a word: from the dictionary, as a possessive (``Jorinda's``), or as a compound of two words
    (``snowdrop``). Empty if unknown. RequestError if pocketsphinx is not installed."""
    known = english()
    if word in known:
        return known[word]
    if word.endswith("'s") and word[:-2] in known:
        return tuple(f"{phones} {ENDINGS.get(phones.split()[-1], 'Z')}" for phones in known[word[:-2]])
    for place in range(len(word) - SHORTEST, SHORTEST - 1, -1):
        first, second = word[:place], word[place:]
        if first in known and second in known:
            return (f"{known[first][0]} {known[second][0]}",)
    return ()


@dataclass(frozen=True, slots=True)
class Recognizer:
    """A recognizer for given sentences, as plain data for worker processes; ``left_out``: those with unknown
    pronunciations."""

    dictionary: str
    language_model: str
    left_out: frozenset[str]

    @classmethod
    def for_sentences(cls, sentences: Sequence[str], others: Iterable[str] = ()) -> Recognizer:
        """A recognizer of ``sentences`` among up to :data:`OTHERS` of ``others``. RequestError if pocketsphinx is not
        installed."""
        known = {sentence: words for sentence in sentences if (words := _words(sentence))}
        left_out = frozenset(sentences).difference(known)
        vocabulary = sorted({word for words in known.values() for word in words})
        if len(vocabulary) <= FEW_WORDS:
            return cls(_dictionary(vocabulary), arpa([vocabulary], order=1), left_out)
        more: dict[str, list[str]] = {}
        for sentence in others:
            if len(more) == OTHERS:
                break
            if sentence not in known and sentence not in more and (words := _words(sentence)):
                more[sentence] = words
        rows = [*(known[sentence] for sentence in sentences if sentence in known), *more.values()]
        return cls(_dictionary(sorted({word for row in rows for word in row})), arpa(rows), left_out)

    def transcribe(self, wave: Wave, sample_rate: int = RATE) -> str:
        """(N,) samples between -1 and 1 -> the words; may be empty."""
        if not self.dictionary:
            return ""
        pcm = _pcm(wave, sample_rate)
        if not pcm.size:
            return ""
        decoder = _decoder(self)
        decoder.start_utt()
        decoder.process_raw(pcm.tobytes(), full_utt=True)  # full_utt, so that earlier recordings have no effect
        decoder.end_utt()
        heard = decoder.hyp()
        return " ".join(words_of(heard.hypstr)) if heard else ""

    def align(self, text: str, wave: Wave, sample_rate: int = RATE) -> list[Word]:
        """When the words of one of the sentences, as :func:`words_of` writes them, are heard in (N,) samples, by forced
        alignment (Viterbi over the phones of its words) in steps of 10 ms. Empty if they cannot be found."""
        if not words_of(text):
            return []
        decoder = _decoder(self)
        decoder.set_align_text(" ".join(words_of(text)))
        decoder.start_utt()
        decoder.process_raw(_pcm(wave, sample_rate).tobytes(), full_utt=True)
        decoder.end_utt()
        segments = decoder.seg() or ()
        found = [Word(one.word.partition("(")[0], one.start_frame / 100, (one.end_frame + 1) / 100) for one in segments]
        decoder.activate_search()
        return [word for word in found if not word.text.startswith(("<", "["))]

    def transcribe_all(self, waves: Sequence[Wave], sample_rate: int = RATE) -> list[str]:
        """:meth:`transcribe` of each, in worker processes if there are many."""
        if len(waves) <= FEW:
            return [self.transcribe(wave, sample_rate) for wave in waves]
        chunks = [waves[begin : begin + CHUNK] for begin in range(0, len(waves), CHUNK)]
        with WorkerPool() as pool:
            futures = [pool.submit(self.transcribe_all, chunk, sample_rate) for chunk in chunks]
            return [text for future in futures for text in future.result()]


def _pcm(wave: Wave, sample_rate: int) -> NDArray[np.int16]:
    """(N,) 16-bit samples at :data:`RATE`."""
    sound = resample(np.ascontiguousarray(wave, np.float32), sample_rate, RATE)
    return (np.clip(sound, -1, 1) * 32767).round().astype(np.int16)


def _words(sentence: str) -> list[str]:
    """Its words; empty if any has no known pronunciation."""
    words = words_of(sentence)
    return words if all(pronunciations(word) for word in words) else []


def _dictionary(vocabulary: Sequence[str]) -> str:
    lines = []
    for word in vocabulary:
        for number, phones in enumerate(pronunciations(word), start=1):
            lines.append(f"{word}({number}) {phones}" if number > 1 else f"{word} {phones}")
    return "".join(f"{line}\n" for line in lines)


@lru_cache(maxsize=4)
def _decoder(recognizer: Recognizer) -> Any:
    model = model_folder()
    from pocketsphinx import Config, Decoder

    with tempfile.TemporaryDirectory(prefix="muomni-recognizer-") as folder:
        dictionary, language_model = Path(folder) / "words.dict", Path(folder) / "words.lm"
        dictionary.write_text(recognizer.dictionary, "utf-8")
        language_model.write_text(recognizer.language_model, "utf-8")
        files = {"hmm": str(model / "en-us"), "dict": str(dictionary), "lm": str(language_model)}
        return Decoder(Config(**files, samprate=RATE, loglevel="FATAL"))

"""Recognition without PyTorch: number of tokens, scores to words and answers, the exported graphs in use, and inputs
for benchmarks.

Long sounds are heard in overlapping windows, and each word is given as soon as it is final. Memory is bounded however
long the sound is: by one window and one word, or, with a beam, by what lies between two pauses (:data:`PATIENCE` at
most).

Shapes: N samples, T tokens, W width, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from muomni_audio_encoder.config import AudioEncoderConfig
from muomni_audio_encoder.ctc import BLANK, Alphabet, Mark, align, choose, greedy, prefix_beam
from muomni_cli.api import GraphFn, Word

WINDOW = 20.0
"""Seconds that are heard in one go."""

ROOM = 0.16
"""Seconds of silence that a sound is heard with before and after it. Nearly all sounds of training have some; one that
is cut at its first and last sample is understood worse than its words deserve."""

SIDE = 2.0
"""Seconds at either side of a window that are only heard for what they tell of the rest."""

PAUSE = 10
"""Tokens of silence (0.4 seconds at 25 a second) after which a beam's best text is sure."""

SILENCE = math.log(0.98)
"""A token whose blank is likelier than this is silence."""

PATIENCE = 750
"""Tokens (30 seconds at 25 a second) after which a beam's best text counts as sure without a pause."""

Scores = NDArray[np.floating]

ANSWER_MODES: Mapping[str, bool] = MappingProxyType({"exact": False, "choice": True})
"""See :class:`muomni_cli.contract.models.Predictor`: a transcript, or the likeliest of some texts."""

Hear = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(N,) samples -> (T,C) scores of one sound, heard in one go."""


def count(config: AudioEncoderConfig, inputs: NDArray[Any]) -> int:
    """Tokens of one sound, (N,) samples."""
    return config.num_tokens(len(inputs))


class Room:
    """Silence around a sound of any length, and words timed as if there were none.

    Args:
        shortest: samples a token; a sound of fewer is none, and gets no silence.
        rate: samples a second.
    """

    def __init__(self, shortest: int, rate: int) -> None:
        self._shortest, self._rate = shortest, rate
        self._silence = np.zeros(round(ROOM * rate / shortest) * shortest, np.float32)  # whole tokens
        self._samples = 0  # of the sound itself, so far

    def around(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) samples of a whole sound -> with silence before and after."""
        return np.pad(wave, self._silence.size)

    def pieces(self, pieces: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The same of a sound that comes in pieces."""
        first: list[NDArray[np.float32]] | None = [self._silence]  # until they are long enough
        for piece in pieces:
            self._samples += piece.size
            if first is None:
                yield piece
            elif self._samples < self._shortest:
                first.append(piece)
            else:
                yield np.concatenate([*first, piece])
                first = None
        if first is None:
            yield self._silence

    def word(self, word: Word) -> Word:
        """A word that was heard in :meth:`pieces`, at its time in the sound itself: a token of it at least."""
        early, last, token = (n / self._rate for n in (self._silence.size, self._samples, self._shortest))
        begin = min(max(word.start - early, 0.0), last - token)
        end = min(max(word.end - early, begin + token), last)
        return Word(word.text, round(begin, 3), round(end, 3))


class ScoreWindows:
    """Scores of a sound of any length, as if it were heard in one go (but for what is further away than a window).

    Args:
        shortest: samples a token.
        rate: samples a second.
        window: seconds of a window.
        side: seconds of it whose scores are dropped, at either side.
    """

    def __init__(self, shortest: int, rate: int, window: float = WINDOW, side: float = SIDE) -> None:
        self._shortest = shortest
        self._window, self._split = (round(seconds * rate / shortest) for seconds in (window, side))  # tokens
        assert self._window > 2 * self._split, "windows must move on"

    def scores(
        self, hear: Callable[[NDArray[np.float32]], Scores], pieces: Iterable[NDArray[np.float32]]
    ) -> Iterator[Scores]:
        """(T,C) scores of the whole sound, in parts.

        Args:
            hear: (N,) samples -> (T,C) scores of one window.
            pieces: the sound, cut anywhere.
        """
        window, kept = self._window * self._shortest, self._window - 2 * self._split
        held, first = np.zeros(0, np.float32), 0
        for piece in pieces:
            held = np.concatenate([held, piece])
            while held.size > window:
                yield hear(held[:window])[first : self._window - self._split]
                held, first = held[kept * self._shortest :], self._split
        if held.size >= self._shortest:
            yield hear(held)[first:]


class Speller(Protocol):
    """Makes marks of scores that come in parts."""

    def feed(self, scores: Scores) -> Iterator[Mark]:
        """The marks that are sure after (T,C) more scores; they count tokens from the beginning of the sound."""
        ...

    def finish(self) -> Iterator[Mark]:
        """The marks that are left when the sound ends."""
        ...


class GreedySpeller:
    """The best class of every token; what :func:`muomni_audio_encoder.ctc.greedy` says of the whole."""

    def __init__(self) -> None:
        self._run = Mark(BLANK, 0, 0)  # goes on until another class comes

    def feed(self, scores: Scores) -> Iterator[Mark]:
        for symbol in scores.argmax(1).tolist():
            end = self._run.end + 1
            if symbol == self._run.symbol:
                self._run = Mark(symbol, self._run.begin, end)
                continue
            yield from self.finish()
            self._run = Mark(symbol, end - 1, end)

    def finish(self) -> Iterator[Mark]:
        if self._run.symbol != BLANK:
            yield self._run


class BeamSpeller:
    """The likeliest text by prefix-beam search, one stretch between two pauses after the other.

    In a pause every text ends in a blank, whatever it is, so the best of a stretch stays the best of it.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows: list[Scores] = []  # (C,) each, since the last pause
        self._silent = 0  # how many of the last are silence
        self._spelled = 0  # tokens before the first of them

    def feed(self, scores: Scores) -> Iterator[Mark]:
        for row in scores:
            self._rows.append(row)
            self._silent = self._silent + 1 if row[BLANK] > SILENCE else 0
            if self._silent == PAUSE or len(self._rows) == PATIENCE:
                yield from self.finish()

    def finish(self) -> Iterator[Mark]:
        held, origin = self._rows, self._spelled
        self._rows, self._spelled, self._silent = [], origin + len(held), 0
        if len(held) > 0:
            stretch = np.stack(held)
            text, _ = prefix_beam(stretch, self._width)[0]
            for mark in align(stretch, text):
                yield Mark(mark.symbol, origin + mark.begin, origin + mark.end)


def marks_of(speller: Speller, parts: Iterable[Scores]) -> Iterator[Mark]:
    """All marks of a sound whose scores come in ``parts``."""
    for scores in parts:
        yield from speller.feed(scores)
    yield from speller.finish()


def words_of(marks: Iterable[Mark], alphabet: Alphabet, seconds: float) -> Iterator[Word]:
    """Marks to words: what lies between spaces, each given when the space after it, or the end, is there.

    Args:
        marks: in order.
        alphabet: what they are spelled with.
        seconds: a token's length.
    """
    word: list[Mark] = []
    for mark in marks:
        if alphabet.decode([mark.symbol]) != " ":
            word.append(mark)
        elif word:
            yield _word(word, alphabet, seconds)
            word = []
    if word:
        yield _word(word, alphabet, seconds)


def _word(marks: Sequence[Mark], alphabet: Alphabet, seconds: float) -> Word:
    text = alphabet.decode([mark.symbol for mark in marks])
    return Word(text, round(marks[0].begin * seconds, 3), round(marks[-1].end * seconds, 3))


def transcribe(
    config: AudioEncoderConfig, hear: Hear, pieces: Iterable[NDArray[np.float32]], beam: int = 0
) -> Iterator[Word]:
    """The words of a sound that comes in pieces, each as soon as it is sure; see
    :class:`muomni_cli.contract.models.Transcriber`."""
    room = room_of(config)
    windows = ScoreWindows(config.shortest, config.sample_rate)
    speller = BeamSpeller(beam) if beam else GreedySpeller()
    marks = marks_of(speller, windows.scores(hear, room.pieces(pieces)))
    return map(room.word, words_of(marks, Alphabet(config.characters), config.shortest / config.sample_rate))


def room_of(config: AudioEncoderConfig) -> Room:
    """The silence around sounds."""
    return Room(config.shortest, config.sample_rate)


def spelled(alphabet: Alphabet, marks: Iterable[Mark]) -> str:
    """The text of marks, as the alphabet spells it: no spaces at its ends, nor two in a row."""
    return alphabet.spell(alphabet.decode([mark.symbol for mark in marks]))


def wanted_of(alphabet: Alphabet, text: str) -> str:
    """The text, in the alphabet's characters."""
    return alphabet.decode(alphabet.encode(text))


def predictor_of(
    alphabet: Alphabet, heard: Sequence[NDArray[np.float32]], choices: Sequence[str] | None = None
) -> list[str]:
    """Greedy transcripts of (T,C) scores each, or the likeliest of ``choices``, over all the ways to say each."""
    if choices is None:
        return [spelled(alphabet, greedy(row)) for row in heard]
    texts = [alphabet.encode(choice) for choice in choices]
    return [choices[choose(row, texts)] for row in heard]


class RecognizerRunner:
    """The encoder and the head that spells: a :class:`muomni_cli.contract.models.Transcriber`, and
    :class:`muomni_cli.contract.models.Predictor`.

    Args:
        config: of the encoder.
        graphs: the open ``encoder``, (1,N) ``inputs`` -> (1,T,W) ``tokens``, and ``head``, (1,T,W) ``tokens`` ->
            (1,T,C) ``scores``.
        learned: nothing.
    """

    answer_modes = ANSWER_MODES
    vocabulary: Sequence[str] = ()

    def __init__(
        self,
        config: AudioEncoderConfig,
        graphs: Mapping[str, GraphFn],
        head_metadata: Mapping[str, Any],  # noqa: ARG002
    ) -> None:
        self._config, self._graphs = config, graphs
        self._alphabet = Alphabet(config.characters)

    def logits(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) samples -> (T,C) scores."""
        tokens = self._graphs["encoder"]({"inputs": np.ascontiguousarray(wave, np.float32)[None]})["tokens"]
        scores: NDArray[np.float32] = self._graphs["head"]({"tokens": tokens})["scores"][0]
        return scores

    def words(self, inputs: NDArray[np.float32], *, beam: int = 0) -> Iterator[Word]:
        return self.stream([inputs], beam=beam)

    def stream(self, pieces: Iterable[NDArray[np.float32]], *, beam: int = 0) -> Iterator[Word]:
        return transcribe(self._config, self.logits, pieces, beam)

    def expected(self, text: str, label: str | None) -> str:  # noqa: ARG002
        """The text, in the alphabet's characters."""
        return wanted_of(self._alphabet, text)

    def answers(self, inputs: Sequence[NDArray[np.float32]], choices: Sequence[str] | None = None) -> list[str]:
        room = room_of(self._config)
        return predictor_of(self._alphabet, [self.logits(room.around(wave)) for wave in inputs], choices)


def inputs(config: AudioEncoderConfig) -> dict[str, NDArray[np.float32]]:
    """Noise as :func:`muomni_cli.audio.io.read` gives sounds: what is heard does not change how long it takes."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=60 * config.sample_rate).astype(np.float32)
    return {"one second": noise[: config.sample_rate], "one minute": noise}

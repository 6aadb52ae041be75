"""Streaming speech recognition without PyTorch: scores to words and answers, and running the exported graphs.

Long sounds are processed in overlapping windows, and each word is yielded as soon as it is final. Memory is bounded by
one window and one word, or, with a beam, by the stretch between two pauses (at most :data:`PATIENCE`).

Shapes: N samples, T tokens, W width, C classes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby, pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_audio_encoder import ctc
from muomni_audio_encoder.commands import CommandDecoder, said
from muomni_audio_encoder.ctc import BLANK, Alphabet, Mark, Spelled, align, choose, greedy, needed, prefix_beam
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_audio_encoder.voice_activity import at_level, prepared
from muomni_cli.api import CharSpan, GraphFn, RequestError, Word
from muomni_cli.structured_output.command_grammar import Command

WINDOW = 20.0  # length of a window in seconds
SIDE = 2.0  # seconds at either side of a window that serve only as context
ROOM = 0.16
"""Seconds of silence added before and after a sound. Nearly all training sounds have some; without it, tightly trimmed
sounds are recognized worse."""

PAUSE = 10  # tokens of silence (0.4 seconds at 25 a second) after which the beam's best text is final
PATIENCE = 750  # tokens (30 seconds at 25 a second) after which the beam's best text is final without a pause
SILENCE = math.log(0.98)  # a token whose blank has a higher log-probability than this is silence
IMPOSSIBLE = -50.0  # log-probability of a character where silence was cut

Scores = NDArray[np.floating]


def count(config: AudioEncoderConfig, inputs: NDArray[Any]) -> int:
    """Tokens of (N,) samples."""
    return config.num_tokens(len(inputs))


def responds(config: AudioEncoderConfig) -> bool:
    """Whether it answers a recording by itself: it has a grammar of commands."""
    return config.grammar is not None


class Room:
    """Adds silence around a sound, and removes it from the times of words.

    Args:
        shortest: samples per token; shorter sounds get no silence.
        rate: sample rate in Hz.
    """

    def __init__(self, shortest: int, rate: int) -> None:
        self._shortest, self._rate = shortest, rate
        self._silence = np.zeros(round(ROOM * rate / shortest) * shortest, np.float32)  # whole tokens
        self._samples = 0  # of the sound so far, without silence

    def around(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add silence before and after (N,) samples."""
        return np.pad(wave, self._silence.size)

    def pieces(self, pieces: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """:meth:`around` for a sound that comes in pieces."""
        first: list[NDArray[np.float32]] | None = [self._silence]  # held back until there is one token
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
        """Convert the times of a word from :meth:`pieces` to those of the sound; it lasts at least one token."""
        early, last, token = (n / self._rate for n in (self._silence.size, self._samples, self._shortest))
        begin = min(max(word.start - early, 0.0), last - token)
        end = min(max(word.end - early, begin + token), last)
        return Word(word.text, round(begin, 3), round(end, 3))


class ScoreWindows:
    """Scores of a sound of any length, by overlapping windows.

    Args:
        shortest: samples per token.
        rate: sample rate in Hz.
        window: length of a window in seconds.
        side: seconds at either side of a window whose scores are dropped.
    """

    def __init__(self, shortest: int, rate: int, window: float = WINDOW, side: float = SIDE) -> None:
        self._shortest = shortest
        self._window, self._split = (round(seconds * rate / shortest) for seconds in (window, side))  # tokens
        assert self._window > 2 * self._split, "windows must move on"

    def scores(
        self, hear: Callable[[NDArray[np.float32]], Scores], pieces: Iterable[NDArray[np.float32]]
    ) -> Iterator[Scores]:
        """(T,C) scores of the whole sound, in parts; ``pieces`` may be cut anywhere, ``hear`` scores one window."""
        window, kept = self._window * self._shortest, self._window - 2 * self._split
        held, first = np.zeros(0, np.float32), 0
        for piece in pieces:
            held = np.concatenate([held, piece])
            while held.size > window:
                yield hear(held[:window])[first : self._window - self._split]
                held, first = held[kept * self._shortest :], self._split
        if held.size >= self._shortest:
            yield hear(held)[first:]


class GreedySpeller:
    """:func:`muomni_audio_encoder.ctc.greedy`, incrementally."""

    def __init__(self) -> None:
        self._run = Mark(BLANK, 0, 0)  # grows until another class comes

    def feed(self, scores: Scores) -> Iterator[Mark]:
        """Feed (T,C) scores and yield the marks that are now final; tokens count from the start of the sound."""
        for symbol in scores.argmax(1).tolist():
            end = self._run.end + 1
            if symbol == self._run.symbol:
                self._run = Mark(symbol, self._run.begin, end)
                continue
            yield from self.finish()
            self._run = Mark(symbol, end - 1, end)

    def finish(self) -> Iterator[Mark]:
        """Yield the remaining marks at the end of the sound."""
        if self._run.symbol != BLANK:
            yield self._run


class BeamSpeller:
    """Prefix beam search, separately for each stretch between two pauses: in a pause every text ends in a blank, so
    the best text cannot change later."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._rows: list[Scores] = []  # (C,) each, since the last pause
        self._silent = 0  # trailing rows of silence
        self._spelled = 0  # tokens before the first row

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


def marks_of(speller: GreedySpeller | BeamSpeller, parts: Iterable[Scores]) -> Iterator[Mark]:
    """All marks of a sound, from ``parts`` of its scores."""
    for scores in parts:
        yield from speller.feed(scores)
    yield from speller.finish()


def words_of(marks: Iterable[Mark], alphabet: Alphabet, seconds: float) -> Iterator[Word]:
    """Split marks at spaces into words; a token lasts ``seconds``."""
    for is_space, run in groupby(marks, lambda mark: alphabet.decode([mark.symbol]) == " "):
        if not is_space:
            word = list(run)
            text = alphabet.decode([mark.symbol for mark in word])
            yield Word(text, round(word[0].begin * seconds, 3), round(word[-1].end * seconds, 3))


class Transcription(ABC):
    """What follows from scores alone: a :class:`muomni_cli.contract.models.Transcriber`, a
    :class:`muomni_cli.contract.models.Predictor` and a :class:`muomni_cli.contract.speech.Aligner`, with or without
    PyTorch."""

    config: AudioEncoderConfig
    alphabet: Alphabet
    answer_modes: Mapping[str, bool] = MappingProxyType({"exact": False, "choice": True})
    vocabulary: Sequence[str] = ()

    @abstractmethod
    def logits(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) samples -> (T,C) scores, in one pass."""

    def hear_all(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """:meth:`logits` of several sounds."""
        return [self.logits(wave) for wave in inputs]

    def hear(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """:meth:`logits` of a sound as :func:`muomni_audio_encoder.voice_activity.prepared` gives it; tokens of the
        silence that it cut are blank."""
        prepared_wave, stay = prepared(self.config, wave)
        heard = self.logits(prepared_wave)
        if stay.all():
            return heard
        scores = np.full((self.config.num_tokens(wave.size), heard.shape[1]), IMPOSSIBLE, np.float32)
        scores[:, BLANK] = 0.0
        scores[stay[: len(scores)]] = heard
        return scores

    def words(self, inputs: NDArray[np.float32], *, beam: int = 0) -> Iterator[Word]:
        return self.stream([inputs], beam=beam)

    def stream(self, pieces: Iterable[NDArray[np.float32]], *, beam: int = 0) -> Iterator[Word]:
        shortest, rate = self.config.shortest, self.config.sample_rate
        room = Room(shortest, rate)
        speller = BeamSpeller(beam) if beam else GreedySpeller()
        marks = marks_of(speller, ScoreWindows(shortest, rate).scores(self.hear, room.pieces(pieces)))
        return map(room.word, words_of(marks, self.alphabet, shortest / rate))

    def respond(self, inputs: NDArray[np.float32]) -> str:
        """The command in a recording (N,) as one line of JSON; the intent is null where there is none."""
        return self.command(inputs).json()

    def expected_response(self, text: str, label: str | None) -> str:
        """The label, if that is a command as JSON; else what the grammar reads in the text."""
        if label and label.startswith("{"):
            return label
        return said(self.decoder, text).json()

    def command(self, wave: NDArray[np.float32]) -> Command:
        """The command in a recording (N,). RequestError: the model has no grammar."""
        shortest, rate = self.config.shortest, self.config.sample_rate
        parts = list(ScoreWindows(shortest, rate).scores(self.hear, [Room(shortest, rate).around(wave)]))
        return self.decoder.decode(np.concatenate(parts))

    @cached_property
    def decoder(self) -> CommandDecoder:
        """The search by the grammar. RequestError: the model has none."""
        if self.config.grammar is None:
            raise RequestError("this encoder has no grammar of commands", "train one with encoders.audio.grammar")
        return CommandDecoder(self.config.grammar, self.alphabet)

    def spelled(self, marks: Iterable[Mark]) -> str:
        """The normalized text of marks: no spaces at the ends, nor two in a row."""
        return self.alphabet.spell(self.alphabet.decode([mark.symbol for mark in marks]))

    def expected(self, text: str, label: str | None) -> str:  # noqa: ARG002
        return self.alphabet.decode(self.alphabet.encode(text))

    def answers(self, inputs: Sequence[NDArray[np.float32]], choices: Sequence[str] | None = None) -> list[str]:
        """Greedy transcripts, or the likeliest of ``choices`` over all alignments."""
        room = Room(self.config.shortest, self.config.sample_rate)
        heard = self.hear_all([room.around(wave) for wave in inputs])
        if choices is None:
            return [self.spelled(greedy(scores)) for scores in heard]
        texts = [self.alphabet.encode(choice) for choice in choices]
        return [choices[choose(scores, texts)] for scores in heard]

    def align(self, inputs: Sequence[NDArray[np.float32]], texts: Sequence[str]) -> list[list[CharSpan] | None]:
        """Spans as in :mod:`muomni_audio_encoder.ctc`; silence before the first and after the last character is in
        none."""
        said = [self.alphabet.places(text) for text in texts]
        found: list[list[CharSpan] | None] = [None if row else [] for row in said]
        classes = [self.alphabet.classes_of(one.character for one in row) for row in said]
        possible = [row for row in range(len(texts)) if self._has_room(inputs[row], classes[row])]
        heard = self.hear_all([at_level(self.config, inputs[row]) for row in possible]) if possible else []
        for row, scores in zip(possible, heard, strict=True):
            found[row] = self._timed(scores, inputs[row], texts[row], said[row])
        return found

    def fit(self, inputs: NDArray[np.float32], texts: Sequence[str]) -> list[float]:
        """Log-probability over all alignments, relative to that of the likeliest class of every token."""
        scores = self.hear_all([at_level(self.config, inputs)])[0].astype(np.float64)
        classes = [self.alphabet.encode(text) for text in texts]
        possible = [row for row, one in enumerate(classes) if self._has_room(inputs, one)]
        found = [-math.inf] * len(texts)
        if possible:
            likely = ctc.log_probabilities(scores, [classes[row] for row in possible]) - scores.max(1).sum()
            for row, one in zip(possible, likely.tolist(), strict=True):
                found[row] = one / len(classes[row])
        return found

    def _has_room(self, wave: NDArray[np.float32], classes: Sequence[int]) -> bool:
        """Whether the text of ``classes`` is not empty, and fits into the tokens of a sound."""
        return 0 < needed(classes) <= self.config.num_tokens(len(wave))

    def _timed(
        self, scores: NDArray[np.float32], wave: NDArray[np.float32], text: str, said: Sequence[Spelled]
    ) -> list[CharSpan]:
        classes = self.alphabet.classes_of(one.character for one in said)
        # A token's convolutions are centered on the first of its frames, and a frame on its first sample.
        centers = ctc.places(scores, classes) * self.config.shortest / self.config.sample_rate
        spaces = np.array([one.character == " " for one in said])
        marked = np.array([not text[one.begin : one.end].isspace() for one in said])
        edges = ctc.edges(centers, spaces, marked, ctc.quiet(wave, self.config.sample_rate))
        spans: list[CharSpan] = []
        for one, (since, until) in zip(said, pairwise(edges.tolist()), strict=True):
            whole = spans.pop().start if spans and spans[-1].start_char == one.begin else since  # a ligature
            spans.append(CharSpan(one.begin, one.end, whole, until))
        return spans


class RecognizerRunner(Transcription):
    """Runs the exported graphs ``encoder``, (1,N) ``inputs`` -> (1,T,W) ``tokens``, and ``head`` -> (1,T,C) ``scores``
    (T,C natural log-probabilities)."""

    def __init__(
        self,
        config: AudioEncoderConfig,
        graphs: Mapping[str, GraphFn],
        head_metadata: Mapping[str, Any],  # noqa: ARG002
    ) -> None:
        self.config, self.alphabet, self._graphs = config, Alphabet(config.characters), graphs

    def logits(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        tokens = self._graphs["encoder"]({"inputs": np.ascontiguousarray(wave, np.float32)[None]})["tokens"]
        scores: NDArray[np.float32] = self._graphs["head"]({"tokens": tokens})["scores"][0]
        return scores


def inputs(config: AudioEncoderConfig) -> dict[str, NDArray[np.float32]]:
    """Noise for benchmarks, as :func:`muomni_cli.audio.io.read` returns sounds."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=60 * config.sample_rate).astype(np.float32)
    return {"one second": noise[: config.sample_rate], "one minute": noise}

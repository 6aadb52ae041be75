"""From scores to words and answers, and the recogniser's graphs, run. Knows no torch.

Shapes: N samples, T tokens, W width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import Run, Word
from muomni_listener.config import ListenerConfig
from muomni_listener.ctc import Alphabet, Mark, choose, greedy
from muomni_listener.streaming import BeamSpeller, GreedySpeller, Room, Windows, marks_of, words_of

WAYS: Mapping[str, bool] = MappingProxyType({"exact": False, "choice": True})
"""See :class:`muomni_cli.contract.models.Answers`: a transcript, or the likeliest of some texts."""

Hear = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(N,) samples -> (T,C) scores of one sound, heard in one go."""


def transcribe(
    config: ListenerConfig, hear: Hear, pieces: Iterable[NDArray[np.float32]], beam: int = 0
) -> Iterator[Word]:
    """The words of a sound that comes in pieces, each as soon as it is sure; see
    :class:`muomni_cli.contract.models.Transcriber`."""
    room = room_of(config)
    windows = Windows(config.shortest, config.sample_rate)
    speller = BeamSpeller(beam) if beam else GreedySpeller()
    marks = marks_of(speller, windows.scores(hear, room.pieces(pieces)))
    return map(room.word, words_of(marks, Alphabet(config.characters), config.shortest / config.sample_rate))


def room_of(config: ListenerConfig) -> Room:
    """The silence around sounds."""
    return Room(config.shortest, config.sample_rate)


def spelled(alphabet: Alphabet, marks: Iterable[Mark]) -> str:
    """The text of marks, as the alphabet spells it: no spaces at its ends, nor two in a row."""
    return alphabet.spell(alphabet.decode([mark.symbol for mark in marks]))


def wanted_of(alphabet: Alphabet, text: str) -> str:
    """The text, in the alphabet's characters."""
    return alphabet.decode(alphabet.encode(text))


def answers_of(
    alphabet: Alphabet, heard: Sequence[NDArray[np.float32]], choices: Sequence[str] | None = None
) -> list[str]:
    """Greedy transcripts of (T,C) scores each, or the likeliest of ``choices``, over all the ways to say each."""
    if choices is None:
        return [spelled(alphabet, greedy(row)) for row in heard]
    texts = [alphabet.encode(choice) for choice in choices]
    return [choices[choose(row, texts)] for row in heard]


class RunRecognizer:
    """The encoder and the head that spells: a :class:`muomni_cli.contract.models.Transcriber`, and
    :class:`muomni_cli.contract.models.Answers`.

    Args:
        config: of the encoder.
        graphs: the open ``encoder``, (1,N) ``inputs`` -> (1,T,W) ``tokens``, and ``head``, (1,T,W) ``tokens`` ->
            (1,T,C) ``scores``.
        learned: nothing.
    """

    ways = WAYS
    vocabulary: Sequence[str] = ()

    def __init__(self, config: ListenerConfig, graphs: Mapping[str, Run], learned: Mapping[str, Any]) -> None:  # noqa: ARG002
        self._config, self._graphs = config, graphs
        self._alphabet = Alphabet(config.characters)

    def hear(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) samples -> (T,C) scores."""
        tokens = self._graphs["encoder"]({"inputs": np.ascontiguousarray(wave, np.float32)[None]})["tokens"]
        scores: NDArray[np.float32] = self._graphs["head"]({"tokens": tokens})["scores"][0]
        return scores

    def words(self, inputs: NDArray[np.float32], *, beam: int = 0) -> Iterator[Word]:
        """See :class:`muomni_cli.contract.models.Transcriber`."""
        return self.stream([inputs], beam=beam)

    def stream(self, pieces: Iterable[NDArray[np.float32]], *, beam: int = 0) -> Iterator[Word]:
        """See :class:`muomni_cli.contract.models.Transcriber`."""
        return transcribe(self._config, self.hear, pieces, beam)

    def wanted(self, text: str, label: str | None) -> str:  # noqa: ARG002
        """The text, in the alphabet's characters."""
        return wanted_of(self._alphabet, text)

    def answers(self, inputs: Sequence[NDArray[np.float32]], choices: Sequence[str] | None = None) -> list[str]:
        """See :class:`muomni_cli.contract.models.Answers`."""
        room = room_of(self._config)
        return answers_of(self._alphabet, [self.hear(room.around(wave)) for wave in inputs], choices)

"""Long sounds: the windows leave no seams, and what is said early is what is said at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from muomni_audio_encoder.ctc import Alphabet, Mark, align, greedy, log_probabilities, prefix_beam
from muomni_audio_encoder.model import AudioEncoder
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_audio_encoder.recognizer import Recognizer
from muomni_audio_encoder.runtime import (
    PATIENCE,
    PAUSE,
    BeamSpeller,
    GreedySpeller,
    Room,
    ScoreWindows,
    marks_of,
    words_of,
)
from muomni_cli.api import Word

Lively = Callable[..., AudioEncoder]


def scored(tokens: int, classes: int, seed: int, sharp: float = 3.0) -> NDArray[np.float64]:
    raw = sharp * np.random.default_rng(seed).standard_normal((tokens, classes))
    return raw - np.log(np.exp(raw).sum(1, keepdims=True))


def cut(array: NDArray[np.floating], seed: int, most: int) -> Iterator[NDArray[np.floating]]:
    rng, begin = np.random.default_rng(seed), 0
    while begin < len(array):
        end = begin + int(rng.integers(1, most))
        yield array[begin:end]
        begin = end


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.2 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("samples", [640, 16000, 20 * 16000, 20 * 16000 + 1, 36 * 16000, 36 * 16000 + 640, 1_000_001])
@pytest.mark.parametrize("piece", [1_000_000, 50_000])
def test_windows_lose_nothing_and_say_nothing_twice(samples: int, piece: int) -> None:
    """With an ear that hears each token by itself, the windows give what one pass gives."""
    wave = noise(samples)
    heard: list[int] = []

    def hear(window: NDArray[np.float32]) -> NDArray[np.float64]:
        heard.append(window.size)
        return window[: window.size // 640 * 640].reshape(-1, 640).mean(1, keepdims=True, dtype=np.float64)

    parts = list(ScoreWindows(640, 16000).scores(hear, np.array_split(wave, -(-samples // piece))))
    np.testing.assert_array_equal(np.concatenate(parts), hear(wave))
    assert max(heard[:-1]) <= 20 * 16000
    assert min(heard[:-1]) >= min(samples, 4 * 16000)


@torch.no_grad()
def test_the_scores_of_windows_are_those_of_one_pass_away_from_the_seams(lively: Lively) -> None:
    """Exactly, where attention looks nowhere; and nearly, where windows are longer than what it looks at."""
    model = Recognizer(lively()).eval()
    wave = noise(16000 * 9 + 333)
    for block in model.encoder.blocks:
        nn.init.zeros_(block.attention.out.weight)
    windows = ScoreWindows(640, 16000, window=3.0, side=0.4)
    stitched = np.concatenate(list(windows.scores(model.logits, cut(wave, 0, 20_000))))
    np.testing.assert_allclose(stitched, model.logits(wave), atol=1e-4)


def test_sounds_shorter_than_a_token_say_nothing(lively: Lively) -> None:
    model = Recognizer(lively()).eval()
    assert list(model.words(noise(639))) == []
    assert list(model.stream([])) == []


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 80), st.integers(2, 6), st.integers(0, 999))
def test_greedy_in_parts_is_greedy_in_one(tokens: int, classes: int, seed: int) -> None:
    scores = scored(tokens, classes, seed)
    assert list(marks_of(GreedySpeller(), cut(scores, seed, 9))) == greedy(scores)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(2, 5), st.integers(0, 999))
def test_a_beam_in_parts_is_a_beam_in_one(tokens: int, classes: int, seed: int) -> None:
    scores = scored(tokens, classes, seed)
    marks = list(marks_of(BeamSpeller(8), cut(scores, seed, 9)))
    text, _ = prefix_beam(scores, 8)[0]
    assert [mark.symbol for mark in marks] == text
    assert all(one.begin < other.begin for one, other in pairwise(marks))
    assert all(0 <= mark.begin < mark.end <= tokens for mark in marks)


def spoken(symbols: list[int], classes: int = 4) -> NDArray[np.float64]:
    return np.log(np.eye(classes)[symbols] * 0.99 + 0.01 / classes)


def test_a_beam_gives_what_was_said_at_the_next_pause() -> None:
    phrase = spoken([1, 0, 2, 0, 3] + [0] * PAUSE)
    speller = BeamSpeller(8)
    for turn in range(40):
        given = list(speller.feed(phrase))
        assert [mark.symbol for mark in given] == [1, 2, 3]
        assert [mark.begin - turn * len(phrase) for mark in given] == [0, 2, 4]
    assert list(speller.finish()) == []


def test_a_beam_in_stretches_finds_nothing_less_likely_than_one_beam_over_the_whole() -> None:
    phrases = [scored(20, 4, seed, sharp=4.0) for seed in range(6)]
    whole = np.concatenate([part for phrase in phrases for part in (phrase, spoken([0] * PAUSE))])
    marks = list(marks_of(BeamSpeller(16), cut(whole, 2, 11)))
    texts = [[mark.symbol for mark in marks], prefix_beam(whole, 16)[0][0]]
    stretches, one = log_probabilities(whole, texts)
    assert stretches >= one - 1e-9


def test_a_beam_that_hears_no_pause_holds_no_more_than_its_patience() -> None:
    speller = BeamSpeller(4)
    row = np.log(np.array([[0.02, 0.49, 0.49]]))
    early = [mark for _ in range(PATIENCE) for mark in speller.feed(row)]
    assert early
    assert list(speller.finish()) == []


def test_the_times_of_a_beam_are_those_of_the_alignment() -> None:
    scores = scored(40, 6, 4, sharp=6.0)
    marks = list(marks_of(BeamSpeller(8), cut(scores, 1, 7)))
    assert marks == align(scores, [mark.symbol for mark in marks])


def test_words_lie_between_spaces() -> None:
    letters = Alphabet(" abc")
    marks = [Mark(1, 0, 1), Mark(2, 2, 3), Mark(3, 3, 5), Mark(1, 5, 6), Mark(1, 7, 8), Mark(4, 10, 12)]
    assert list(words_of(marks, letters, 0.04)) == [Word("ab", 0.08, 0.2), Word("c", 0.4, 0.48)]
    assert list(words_of(marks[:2], Alphabet("xabc"), 0.04)) == [Word("xa", 0.0, 0.12)]
    assert list(words_of([], letters, 0.04)) == []


def test_a_word_is_given_before_the_next_is_heard() -> None:
    seen: list[int] = []

    def marks() -> Iterator[Mark]:
        for place, symbol in enumerate([2, 1, 3, 1]):
            seen.append(symbol)
            yield Mark(symbol, place, place + 1)

    words = words_of(marks(), Alphabet(" ab"), 0.04)
    assert next(words).text == "a"
    assert seen == [2, 1]


def changing(seconds: int) -> NDArray[np.float32]:
    """Noise that changes its loudness and pitch every fifth of a second, so that a fresh encoder hears letters."""
    rng = np.random.default_rng(7)
    steps = [np.sin(np.arange(3200) * rng.uniform(0.05, 2.0)) * 10 ** rng.uniform(-3, 0) for _ in range(5 * seconds)]
    return (np.concatenate(steps) + noise(16000 * seconds) / 100).astype(np.float32)


def test_the_same_words_in_one_piece_and_in_many(lively: Lively) -> None:
    model = Recognizer(lively(characters=" ab")).eval()
    nn.init.normal_(model.head.weight, std=2.0)
    wave = changing(47)
    for beam in (0, 4):
        whole = list(model.words(wave, beam=beam))
        assert len(whole) > 3
        assert list(model.stream(cut(wave, 3, 40_000), beam=beam)) == whole
        assert all(0 <= word.start < word.end <= 47.0 for word in whole)


def test_a_sound_has_room_however_it_is_cut() -> None:
    wave = noise(3000)
    room = Room(640, 16000)
    given_in = [cut(wave, 1, 200), [wave], [wave[:100], wave[100:100], wave[100:]]]
    for pieces in given_in:
        np.testing.assert_array_equal(np.concatenate(list(room.pieces(pieces))), room.around(wave))
    assert room.around(wave).size == 3000 + 2 * 4 * 640
    assert list(Room(640, 16000).pieces([noise(639)])) == []


def test_words_are_timed_as_if_there_were_no_room() -> None:
    room = Room(640, 16000)
    list(room.pieces([noise(16000)]))
    assert room.word(Word("in", 0.36, 0.56)) == Word("in", 0.2, 0.4)
    assert room.word(Word("early", 0.0, 0.32)) == Word("early", 0.0, 0.16)
    assert room.word(Word("before", 0.0, 0.08)) == Word("before", 0.0, 0.04)
    assert room.word(Word("after", 1.22, 1.32)) == Word("after", 0.96, 1.0)


def test_listener_config_of_words(lively: Lively) -> None:
    """Times count the encoder's own tokens: 80 ms each at 8 times."""
    model = Recognizer(lively(downsample=8, characters="ab")).eval()
    nn.init.normal_(model.head.weight, std=2.0)
    config: AudioEncoderConfig = model.encoder.config
    assert config.shortest == 1280
    (word,) = model.words(changing(1))
    assert word.end <= 1.04
    assert round(word.start / 0.08, 6) % 1 == 0

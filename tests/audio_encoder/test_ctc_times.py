"""When characters were said: against every way to say a text, in sounds of known silences, and on a voice whose timings
are told by who made it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from ctc_reference import counted, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muomni_audio_encoder import ctc
from muomni_audio_encoder.ctc import BLANK, Alphabet
from muomni_audio_encoder.model import AudioEncoder
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_audio_encoder.recognizer import Recognizer
from muomni_cli.api import CharSpan

ENGLISH = Alphabet(AudioEncoderConfig().characters)
RATE = 16000


@settings(max_examples=10, deadline=None)
@given(tokens=st.integers(1, 4), classes=st.integers(2, 4), seed=st.integers(0, 999))
def test_a_place_is_the_mean_over_all_ways_to_say_a_text(tokens: int, classes: int, seed: int) -> None:
    scores = scored(tokens, classes, seed)
    for text, ways in counted(scores).items():
        if not text:
            continue
        weights, sums = np.zeros(len(text)), np.zeros(len(text))
        for score, path in ways:
            said = -1
            for t, symbol in enumerate(path):
                if symbol != BLANK:
                    said += t == 0 or symbol != path[t - 1]
                    weights[said] += math.exp(score)
                    sums[said] += t * math.exp(score)
        expected = np.maximum.accumulate(sums / weights)
        assert ctc.places(scores, text) == pytest.approx(expected)


@settings(deadline=None)
@given(st.text() | st.text(alphabet="aB \u00e9e\u0301\u00df\ufb01'\u2019,.\u00bd\u0130\u1100\u1161\n", max_size=12))
def test_every_class_knows_its_characters(text: str) -> None:
    found = ENGLISH.places(text)
    assert "".join(one.character for one in found) == ENGLISH.spell(text)
    assert all(0 <= one.begin < one.end <= len(text) for one in found)
    for one, other in pairwise(found):
        assert one.end <= other.begin or (one.begin, one.end) == (other.begin, other.end)


def test_runs_ligatures_and_accents() -> None:
    def cut(text: str) -> list[tuple[str, str]]:
        return [(one.character, text[one.begin : one.end]) for one in ENGLISH.places(text)]

    assert cut('"Oh, no!"') == [("o", "O"), ("h", "h"), (" ", ", "), ("n", "n"), ("o", "o")]
    assert cut("\ufb01e\u0301") == [("f", "\ufb01"), ("i", "\ufb01"), ("e", "e\u0301")]
    assert Alphabet("ab").places("A - b")[1].begin == 4


def sound(*parts: tuple[float, float], noise: float = 0.0) -> NDArray[np.float32]:
    """Seconds and loudness of each part of a hum."""
    gains = np.concatenate([np.full(round(seconds * RATE), loudness) for seconds, loudness in parts])
    hum = np.sin(2 * np.pi * 200 * np.arange(gains.size) / RATE)
    hiss = np.random.default_rng(0).standard_normal(gains.size)
    return np.asarray(0.3 * gains * hum + noise * hiss, np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.002, 0.01])
def test_quiet_is_found(noise: float) -> None:
    found = ctc.quiet(sound((0.2, 0), (0.5, 1), (0.3, 0), (0.5, 0.5), (0.25, 0), noise=noise), RATE)
    long = found.ends - found.begins > 0.1
    assert found.begins[long] == pytest.approx([0.0, 0.7, 1.5], abs=0.015)
    assert found.ends[long] == pytest.approx([0.2, 1.0, 1.75], abs=0.015)
    assert found.longest(0.1, 1.2) == pytest.approx((0.7, 1.0), abs=0.015)
    assert found.longest(0.3, 0.5) == (0.4, 0.4)
    assert ctc.quiet(np.zeros(RATE, np.float32), RATE).seconds == 1.0


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_pauses_go_to_spaces_and_to_the_ends(shift: float) -> None:
    silence = ctc.quiet(sound((0.2 + shift, 0), (0.5, 1), (0.3, 0), (0.5, 1), (0.25, 0)), RATE)
    centers = np.array([0.3, 0.6, 0.8, 1.1, 1.4]) + shift
    spaces, marked = np.array([0, 0, 1, 0, 0], bool), np.zeros(5, bool)
    expected = np.array([0.2, 0.45, 0.7, 1.0, 1.25, 1.5]) + shift
    assert ctc.edges(centers, spaces, marked, silence) == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(("gap", "mark", "parted"), [(0.0, True, False), (0.09, False, False), (0.09, True, True)])
def test_a_stop_is_no_pause_but_a_comma_may_be(gap: float, mark: bool, parted: bool) -> None:
    silence = ctc.quiet(sound((0.1, 0), (0.5, 1), (gap + 0.01, 0), (0.5, 1), (0.1, 0)), RATE)
    centers = np.array([0.4, 0.62, 0.9])
    edges = ctc.edges(centers, np.array([False, True, False]), np.array([False, mark, False]), silence)
    assert (edges[2] - edges[1] > 0.05) == parted
    if not parted:
        assert edges[1] == edges[2] == pytest.approx(centers.mean())


def spans_fit(spans: list[CharSpan], text: str, wave: NDArray[np.float32]) -> None:
    """In order of text and time, no time left out between the first and the last, all inside of the sound."""
    assert spans[0].start >= 0
    assert spans[-1].end <= len(wave) / RATE
    assert all(one.start <= one.end and text[one.start_char : one.end_char] for one in spans)
    for one, other in pairwise(spans):
        assert one.end == other.start
        assert one.end_char <= other.start_char


TEXTS = ['"Hello,  there!"', "caf\u00e9 \ufb01g", "a", "", "?!", "Well -- yes", "b" * 60]


@pytest.fixture
def aligned(lively: Callable[..., AudioEncoder], voice: Callable[..., NDArray[np.float64]]) -> Callable[..., object]:
    """A recogniser that knows nothing, and a sound for each text."""
    torch.manual_seed(0)
    model = Recognizer(lively()).eval()
    waves = [voice(RATE, 1.0 + 0.2 * row, 100.0 + 20 * row).astype(np.float32) for row in range(len(TEXTS))]
    return lambda rows: (
        [waves[row] for row in rows],
        model.align([waves[row] for row in rows], [TEXTS[r] for r in rows]),
    )


def test_spans_fit_texts_and_sounds_and_a_batch_is_its_rows(aligned: Callable[..., object]) -> None:
    waves, found = aligned(range(len(TEXTS)))  # type: ignore[misc]
    assert found[3:5] == [[], []]
    assert found[6] is None, "60 letters, each of which needs a blank before it, in 55 tokens"
    for row in (0, 1, 2, 5):
        spans_fit(found[row], TEXTS[row], waves[row])
        (alone,) = aligned([row])[1]  # type: ignore[index]
        assert [(one.start_char, one.end_char) for one in alone] == [
            (one.start_char, one.end_char) for one in found[row]
        ]
        edges = [(one.start, one.end) for one in found[row]]
        assert np.allclose([(one.start, one.end) for one in alone], edges, atol=1e-3)
    said = TEXTS[0]
    assert [said[one.start_char : one.end_char] for one in found[0]] == [*"Hello", ",  ", *"there"]
    assert [TEXTS[1][one.start_char : one.end_char] for one in found[1]] == [
        "c",
        "a",
        "f",
        "\u00e9",
        " ",
        "\ufb01",
        "g",
    ]


def test_a_sound_shorter_than_a_token_says_nothing(
    lively: Callable[..., AudioEncoder],
) -> None:
    model = Recognizer(lively()).eval()
    assert model.align([np.zeros(10, np.float32), np.zeros(0, np.float32)], ["a", ""]) == [None, []]
    assert model.align([], []) == []

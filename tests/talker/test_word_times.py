"""A Talker tells which frames belong to which written word, whatever the normalization makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muomni_cli.api import FrameSpan, TextChunk, VoiceSettings
from muomni_talker.text_frontend import script
from tests.talker.conftest import talker

WRITTEN = (
    "hello Mr. St. etc. p.m. Main 5 June 2020 $1.5 million km (555) 123-4567 1/2 - — ... The I. J. "
    'Henry VIII and, USB wait...what (in) "Yes!" he 80s the x 20 °C No. 5-10 1 000 000 e.g. \n\n * # 1. one—two Мир 😀'
)
WORDS = st.sampled_from(WRITTEN.split(" "))
TEXTS = st.lists(WORDS, max_size=40).map(" ".join)
TALKERS = [talker(), talker(parallel=True)]


def first_code(logits: NDArray[np.float32]) -> int:
    """Always the same code: times do not depend on codes."""
    assert logits.size
    return 0


def written(text: str, skipped: dict[str, None] | None = None, size: int = 0) -> list[str]:
    """The written words of a text, which comes in pieces of ``size`` characters (0: at once)."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)] if size else [text]
    words: dict[int, str] = {}
    for chunk in script(map(TextChunk, pieces), skipped):
        words[chunk.number] = words.get(chunk.number, "") + chunk.written
    assert list(words) == list(range(1, len(words) + 1))
    return list(words.values())


def spans(module: object, texts: Sequence[str], speed: float = 1.0) -> tuple[list[FrameSpan], NDArray[np.int64]]:
    asked = VoiceSettings(speed=speed)
    made = list(module.speak(map(TextChunk, texts), asked, lambda logits: int(logits.argmax())))  # type: ignore[attr-defined]
    return asked.report.spans, np.concatenate([np.zeros((0, 2), np.int64), *made])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It was 23 °C.", ["It", "was", "23 °C."]),
        (
            "Dr. Smith paid $3.5 million on Jan. 5th, 2020",
            ["Dr.", "Smith", "paid", "$3.5 million", "on", "Jan.", "5th,", "2020"],
        ),
        ("1 000 000 people", ["1 000 000", "people"]),
        ("pages 5-10 of USB, e.g. this", ["pages", "5-10", "of", "USB,", "e.g.", "this"]),
        ("call (555) 123-4567 now", ["call", "(555) 123-4567", "now"]),
        ("it is one—two", ["it", "is", "one—two"]),
        ("one—23 km away", ["one—23 km", "away"]),
        ("salt &amp; <b>pep</b>per<br/>x", ["salt", "&amp;", "pepper", "x"]),
        ("see [the docs](https://x.org/a) now", ["see", "[the", "docs]", "now"]),
        ("well — you know", ["well —", "you", "know"]),
        ("# Title\n\n- item\n- two", ["# Title", "- item", "- two"]),
        ("one<break time='2s'/>two <break/> three", ["one", "two", "three"]),
        ("Hello😀 Мир &#128512; friend", ["Hello", "friend"]),
        ("Ünï “é”", ["Ünï", "“é”"]),
        ("😀", []),
    ],
)
def test_what_is_read_together_is_one_word(text: str, words: list[str]) -> None:
    assert written(text) == words
    assert [span.text for span in spans(TALKERS[0], [text])[0]] == words


@given(TEXTS, st.integers(0, 9))
def test_words_are_the_text_without_what_is_skipped(text: str, size: int) -> None:
    skipped: dict[str, None] = {}
    words = written(text, skipped, size)
    assert words == written(text)
    rest = "".join(text.split())
    for piece in skipped:
        rest = rest.replace(piece, "")
    joined = "".join("".join(words).split())
    for piece in skipped:
        assert piece not in joined
    assert rest.startswith(joined)
    assert not any(character.isalnum() for character in rest[len(joined) :]), "only marks may follow the last word"


@given(st.text(max_size=60))
def test_words_of_any_text_are_pieces_of_it_in_order(text: str) -> None:
    rest = iter(text)
    assert all(character in rest for word in written(text) for character in "".join(word.split()))


@pytest.mark.parametrize("module", TALKERS, ids=["cursor", "parallel"])
@settings(max_examples=8, deadline=None)
@given(text=st.lists(WORDS, max_size=10).map(" ".join), size=st.integers(1, 9), speed=st.sampled_from([1.0, 0.9, 1.1]))
def test_spans_are_in_order_and_inside_the_speech(module: object, text: str, size: int, speed: float) -> None:
    found, codes = spans(module, [text], speed)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    again, same = spans(module, pieces, speed)
    assert again == found
    assert np.array_equal(codes, same)
    assert [span.text for span in found] == written(text)[: len(found)]
    edges = [edge for span in found for edge in (span.start, span.end)]
    assert all(first <= second for first, second in pairwise([0, *edges, len(codes)]))


def test_a_span_is_reported_with_its_frames_and_not_before() -> None:
    asked = VoiceSettings()
    text = map(TextChunk, ["the", "first", "one", "is", "here.", "then", "there", "are", "three", "more", "of", "them"])
    frames, reported = 0, []
    chunks = TALKERS[0].speak((TextChunk(f"{piece.text} ") for piece in text), asked, first_code)
    for codes in chunks:
        frames += len(codes)
        reported.append(len(asked.report.spans))
        assert all(span.end <= frames for span in asked.report.spans)
    assert len(set(reported)) > 5
    assert len(asked.report.spans) == 12


def test_words_after_the_limit_on_frames_have_no_time() -> None:
    short = talker(ctx_len=16)
    asked = VoiceSettings()
    text = "seventeen little letters and many more of them"
    frames = sum(len(codes) for codes in short.speak([TextChunk(text)], asked, first_code))
    assert asked.report.cut
    assert frames == 16
    assert 0 < len(asked.report.spans) < len(text.split())
    assert asked.report.spans[-1].end <= frames

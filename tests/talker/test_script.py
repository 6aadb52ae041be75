"""A text that comes in pieces gives the same words however it is cut."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muomni_cli.api import TextChunk
from muomni_talker.text_frontend import LONGEST, FrontendChunk, TextFrontend, normalize, script

WRITTEN = (
    "hello Mr. St. etc. p.m. Main 5 June 2020 $1.5 million km (555) 123-4567 1/2 - — ... ? ! , The I. J. "
    'Henry VIII 😀 \n\n \n * # 1. and, USB wait...what (in) "Yes!" he 80s the x 20°C No.'
)
WORDS = st.sampled_from(WRITTEN.split(" "))
MARKED = '<b> </b> <break/> <!-- --> &amp; &lt; & < > ]( a](b) " = time="1s" ~~ 1 000 3,5 \u2013 Mon\u2013Fri'
MARKUP = st.sampled_from(MARKED.split(" "))
TEXTS = st.one_of(
    st.lists(MARKUP, max_size=30).map("".join), st.text(max_size=80), st.lists(WORDS, max_size=70).map(" ".join)
)


def pieces(text: str, cuts: list[int]) -> list[TextChunk]:
    """The text cut at some places, each piece with its number as its hidden state."""
    char_times = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [TextChunk(text[a:b], np.array([a])) for a, b in pairwise(char_times)]


def sentences(words: Iterable[FrontendChunk]) -> Iterator[list[FrontendChunk]]:
    """Group words into sentences."""
    sentence: list[FrontendChunk] = []
    for word in words:
        sentence.append(word)
        if word.ends:
            yield sentence
            sentence = []


def shown(words: list[FrontendChunk]) -> list[tuple[str, bool]]:
    return [(word.text, word.ends) for word in words]


@given(TEXTS, st.lists(st.integers(0, 400), max_size=30))
def test_cuts_change_nothing(text: str, cuts: list[int]) -> None:
    whole = list(script([TextChunk(text)]))
    assert shown(list(script(pieces(text, cuts)))) == shown(whole)
    assert shown(list(script(TextChunk(character) for character in text))) == shown(whole)
    assert "".join(word.text + " " * word.ends for word in whole).strip() == normalize(text)


@given(TEXTS, st.lists(st.integers(0, 400), max_size=30))
def test_sentences_are_bounded_and_end(text: str, cuts: list[int]) -> None:
    words = list(script(pieces(text, cuts)))
    assert not words or words[-1].ends
    for sentence in sentences(iter(words)):
        said = "".join(word.text for word in sentence)
        assert said == said.strip()
        assert 1 <= len(said.split()) <= LONGEST
    # Hidden states are those of the pieces, in order.
    begins = [int(word.hidden[0]) for word in words if word.hidden is not None]
    assert len(begins) == len(words)
    assert begins == sorted(begins)


def test_a_word_carries_the_state_that_finished_it() -> None:
    text = [
        TextChunk("un", np.array([1])),
        TextChunk("seen", np.array([2])),
        TextChunk(" things", np.array([3])),
        TextChunk(".", None),
    ]
    words = list(script(text))
    assert [word.text for word in words] == ["unseen ", "things."]
    assert words[0].hidden is not None
    assert words[0].hidden[0] == 2
    assert words[1].hidden is None


def test_plain_words_are_sure_when_the_next_one_is_read() -> None:
    reader = TextFrontend()
    assert not list(reader.push(TextChunk("One two")))
    assert [word.text for word in reader.push(TextChunk(" three"))] == ["one "]
    assert [word.text for word in reader.push(TextChunk(". Four"))] == ["two ", "three."]
    assert [word.text for word in reader.finish()] == ["four"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three! Four", ["one.", "two?", "three!", "four"]),
        ("Mr. Smith went. He left.", ["mister smith went.", "he left."]),
        ("Title\n\nText of it\nin two lines", ["title", "text of it in two lines"]),
        ("- one\n- two", ["one", "two"]),
        ("At 5 p.m. He left", ["at five p m.", "he left"]),
        ("It costs 3.50 now.", ["it costs three point five zero now."]),
        ("word " * 50, [" ".join(["word"] * 40), " ".join(["word"] * 10)]),
        ("word " * 30 + "word, and more", [" ".join(["word"] * 31) + ",", "and more"]),
        ("😀", []),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    said = ["".join(word.text for word in sentence) for sentence in sentences(script([TextChunk(text)]))]
    assert said == expected


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, muomni_talker.text_frontend; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Texts to be spoken: sentences made of patterns, and sentences cut from running text."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from muomni_cli.api import cut_sentences as sentences
from muomni_datasets.config import SpokenConfig, TextConfig, unsayable
from muomni_datasets.story_plots import made
from muomni_datasets.synthesized_speech import SpokenSentences
from muomni_datasets.text import Files

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="the program flite is not installed")

DIGITS = ("zero", "one", "two", "three")
PATTERNS = ("{digit} {digit} {digit}", "turn {onoff} the {room} light")
SLOTS = {"digit": DIGITS, "onoff": ("on", "off"), "room": ("kitchen", "living room", "hall")}


def cut(text: str, least: int = 1, most: int = 100) -> list[str]:
    return list(sentences(text.splitlines(keepends=True), least, most))


def test_patterns_are_filled_by_seed_and_do_not_repeat() -> None:
    few = list(islice(made(PATTERNS, SLOTS, seed=1), 60))
    assert few == list(islice(made(PATTERNS, SLOTS, seed=1), 80))[:60]
    assert few != list(islice(made(PATTERNS, SLOTS, seed=2), 60))
    assert len(set(few)) == 60
    number, command = r"(zero|one|two|three)", r"turn (on|off) the (kitchen|living room|hall) light"
    assert all(re.fullmatch(f"{number} {number} {number}|{command}", text) for text in few)
    assert sum(text.startswith("turn") for text in few) == 6, "all commands, once"


def test_a_small_grammar_goes_round() -> None:
    texts = list(islice(made(["say {x}"], {"x": ("a", "b", "c")}, seed=0), 30))
    assert [len(set(texts[at : at + 3])) for at in range(0, 30, 3)] == [3] * 10
    alike = Counter(islice(made(["{x}"], {"x": ("a", "a", "b")}, seed=0), 40))  # fewer texts than ways
    assert set(alike) == {"a", "b"}


@needs_flite
def test_patterns_become_examples_that_know_their_voice(tmp_path: Path) -> None:
    source = SpokenSentences(SpokenConfig(patterns=PATTERNS, slots=SLOTS, count=40, voices=("slt", "kal16")))
    examples = list(source.documents())
    assert examples == list(source.documents())
    assert len({one.text for one in examples}) == 40
    assert all(one.key == one.text and one.label is None for one in examples)
    assert {one.voice for one in examples} == {"slt", "kal16"}
    assert all(one.media.facts["voice"] == one.voice for one in examples)
    assert [path.name for path in source.files()] == ["flite"]
    (tmp_path / "a.txt").write_text("A cat sat on\nthe mat. Then it\nleft.\n")
    config = SpokenConfig(path=str(tmp_path / "a.txt"), cut="sentences", min_words=4, voices=("slt",))
    assert [one.text for one in SpokenSentences(config).documents()] == ["A cat sat on the mat."]


@pytest.mark.parametrize(
    "config",
    [
        {"patterns": ["{digit}"], "count": 3},
        {"patterns": ["no slot"], "slots": {"digit": ["one"]}, "count": 3},
        {"patterns": ["{digit"], "count": 3},
        {"patterns": ["{digit} }"], "slots": {"digit": ["one"]}, "count": 3},
        {"patterns": ["{digit}"], "slots": {"digit": []}, "count": 3},
        {"patterns": ["{digit}"], "slots": {"digit": ["\u00fcber"]}, "count": 3},
        {"patterns": ["{digit}"], "slots": {"digit": ["one"]}},
        {"patterns": ["..."], "count": 1},
        {"patterns": [" ".join(["{a}"] * 20)], "slots": {"a": ["x" * 60, "y"]}, "count": 1},
        {"sentences": ["one"], "words": ["two"]},
        {"path": "x.txt", "patterns": ["one"], "count": 1},
        {"min_words": 5, "max_words": 4},
        {"cut": "words"},
    ],
)
def test_what_cannot_be_made_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SpokenConfig.model_validate(config)


def test_sentences_run_over_lines_and_paragraphs_do_not() -> None:
    assert cut("The old man sat\ndown. He\nslept\n\nAnd then he woke.\nWhat now?\n") == [
        "The old man sat down.",
        "And then he woke.",
        "What now?",
    ]
    long = "A paragraph of one line that is far too long for anybody to have wrapped it there, " + "and so on " * 5
    assert cut(f"It began:\n{long.strip()}.\nThen it ended.\n") == [f"{long.strip()}.", "Then it ended."]


def test_a_full_stop_that_ends_nothing() -> None:
    for sentence in ("Mr. Brown met Dr. Smith.", "It was J. S. Bach.", "At five a.m. Tom woke."):
        assert cut(f"{sentence} They left.") == [sentence, "They left."]
    assert cut("So am I. You know?") == ["So am I.", "You know?"]


def test_marks_that_nobody_hears_are_plain() -> None:
    said = "\u201cAh!\u201d said she. \u2018Don\u2019t go\u2014yet,\u2019 he said; \u201cwait\u2026\u201d He ran."
    assert cut(said) == ["Ah! said she.", "Don't go, yet, he said; wait...", "He ran."]
    assert cut("The boys' hats--all of them--were 'well-made'.") == ["The boys' hats, all of them, were well-made."]
    assert cut("\u201cYes,\u2014no!\u201d It was _so_ late.") == ["Yes, no!", "It was so late."]


def test_what_is_not_said_as_written_is_left_out() -> None:
    odd = "CHAPTER ONE. He had 3 eggs. The caf\u00e9 was shut. It cost $ five. He left [sic]."
    assert cut(f"{odd} A plain one. And") == ["A plain one."]
    assert cut("One two three. One two. One two three four.", 3, 3) == ["One two three."]


def test_running_text_streams() -> None:
    def endless() -> Any:
        while True:
            yield "A short sentence goes on and on. And on\n"

    assert len(list(islice(sentences(endless(), 1, 20), 2000))) == 2000


def test_real_stories() -> None:
    stories = Files(TextConfig(path="set:stories"), (".txt",))
    found = list(islice(sentences((line for _, line in stories.lines(*stories.paths())), 4, 20), 3000))
    assert len(found) == 3000
    assert all(4 <= len(one.split()) <= 20 and not unsayable(one) for one in found)
    assert not any(re.search(r"[\"\d\u2018-\u201d]|[A-Z]{2}|--|\s\s", one) for one in found)

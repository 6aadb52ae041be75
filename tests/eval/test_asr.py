"""The recognizer understands speech, and finds no words in other sounds."""

from __future__ import annotations

import gzip
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from muomni_cli.api import RequestError, expand_path
from muomni_cli.core.interval import bootstrap
from muomni_cli.speech.asr import FEW, Recognizer, pronunciations, words_of
from muomni_cli.speech.wer import WordErrors, word_errors

DIGITS = ["three one four", "nine two six five", "seven zero eight one"]
SENTENCES = [
    "Please open the red door now.",
    "Don't close the window before tomorrow!",
    "The old dog sat down beside the kitchen fire.",
    "Bring seven green bottles to the garden.",
    "Who left a yellow book on that little table?",
    "We sang until the morning and slept until noon.",
]


def recognizer_for(sentences: list[str], others: tuple[str, ...] = ()) -> Recognizer:
    pytest.importorskip("pocketsphinx", reason="the judge is pocketsphinx, of muomni[eval]")
    pytest.importorskip("jiwer", reason="word errors are counted by jiwer, of muomni[eval]")
    return Recognizer.for_sentences(sentences, others)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.float32]]:
    """Every sentence in flite's voice slt at 16 kHz, and so each with its words in reverse."""
    flite = shutil.which("flite")
    if flite is None:
        pytest.skip("the program flite, which says what is judged, is not installed")
    file = tmp_path_factory.mktemp("said") / "said.wav"
    found = {}
    for text in [*DIGITS, *SENTENCES, *map(reverse, SENTENCES)]:
        subprocess.run([flite, "-voice", "slt", "-t", text, "-o", str(file)], check=True, capture_output=True)
        found[text] = soundfile.read(file, dtype="float32")[0]
    return found


def reverse(text: str) -> str:
    return " ".join(words_of(text)[::-1])


@pytest.mark.parametrize("sentences", [DIGITS, SENTENCES])
def test_speech_is_understood_and_nothing_is_invented(
    sentences: list[str], said: dict[str, NDArray[np.float32]]
) -> None:
    recognizer = recognizer_for(sentences)
    assert not recognizer.left_out
    waves = [said[text] for text in sentences]
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.05, wave.shape).astype(np.float32) for wave in waves]
    assert word_errors(sentences, recognizer.transcribe_all(waves)).rate <= 0.1
    assert word_errors(sentences, recognizer.transcribe_all(noise)).rate >= 0.9
    assert word_errors(sentences, recognizer.transcribe_all([np.zeros_like(wave) for wave in waves])).rate >= 0.75


def test_words_in_another_order_are_not_taken_for_the_sentence(said: dict[str, NDArray[np.float32]]) -> None:
    recognizer = recognizer_for(SENTENCES)
    turned = recognizer.transcribe_all([said[reverse(text)] for text in SENTENCES])
    assert word_errors(SENTENCES, turned).rate >= 0.5


def test_what_was_heard_before_changes_nothing(said: dict[str, NDArray[np.float32]]) -> None:
    recognizer = recognizer_for(SENTENCES)
    first = [recognizer.transcribe(said[text]) for text in SENTENCES]
    assert [recognizer.transcribe(said[text]) for text in SENTENCES[::-1]] == first[::-1]


def test_workers_hear_the_same(said: dict[str, NDArray[np.float32]]) -> None:
    recognizer = recognizer_for(DIGITS)
    waves = [said[DIGITS[place % len(DIGITS)]] for place in range(FEW + 1)]
    assert recognizer.transcribe_all(waves) == [recognizer.transcribe(wave) for wave in waves]


def test_other_rates_are_resampled(said: dict[str, NDArray[np.float32]]) -> None:
    recognizer = recognizer_for(DIGITS)
    doubled = np.repeat(said[DIGITS[0]], 2)
    assert recognizer.transcribe(doubled, 32000) == DIGITS[0]


@pytest.mark.parametrize("count", [0, 1, 100])
def test_too_little_sound_is_silence(count: int) -> None:
    assert recognizer_for(DIGITS).transcribe(np.zeros(count, np.float32)) == ""


def test_unknown_words_leave_a_sentence_out() -> None:
    recognizer = recognizer_for([*SENTENCES, "The xqzv sat down.", "!?", "Room 42."], ("Another xqzv.", "A fine day."))
    assert recognizer.left_out == {"The xqzv sat down.", "!?", "Room 42."}
    assert "\nfine " in recognizer.dictionary
    assert "xqzv" not in recognizer.dictionary


def test_without_sentences_nothing_is_recognized() -> None:
    assert recognizer_for([]).transcribe(np.ones(16000, np.float32)) == ""


def test_words_that_the_dictionary_lacks_are_put_together() -> None:
    pytest.importorskip("pocketsphinx", reason="the judge is pocketsphinx, of muomni[eval]")
    assert pronunciations("nightcap's")[0].endswith("K AE P S")
    assert pronunciations("foxhouse") == ("F AA K S HH AW S",)
    assert pronunciations("don't") == ("D OW N T", "D OW N")
    assert pronunciations("xqzv") == ()


def test_both_sides_are_written_alike() -> None:
    assert words_of("\u201cDon\u2019t!\u201d \u2014 said the Caf\u00e9's well-fed 'cat'_s.") == (
        ["don't", "said", "the", "cafe's", "well", "fed", "cat", "s"]
    )


def test_errors_are_counted_by_words() -> None:
    pytest.importorskip("jiwer", reason="word errors are counted by jiwer, of muomni[eval]")
    found = word_errors(["One, two!", "Three four five six."], ["one", "three four six seven eight"])
    assert found == WordErrors((1, 3), (2, 4))
    assert found.rate == pytest.approx(4 / 6)


def test_the_interval_is_of_the_rate() -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(3, 15, 100)
    found = WordErrors(tuple(rng.binomial(words, 0.2).tolist()), tuple(words.tolist()))
    sure = found.interval()
    assert sure.low < found.rate < sure.high
    assert sure.high - sure.low < 0.1
    none = WordErrors((0,) * 100, found.words)
    assert found.above(none) == (found.rate, sure.low, sure.high)
    assert found.above(found) == (0, 0, 0)
    ones = bootstrap(found.edits, list(map(str, range(100))))
    assert bootstrap(found.edits, list(map(str, range(100))), sizes=[1] * 100) == ones


@pytest.mark.parametrize("package", ["pocketsphinx", "jiwer"])
def test_a_missing_extra_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from muomni_cli.speech.asr import english

    english.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RequestError, match=package) as raised:
        word_errors(["one"], ["one"]) if package == "jiwer" else Recognizer.for_sentences(["one"])
    assert raised.value.fix == "pip install 'muomni[eval]'"


def test_stories_are_understood(tmp_path: Path) -> None:
    """Sentences of books, with others of their kind."""
    flite = shutil.which("flite")
    if flite is None:
        pytest.skip("the program flite is not there")
    path = expand_path("set:stories")
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8")
    sentences = [one.strip() for one in re.split(r"(?<=[.!?])\s+", text)]
    sentences = [one for one in dict.fromkeys(sentences) if 3 <= len(one.split()) <= 15]
    random.Random(0).shuffle(sentences)
    recognizer = recognizer_for(sentences[:16], tuple(sentences[16:600]))
    waves, kept = [], [one for one in sentences[:16] if one not in recognizer.left_out]
    assert len(kept) >= 11
    for sentence in kept:
        subprocess.run([flite, "-voice", "slt", "-t", sentence, "-o", str(tmp_path / "a.wav")], check=True)
        waves.append(soundfile.read(tmp_path / "a.wav", dtype="float32")[0])
    assert word_errors(kept, recognizer.transcribe_all(waves)).rate <= 0.1

"""The judge's expectations: a well-formed ARPA file whose probabilities are some."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.speech.asr import arpa

SENTENCES = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=6), min_size=1, max_size=12)


class Arpa:
    """Reads an ARPA file and asks it, independently of what wrote it."""

    def __init__(self, text: str) -> None:
        head, *sections, end = text.strip().split("\n\n")
        assert head.splitlines()[0] == "\\data\\"
        assert end == "\\end\\"
        told = [int(line.partition("=")[2]) for line in head.splitlines()[1:]]
        self.grams: dict[tuple[str, ...], tuple[float, float]] = {}
        for size, section in enumerate(sections, start=1):
            title, *lines = section.splitlines()
            assert title == f"\\{size}-grams:"
            assert len(lines) == told[size - 1]
            for line in lines:
                log, words, *left = line.split("\t")
                gram = tuple(words.split(" "))
                assert len(gram) == size
                self.grams[gram] = float(log), float(left[0]) if left else 0.0
        self.order = len(sections)

    def log(self, history: tuple[str, ...], word: str) -> float:
        if (*history, word) in self.grams:
            return self.grams[*history, word][0]
        return self.grams.get(history, (0.0, 0.0))[1] + self.log(history[1:], word)

    def words(self) -> list[str]:
        return [gram[0] for gram in self.grams if len(gram) == 1 and gram != ("<s>",)]


@settings(max_examples=40, deadline=None)
@given(SENTENCES, st.integers(1, 3))
def test_what_may_follow_any_history_sums_to_one(sentences: list[list[str]], order: int) -> None:
    model = Arpa(arpa(sentences, order))
    words = model.words()
    assert model.order == order
    histories = [(), ("<s>",), *[(word,) for word in words], *[(a, b) for a in ["<s>", *words] for b in words]]
    for history in histories:
        if "</s>" not in history:
            total = sum(10 ** model.log(history[len(history) - order + 1 :] if order > 1 else (), w) for w in words)
            assert total == pytest.approx(1, abs=1e-4), history


def test_by_hand() -> None:
    model = Arpa(arpa([["a", "b"], ["a", "c"]], order=2))
    # Six words with the ends: a 2, b 1, c 1, </s> 2, of four kinds, each of which gets 1/4 of the four shares left.
    unigram = {"a": 3 / 10, "b": 2 / 10, "c": 2 / 10, "</s>": 3 / 10}
    for word, share in unigram.items():
        assert model.log((), word) == pytest.approx(math.log10(share), abs=1e-5)
    # After a: b and c once each, so that two of four shares go by the unigrams.
    assert 10 ** model.log(("a",), "b") == pytest.approx((1 + 2 * 0.2) / 4, abs=1e-5)
    assert 10 ** model.log(("a",), "a") == pytest.approx(2 * 0.3 / 4, abs=1e-5)
    assert model.log((), "<s>") == -99


def test_a_model_of_single_words_takes_all_of_them_for_equally_likely() -> None:
    model = Arpa(arpa([["one", "two", "three"]], order=1))
    assert [model.log((), word) for word in model.words()] == pytest.approx([math.log10(1 / 4)] * 4, abs=1e-5)


def test_sentences_it_has_seen_are_likelier_than_their_words_in_another_order() -> None:
    said = ["the", "cat", "sat", "on", "the", "mat"]
    model = Arpa(arpa([said, ["the", "dog", "ran", "to", "the", "door"]]))

    def likely(words: list[str]) -> float:
        row = ["<s>", *words, "</s>"]
        return sum(model.log(tuple(row[max(0, place - 2) : place]), row[place]) for place in range(1, len(row)))

    assert likely(said) > likely(said[::-1]) + 2

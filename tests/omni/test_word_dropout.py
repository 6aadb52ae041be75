"""Word dropout: only words of answers about media are kept from the Thinker, as many as was asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muomni_cli.training.word_dropout import hide_words

SPECIALS = {"pad": 0, "bos": 1, "eos": 2, "user": 3, "assistant": 4}


def talk(media: bool) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """bos, 4 tokens of a picture, a question of 10 words, and 400 answers of 5 words."""
    asked = [1, *([-1] * 4 if media else []), 3, *range(10, 20)]
    answers = [4, 20, 21, 22, 23, 24, 2] * 400
    answer = [False] * len(asked) + [token not in (4,) for token in answers]
    return np.array(asked + answers, np.int32), np.array(answer)


def test_a_share_of_the_answers_words_is_hidden_and_nothing_else() -> None:
    ids, answer = talk(media=True)
    before = ids.copy()
    given = hide_words(ids, answer, 0.3, SPECIALS, np.random.default_rng(0))
    assert np.array_equal(ids, before)
    changed = given != ids
    assert set(given[changed]) == {SPECIALS["pad"]}
    assert answer[changed].all()
    assert not np.isin(ids[changed], list(SPECIALS.values())).any()
    assert 0.25 < changed.sum() / 2000 < 0.35


def test_text_alone_and_a_share_of_nought_are_left_as_they_are() -> None:
    for media, share in ((False, 0.3), (True, 0.0)):
        ids, answer = talk(media)
        assert np.array_equal(hide_words(ids, answer, share, SPECIALS, np.random.default_rng(0)), ids)

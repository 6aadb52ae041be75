"""Word dropout: only words of answers about media are kept from the Thinker, as many as was asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muomni_cli.training.objectives import hide_words, share_of

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


def test_a_share_of_nought_leaves_all_as_it_is() -> None:
    ids, answer = talk(media=True)
    assert np.array_equal(hide_words(ids, answer, 0.0, SPECIALS, np.random.default_rng(0)), ids)


def test_text_alone_has_no_share_and_modalities_may_have_their_own() -> None:
    by_modality = {"image": 0.5, "smell": 0.2}
    cases: list[tuple[float | dict[str, float], list[str], float]] = [
        (0.3, [], 0.0),
        (0.3, ["audio"], 0.3),
        (by_modality, [], 0.0),
        (by_modality, ["audio"], 0.0),
        (by_modality, ["audio", "image"], 0.5),
        (by_modality, ["smell", "image"], 0.5),
    ]
    for word_dropout, modalities, share in cases:
        assert share_of(word_dropout, modalities) == share

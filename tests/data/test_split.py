"""Which keys are held out: no side is empty, classes are stratified, and only the set of keys and labels decides."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.data import split
from muomni_cli.data.split import (
    KeySplit,
    Pool,
    hash_of,
    held_out_of,
    share_of,
    split_of_key,
    splits_of_items,
    threshold_of,
    uncertainty,
)

Labelled = dict[str, set[str]]
CLASSES = "abcde"


def pool_of(items: list[tuple[str, str | None]]) -> Pool:
    pool = Pool()
    for key, label in items:
        pool.add(hash_of(key), label)
    return pool


def pairs(keys: Labelled) -> list[tuple[str, str | None]]:
    return [(key, label) for key, labels in keys.items() for label in (sorted(labels) or [None])]


def held(keys: Labelled, splits: KeySplit) -> set[str]:
    return {key for key in keys if splits(hash_of(key)) == "val"}


some_keys = st.dictionaries(
    st.text(min_size=1, max_size=6), st.sets(st.sampled_from(CLASSES), max_size=3), min_size=2, max_size=60
)


@settings(max_examples=150, deadline=None)
@given(some_keys, st.randoms(use_true_random=False))
def test_no_side_is_empty_and_the_order_changes_nothing(keys: Labelled, baseline: random.Random) -> None:
    items = pairs(keys)
    splits = pool_of(items).default_sides()
    val = held(keys, splits)
    assert 0 < len(val) < len(keys)
    assert len(val) <= held_out_of(len(keys), share_of(len(keys)))
    baseline.shuffle(items)
    assert held(keys, pool_of(items * 2).default_sides()) == val


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=6), st.sampled_from(CLASSES), min_size=2, max_size=120))
def test_every_class_is_on_both_sides_where_the_share_allows_it(labels: dict[str, str]) -> None:
    keys = {key: {label} for key, label in labels.items()}
    val = held(keys, pool_of(pairs(keys)).default_sides())
    large = [one for one in CLASSES if list(labels.values()).count(one) > 1]
    count = held_out_of(len(keys), share_of(len(keys)))
    assert sum(any(labels[key] == one for key in val) for one in large) >= min(count, len(large))
    for one in large:
        assert any(labels[key] == one for key in keys.keys() - val)


def test_classes_are_held_out_in_proportion() -> None:
    keys = {f"{label}{number}": {label} for label, size in (("a", 150), ("b", 50)) for number in range(size)}
    val = held(keys, pool_of(pairs(keys)).default_sides())
    assert sorted(key[0] for key in val) == ["a"] * 30 + ["b"] * 10


def test_speakers_who_say_every_word_are_held_out_whole() -> None:
    keys = {f"speaker {number}": set(CLASSES) for number in range(10)}
    assert len(held(keys, pool_of(pairs(keys)).default_sides())) == 2


@pytest.mark.parametrize(("count", "expected"), [(2, 1), (3, 1), (10, 2), (100, 20), (1_000, 95), (40_000, 600)])
def test_small_data_hold_out_more(count: int, expected: int) -> None:
    assert held_out_of(count, share_of(count)) == expected


def test_the_share_never_rises_and_ends_at_a_hundredth() -> None:
    shares = [share_of(count) for count in range(1, 200_000, 97)]
    assert shares == sorted(shares, reverse=True)
    assert (shares[0], share_of(split.MANY), share_of(10**9)) == (0.2, 0.01, 0.01)
    assert share_of(split.MANY - 200) > 0.01


def test_the_hash_of_many_keys_decides_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "MANY", 500)
    names = [f"k{number}" for number in range(2_000)]
    pool = pool_of([(name, None) for name in names])
    assert pool.many
    assert not pool.keys
    splits = pool.default_sides()
    assert all(splits(hash_of(name)) == split_of_key(name, 0.01) for name in names)


def test_rare_classes_among_many_keys_are_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "MANY", 100)
    keys: Labelled = {f"k{number}": {f"class {number // 3}"} for number in range(600)}
    items = pairs(keys)
    splits = pool_of(items).default_sides()
    for label in {label for labels in keys.values() for label in labels}:
        assert {splits(hash_of(key)) for key in keys if label in keys[key]} == {"train", "val"}
    random.Random(0).shuffle(items)
    assert pool_of(items).default_sides() == splits


@given(st.sets(st.text(max_size=5), min_size=2, max_size=40), st.floats(0.001, 0.999))
def test_a_written_share_is_the_hash_unless_a_side_would_be_empty(keys: set[str], share: float) -> None:
    before = {key: split_of_key(key, share) for key in keys}
    after = splits_of_items(((key, None) for key in keys), share)
    assert {*after.values()} == {"train", "val"}
    if len(set(before.values())) == 2:
        assert after == before
    val = [hash_of(key) for key, split in after.items() if split == "val"]
    assert max(val) < min(hash_of(key) for key, split in after.items() if split == "train")


def test_a_threshold_is_that_of_the_contract() -> None:
    splits = KeySplit(threshold_of(0.3))
    assert all(splits(hash_of(str(number))) == split_of_key(str(number), 0.3) for number in range(500))


def test_a_score_of_few_is_uncertain() -> None:
    assert [round(uncertainty(count), 2) for count in (0, 1, 3, 10, 96, 97)] == [0.5, 0.5, 0.5, 0.31, 0.1, 0.1]
    assert 2 * uncertainty(96) > split.SURE > 2 * uncertainty(97)

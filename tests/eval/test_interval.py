"""The bootstrap: where its interval lies, how wide it is, and how often it holds the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.contract.metrics import HEADINGS, MetricResult, as_json, rows
from muomni_cli.core.interval import bootstrap, clusters, wilson
from muomni_cli.eval.metrics import metric_result
from muomni_cli.speech.wer import WordErrors


def singles(count: int) -> list[str]:
    return [f"k{number}" for number in range(count)]


def width(scores: list[float], keys: list[str]) -> float:
    found = bootstrap(scores, keys)
    return found.high - found.low


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=80), st.integers(1, 9))
def test_it_holds_the_mean_and_is_the_same_each_time(right: list[bool], speakers: int) -> None:
    scores = [float(one) for one in right]
    keys = [f"k{place % speakers}" for place in range(len(scores))]
    found = bootstrap(scores, keys)
    assert 0 <= found.low <= np.mean(scores) <= found.high <= 1
    assert found == bootstrap(scores, keys)
    assert found.keys == min(speakers, len(scores))


def test_more_examples_are_surer() -> None:
    assert width([0.0, 1.0] * 200, singles(400)) < 0.6 * width([0.0, 1.0] * 40, singles(80))


def test_it_is_about_as_wide_as_theory_has_it() -> None:
    assert width([0.0, 1.0] * 200, singles(400)) == pytest.approx(2 * 1.96 * (0.25 / 400) ** 0.5, rel=0.1)


def test_speakers_whose_clips_go_alike_are_drawn_whole() -> None:
    scores = [float(speaker % 2) for speaker in range(20) for _ in range(20)]
    keys = [f"s{speaker}" for speaker in range(20) for _ in range(20)]
    found = bootstrap(scores, keys)
    assert (found.unit, found.keys) == ("key", 20)
    assert width(scores, keys) > 3 * width(scores, singles(400))


def test_one_speaker_says_nothing_about_others() -> None:
    found = bootstrap([0.0, 1.0] * 20, ["theo"] * 40)
    assert (found.unit, found.keys) == ("example", 1)
    assert found.high > found.low


def test_the_truth_is_inside_nearly_as_often_as_it_should_be() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        found = bootstrap((rng.random(100) < 0.7).astype(float).tolist(), singles(100))
        inside += found.low <= 0.7 <= found.high
    assert 0.88 <= inside / 200 <= 0.99


def test_a_joined_key_goes_by_its_rarest_part() -> None:
    assert clusters(["s1|a", "s2|b", "s3|a"]) == ["a", "b", "a"]
    assert clusters(["s1|a", "s2|a"]) == ["s1", "s2"]
    assert clusters(["s1|a", "s2"]) == ["s1|a", "s2"]


def test_cards_come_back_from_json() -> None:
    results = [
        metric_result("audio", "digits", "exact", [1.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b"], 0.1),
        MetricResult("thinker", "text", "bits_per_byte", 1.25),
    ]
    assert [MetricResult(**entry) for entry in json.loads(json.dumps(as_json(results)))] == results
    shown = rows(results)
    assert all(len(row) == len(HEADINGS) for row in shown)
    assert shown[0][:4] == ("audio", "digits", "exact", "0.750")
    assert shown[0][5:] == ("4", "2 keys", "0.100", "-")
    assert shown[1][4:] == ("-", "-", "-", "-", "-")


@pytest.mark.parametrize("count", [1, 2, 5, 29, 60, 500])
@pytest.mark.parametrize("right", [0.0, 1.0])
def test_a_perfect_score_is_not_taken_for_certain(count: int, right: float) -> None:
    found = bootstrap([right] * count, singles(count))
    assert found.low < found.high
    assert found.low <= right <= found.high
    missing = 1 - found.low if right else found.high
    assert 1 / count < missing < 4 / count or count == 1


def test_two_right_answers_leave_much_open() -> None:
    found = bootstrap([1.0, 1.0], singles(2))
    assert (round(found.low, 3), found.high) == (0.342, 1.0)


def test_perfect_speakers_are_counted_as_speakers() -> None:
    found = bootstrap([1.0] * 60, [f"s{place % 3}" for place in range(60)])
    assert (found.unit, found.keys) == ("key", 3)
    assert found.low == pytest.approx(wilson(1.0, 3)[0])


def test_many_examples_are_still_resampled() -> None:
    scores = [0.0, 1.0, 1.0, 1.0] * 50
    found = bootstrap(scores, singles(200))
    assert (found.low, found.high) != wilson(0.75, 200)
    assert np.isclose(found.low * 200, round(found.low * 200))  # a mean of 200 scores


def test_few_examples_are_covered_as_often_as_they_should_be() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        found = bootstrap((rng.random(10) < 0.9).astype(float).tolist(), singles(10))
        inside += found.low <= 0.9 <= found.high
    assert inside / 300 >= 0.9


def test_sentences_without_errors_may_still_have_some() -> None:
    errors = WordErrors((0, 0, 0), (4, 5, 6))
    found = errors.interval()
    assert (found.low, found.high) == (0.0, pytest.approx(wilson(0.0, 3)[1]))
    more, low, high = errors.above(errors)
    assert (more, low) == (0.0, -high)
    assert high > 0

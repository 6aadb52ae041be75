"""Small talk: every phrasing of an act, its slots and what follows it; the same conversations for the same settings."""

from __future__ import annotations

import importlib.util
import re

import pytest

from muomni_cli.api import Conversation, RequestError
from muomni_datasets import small_talk
from muomni_datasets.config import SmallTalkConfig
from muomni_datasets.small_talk import OPENERS, SLOT, SmallTalk, added, dressed, people_said, reaction, typed, written
from muomni_datasets.story_plots import StoryRandom

needs_people = pytest.mark.skipif(
    importlib.util.find_spec(small_talk.PEOPLE) is None, reason="the package chitchat-dataset is not installed"
)


def conversations(**settings: float) -> list[Conversation]:
    items = list(SmallTalk(SmallTalkConfig.model_validate(settings)).documents())
    assert all(isinstance(item, Conversation) for item in items)
    return [item for item in items if isinstance(item, Conversation)]


def test_the_acts_name_slots_and_acts_that_exist() -> None:
    known = written()
    for act in (*known.acts, *known.named.values()):
        assert act.user
        assert act.answers or act.story
        assert set(act.then) <= set(known.named)
        for text in (*act.user, *act.answers):
            assert set(SLOT.findall(text)) <= set(known.slots)
            assert text == text.strip()
    for questions, answer in known.facts:
        assert all(questions)
        assert answer.endswith(".")


def test_what_is_said_has_one_answer() -> None:
    """A phrasing belongs to one act, or the model would have to guess which answer is meant."""
    known = written()
    said = [(text.lower().rstrip(".!?"), number) for number, act in enumerate(known.acts) for text in act.user]
    said += [
        (text.lower().rstrip(".!?"), -1 - number) for number, (texts, _) in enumerate(known.facts) for text in texts
    ]
    owner: dict[str, int] = {}
    assert {text for text, number in said if owner.setdefault(text, number) != number} == set()


def test_more_conversations_begin_with_the_same_ones() -> None:
    few, many = conversations(count=50), conversations(count=200)
    assert many[:50] == few
    assert conversations(count=50, seed=1) != few
    assert len({item.key for item in many}) > 150


def test_turns_alternate_and_no_slot_is_left() -> None:
    for item in conversations(count=500):
        roles = [message.role for message in item.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(message.text and not SLOT.search(message.text) for message in item.messages)


def test_a_name_stays_the_same_in_a_conversation() -> None:
    told = 0
    for item in conversations(count=3000):
        texts = [message.text for message in item.messages]
        for before, after in zip(texts, texts[2:], strict=False):
            if before.startswith("Nice to meet you") and after.startswith("Your name is"):
                assert before[18:-1] == after[13:-1]
                told += 1
    assert told


def test_sums_are_right() -> None:
    for number in range(500):
        question, answer, sum_ = added(StoryRandom(str(number)))
        left, _, result = answer.rstrip(".").partition(" is ")
        for sign, word in (("+", "plus"), ("-", "minus"), ("*", "times")):
            left = left.replace(word, sign)
        assert eval(left) == int(result) == sum_
        assert result not in question or result in left


def test_typing_keeps_the_words_readable() -> None:
    texts = [typed("What can you do for me?", StoryRandom(str(number))) for number in range(400)]
    kept = ["what can you do for me" in text.lower() for text in texts]
    assert kept.count(True) > 340
    assert 50 < sum(text.islower() for text in texts) < 250
    assert len({text.lower().rstrip("?") for text in texts}) > 30, "people put words before and after"


def test_names_keep_their_capitals_behind_an_opening() -> None:
    texts = [dressed("I'm Anna", StoryRandom(str(number))) for number in range(400)]
    assert {text[-4:] for text in texts if text.startswith(tuple(OPENERS))} == {"Anna"}
    assert not any("i'm" in text for text in texts)


def test_a_person_asks_about_what_they_told() -> None:
    """Each memory names the same thing in what is told, asked and answered."""
    known = written()
    for memory in known.memories:
        slots = set(SLOT.findall(memory.answer))
        assert slots <= set(known.slots)
        assert all(slots <= set(SLOT.findall(text)) for text in memory.told)
        assert all(set(SLOT.findall(text)) <= set(SLOT.findall(memory.told[0])) for text in memory.asked)
    talks = [[message.text for message in item.messages] for item in conversations(count=2000)]
    recalled = [texts for texts in talks if any(text.startswith("Your favourite colour is") for text in texts)]
    assert recalled
    for texts in recalled:
        place = next(n for n, text in enumerate(texts) if text.startswith("Your favourite colour is"))
        color = texts[place].removeprefix("Your favourite colour is ").rstrip(".")
        assert any(color in text.lower() for text in texts[:place:2])


def test_a_sum_goes_on_from_its_result() -> None:
    talks = [[message.text for message in item.messages] for item in conversations(count=1000, facts=1.0)]
    sums = re.compile(r"(\d+) (?:plus|minus|times) \d+ is (\d+)\.")
    going_on = [
        (before, after)
        for texts in talks
        for before, asked, after in zip(texts[1::2], texts[2::2], texts[3::2], strict=False)
        if re.match(r"(?:and|now|add|take|plus|minus|times)\b", asked.lower()) and sums.match(after)
    ]
    chained = [
        (first[2], then[1])
        for before, after in going_on
        if (first := sums.match(before)) and (then := sums.match(after))
    ]
    assert len(chained) > 20
    assert sum(one == other for one, other in chained) > 0.9 * len(chained)  # others follow by chance


def test_another_joke_is_another_one() -> None:
    jokes = set(written().named["another-joke"].answers)
    for item in conversations(count=3000):
        told = [message.text for message in item.messages if message.text in jokes]
        assert len(told) == len(set(told)) or len(told) > len(jokes)


@pytest.mark.parametrize(
    ("said", "beginning"),
    [
        ("Do you like cheese?", "I am not sure"),
        ("I love my new bike", "That sounds nice"),
        ("My dog died", "I am sorry"),
        ("I go by train", "I see"),
    ],
)
def test_anything_that_is_said_gets_a_reaction(said: str, beginning: str) -> None:
    assert reaction(said).startswith(beginning)


@needs_people
def test_messages_of_people_hold_no_names() -> None:
    said = people_said()
    assert len(said) > 50_000
    assert len(set(said)) == len(said)
    assert not any("my name" in text.lower() for text in said)
    assert conversations(count=30, people=1.0, facts=0.0)


def test_without_the_package_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_talk, "PEOPLE", "a_package_that_nobody_has")
    people_said.cache_clear()
    with pytest.raises(RequestError, match="not installed"):
        people_said()
    people_said.cache_clear()


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1"):
        SmallTalkConfig(facts=0.6, people=0.5)

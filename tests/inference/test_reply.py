"""Conversations that the caller keeps, and speech with its statistics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muomni_cli import Model, RequestError, load
from muomni_cli.api import FileMedia, Message, TextChunk

SAMPLES = Path(__file__).resolve().parents[2] / "plugins/muomni_nano/samples"
PICTURE = FileMedia("image", SAMPLES / "x.png")
SOUND = FileMedia("audio", SAMPLES / "y.wav")


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with load("nano") as one:
        yield one


def text(reply: Any) -> str:
    return "".join(piece.text for piece in reply)


def test_a_model_knows_its_name(model: Model) -> None:
    assert model.name == "nano"


def test_one_question_is_answered_as_by_chat(model: Model) -> None:
    options: Any = {"temperature": 1.0, "seed": 4, "max_tokens": 12, "system": "Be brief."}
    reply = model.reply([Message("user", "Tell me a story")], **options)
    assert text(reply) == model.chat("Tell me a story", **options)
    assert reply.answer.text
    assert 0 < len(reply.answer.tokens) <= 12
    assert reply.answer.finish in ("eos", "length", "loop")


def test_a_conversation_is_answered_as_by_a_session(model: Model) -> None:
    session = model.session(system="Be brief.")
    first = session.ask("What do you see?", image=PICTURE.path)
    turns = [
        Message("system", "Be brief."),
        Message("user", "What do you see?", (PICTURE,)),
        Message("assistant", first),
        Message("user", "And now?"),
    ]
    assert text(model.reply(turns)) == session.ask("And now?")


def test_media_of_a_message_come_in_the_order_of_the_model(model: Model) -> None:
    asked = "What do you see and hear?"
    either = [text(model.reply([Message("user", asked, media)])) for media in ((PICTURE, SOUND), (SOUND, PICTURE))]
    assert either[0] == either[1] == model.chat(asked, image=PICTURE.path, audio=SOUND.path)


def test_tokens_of_the_prompt_are_counted(model: Model) -> None:
    bare = model.reply([Message("user", "What?")]).prompt_tokens
    shown = model.reply([Message("user", "What?", (PICTURE,))]).prompt_tokens
    assert shown - bare == len(model.encode("image", PICTURE.path))


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([], "does not end with a question"),
        ([Message("user", "  ")], "does not end with a question"),
        ([Message("user", "a"), Message("assistant", "b")], "does not end with a question"),
        ([Message("user", "word " * 2000), Message("assistant", "b"), Message("user", "c")], "tokens long"),
    ],
)
def test_wrong_conversations_are_refused_at_once(model: Model, messages: list[Message], what: str) -> None:
    with pytest.raises(RequestError, match=what):
        model.reply(messages)


def test_who_is_told_of_a_truncated_sound_may_refuse_it(model: Model) -> None:
    def refuse(line: str) -> None:
        raise RequestError(line, "send less")

    samples, rate = model.speak("one two three four five six seven eight nine ten. " * 6)
    from muomni_cli.inference.media_input import media_of

    (sound,) = media_of("audio", [(samples, rate)])
    with pytest.raises(RequestError):
        model.reply([Message("user", "What?", (sound,))], notice=refuse)


def test_speech_tells_what_it_made(model: Model) -> None:
    samples, rate = model.speak("hello there", seed=3)
    speech = model.speech("hello there", seed=3)
    assert np.array_equal(np.concatenate(list(speech)), samples)
    assert speech.stats.samples == samples.size
    assert speech.stats.seconds == samples.size / rate
    assert speech.stats.losses == []
    missing = model.speech("hello 日本")
    assert sum(piece.size for piece in missing)
    assert missing.stats.losses


def test_pieces_of_a_reply_are_spoken_with_what_was_thought(model: Model) -> None:
    reply = model.reply([Message("user", "hello")], hidden=True)
    pieces = list(reply)
    assert all(piece.hidden is not None for piece in pieces)
    with_thoughts = np.concatenate(list(model.speech(pieces)))
    bare = np.concatenate(list(model.speech([TextChunk(piece.text) for piece in pieces])))
    assert with_thoughts.size
    assert bare.size
    assert np.array_equal(bare, np.concatenate(list(model.speech(reply.answer.text))))

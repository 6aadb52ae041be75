"""A session with pictures and sounds: what is attached is used once, and what is broken costs one message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from muomni_cli.api import FileMedia, RequestError
from muomni_cli.commands.chat_session import TerminalSession
from muomni_cli.inference.chat_model import ChatModel
from muomni_cli.inference.settings import ChatOptions
from tests.opening import open_chat


@pytest.fixture
def session(trained: Path) -> TerminalSession:  # noqa: ARG001
    return TerminalSession(*open_chat("small", ChatOptions(max_tokens=2)))


@pytest.fixture(autouse=True)
def heard(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    capsys.readouterr()
    return capsys


def play_lines(session: TerminalSession, *lines: str) -> None:
    waiting = iter(lines)

    def read_line(_: str) -> str:
        line = next(waiting, None)
        if line is None:
            raise EOFError
        return line

    session.run(read_line)


def names(session: TerminalSession) -> list[str]:
    return [one.name for one, _ in session.attached]


def shown(session: TerminalSession) -> list[list[str]]:
    return [[one.name for one in exchange.question.media] for exchange in session.talk.exchanges]


def test_a_picture_is_shown_once_and_a_sound_with_every_question_that_follows(session: TerminalSession) -> None:
    play_lines(session, "/audio low0.wav", "/image red0.png", "What colour?", "And now?")
    first, second = session.talk.exchanges
    assert shown(session) == [["red0.png", "low0.wav"], ["low0.wav"]]
    assert [one.modality for one in first.question.media] == ["image", "audio"]
    assert len(first.media_ids) > 4
    assert len(second.media_ids) == len(first.media_ids) - 4
    assert session.attached == []


def test_a_new_sound_takes_the_place_of_the_last_one(session: TerminalSession) -> None:
    play_lines(session, "/audio low0.wav", "What?", "/audio high0.wav", "And this?", "/image red0.png", "Both?")
    assert shown(session)[-3:] == [["low0.wav"], ["high0.wav"], ["red0.png", "high0.wav"]]


@pytest.mark.parametrize("end", ["/drop", "/reset", "/system be brief"])
def test_a_sound_can_be_dropped(session: TerminalSession, end: str, heard: pytest.CaptureFixture[str]) -> None:
    play_lines(session, "/audio low0.wav", "What?", "/attach", end, "/attach", "And now?")
    told = heard.readouterr().err
    assert "(still attached audio: low0.wav; /drop removes it)" in told
    assert "(nothing is attached)" in told
    assert shown(session)[-1] == []


def test_which_modalities_stay_is_a_setting(trained: Path) -> None:  # noqa: ARG001
    speaker, settings = open_chat("small", ChatOptions(max_tokens=2))
    session = TerminalSession(speaker, replace(settings, reattach=("image",)))
    play_lines(session, "/audio low0.wav", "/image red0.png", "What colour?", "And now?")
    assert shown(session) == [["red0.png", "low0.wav"], ["red0.png"]]


def test_a_broken_file_is_told_at_once_and_stands_in_nobody_s_way(
    session: TerminalSession, heard: pytest.CaptureFixture[str]
) -> None:
    Path("text.png").write_text("no picture")
    play_lines(session, "/image red0.png", "What colour?", "/audio low0.wav", "/image text.png", "/attach image=no.png")
    told = heard.readouterr().err
    assert told.count("error: ") == told.count("  fix: ") == 2
    assert "text.png is not a picture" in told
    assert names(session) == ["low0.wav"]
    play_lines(session, "Which tone?", "/image text.png", "Still there?")
    assert [exchange.question.text for exchange in session.talk.exchanges] == [
        "What colour?",
        "Which tone?",
        "Still there?",
    ]
    assert [len(exchange.question.media) for exchange in session.talk.exchanges] == [1, 1, 1]


def test_too_many_are_told_with_the_counts_and_can_be_taken_back(
    session: TerminalSession, heard: pytest.CaptureFixture[str]
) -> None:
    play_lines(session, *["/image red0.png"] * 9)
    assert len(session.attached) == 8  # of four tokens each, in half of 64
    assert "9 image inputs would take 36 tokens" in heard.readouterr().err
    play_lines(session, "a question that is so long that it does not fit beside eight pictures " * 3)
    assert len(session.attached) == 8
    play_lines(session, "/detach", "And now?")
    assert session.talk.exchanges[0].question.media == ()
    assert "(nothing is attached)" in heard.readouterr().err


def test_retry_is_about_the_same_picture_and_keeps_what_is_attached_since(session: TerminalSession) -> None:
    play_lines(session, "/image red0.png", "What colour?", "/audio low0.wav", "/retry")
    (only,) = session.talk.exchanges
    assert [one.name for one in only.question.media] == ["red0.png"]
    assert names(session) == ["low0.wav"]


def test_what_is_shown_from_the_beginning_is_answered_before_a_word_is_said(
    trained: Path, heard: pytest.CaptureFixture[str]
) -> None:
    speaker, settings = open_chat("small", ChatOptions(max_tokens=2))
    session = TerminalSession(speaker, settings, [FileMedia("image", trained / "red0.png")])
    play_lines(session, "What colour?")
    first, second = session.talk.exchanges
    assert (first.question.text, len(first.question.media)) == ("", 1)
    assert (second.question.text, second.question.media) == ("What colour?", ())
    assert heard.readouterr().out == f"{first.answer}\n{second.answer}\n"
    play_lines(session)
    assert len(session.talk.exchanges) == 2


def test_a_broken_file_on_the_command_line_begins_no_session(trained: Path) -> None:
    speaker, settings = open_chat("small", ChatOptions())
    with pytest.raises(RequestError, match="missing"):
        TerminalSession(speaker, settings, [FileMedia("image", trained / "missing.png")])


def test_an_interrupt_while_a_file_is_read_ends_no_session(
    session: TerminalSession, monkeypatch: pytest.MonkeyPatch, heard: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ChatModel, "question", interrupted)
    play_lines(session, "/image red0.png", "What colour?", "/help")
    assert names(session) == ["red0.png"]
    assert "/quit" in heard.readouterr().err

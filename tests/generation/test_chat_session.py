"""A session over a real tiny model: commands, memory, forgetting and saving; and the one-shot answer."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from muomni_cli.api import RequestError
from muomni_cli.commands.chat_output import answer_one_shot, history, write_answer
from muomni_cli.commands.chat_session import TerminalSession
from muomni_cli.generation import Sampling
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.inference.chat_model import ChatModel
from muomni_cli.inference.history import ids_of
from muomni_cli.inference.settings import ChatOptions, GenerationSettings, apply
from muomni_text.byte_level import ByteTokenizer
from muomni_thinker.model import build
from muomni_thinker.plugin import TransformerConfig

SETTINGS = GenerationSettings(template="roles", system="", sampling=Sampling(), max_tokens=6, stop=(), seed=0)


@pytest.fixture
def speaker() -> ChatModel:
    torch.manual_seed(0)
    tokenizer = ByteTokenizer()
    config = TransformerConfig(d_model=32, n_layers=1, n_heads=2, d_ff=48, ctx_len=64)
    thinker = build(config, tokenizer.vocab_size).eval()
    return ChatModel(TorchBackend(thinker, prefix_cache=True, pack_weights=True), tokenizer, "tiny")


def run(session: TerminalSession, *lines: str) -> None:
    waiting = list(lines)

    def read_line(_: str) -> str:
        if not waiting:
            raise EOFError
        return waiting.pop(0)

    session.run(read_line)


def test_only_answers_go_to_stdout(speaker: ChatModel, capsys: pytest.CaptureFixture[str]) -> None:
    session = TerminalSession(speaker, SETTINGS, stats=True)
    run(session, "hello", "", "/help", "/nonsense", "/set", "/quit", "never read")
    out, err = capsys.readouterr()
    assert out == session.talk.exchanges[0].answer + "\n"
    assert "there is no command /nonsense" in err
    assert "tokens/s" in err
    assert len(session.talk.exchanges) == 1


@pytest.mark.parametrize("word", ["exit", "quit", "/exit", "/quit", "Exit", " quit "])
def test_a_word_ends_the_session(speaker: ChatModel, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    session = TerminalSession(speaker, SETTINGS)
    run(session, word, "never read")
    assert session.talk.exchanges == []
    out, err = capsys.readouterr()
    assert out == ""
    assert "/help" in err.splitlines()[0]


def test_a_loop_is_told_and_remembered_once(
    speaker: ChatModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    laughing = itertools.cycle(speaker.tokenizer.encode("HA"))
    monkeypatch.setattr("muomni_cli.generation.loop.draw", lambda *_: next(laughing))
    settings = apply(SETTINGS, ChatOptions(max_tokens=24))
    session = TerminalSession(speaker, settings)
    session.ask("hello")
    (exchange,) = session.talk.exchanges
    out, err = capsys.readouterr()
    assert len(out) == len("HA\n")
    assert "before it repeated itself; /set loop_guard off" in err
    assert exchange.answer_ids == [*speaker.tokenizer.encode(exchange.answer), speaker.tokenizer.specials["eos"]]
    answer_one_shot(speaker, settings, "hello", json=True, stats=False)
    report = json.loads(capsys.readouterr().out)
    assert (len(report["text"]), report["finish"], report["settings"]["loop_guard"]) == (2, "loop", True)
    session.take("/set loop_guard off")
    session.take("/retry")
    assert len(session.talk.exchanges[0].answer) == 24
    with pytest.raises(RequestError, match="loop_guard cannot be 'maybe'"):
        session.take("/set loop_guard maybe")


def test_retry_says_something_else_in_the_same_place(speaker: ChatModel) -> None:
    session = TerminalSession(speaker, SETTINGS)
    run(session, "hello")
    first = session.talk.exchanges[0].answer_ids
    run(session, "/retry")
    assert len(session.talk.exchanges) == 1
    assert session.talk.exchanges[0].question.text == "hello"
    assert session.talk.exchanges[0].answer_ids != first
    run(session, "/reset")
    with pytest.raises(RequestError, match="no answer to retry"):
        session.take("/retry")


def test_oldest_exchanges_are_forgotten_and_said_so(speaker: ChatModel, capsys: pytest.CaptureFixture[str]) -> None:
    session = TerminalSession(speaker, SETTINGS)
    run(session, *(f"question {n}" for n in range(6)))
    assert "dropped" in capsys.readouterr().err
    assert session.talk.exchanges[-1].question.text == "question 5"
    assert 0 < len(session.talk.exchanges) < 6
    before = len(session.talk.exchanges)
    with pytest.raises(RequestError, match="context holds 64"):
        session.ask("x" * 100)
    assert len(session.talk.exchanges) == before


def test_settings_are_changed_by_name(speaker: ChatModel) -> None:
    session = TerminalSession(speaker, SETTINGS)
    session.take("/set temperature 0")
    assert session.settings.sampling.temperature == 0
    for mistake in ("/set temperature warm", "/set top-p 7", "/set volume 3"):
        with pytest.raises(RequestError):
            session.take(mistake)
    assert session.settings.sampling == Sampling(temperature=0)
    session.take("/system speak softly")
    assert session.talk.system == "speak softly"


def test_save_writes_the_conversation(speaker: ChatModel, tmp_path: Path) -> None:
    session = TerminalSession(speaker, SETTINGS)
    session.take("hello")
    session.take(f"/save {tmp_path / 'talk.txt'}")
    assert (tmp_path / "talk.txt").read_text(encoding="utf-8").startswith("> hello\n")


def test_an_interrupt_stops_the_answer_only(speaker: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    session, said = TerminalSession(speaker, SETTINGS), []

    def stop_after_two(text: str) -> int:
        said.append(text)
        if len(said) == 2:
            raise KeyboardInterrupt
        return len(text)

    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout.write", stop_after_two)
        session.ask("hello")
    assert 0 < len(session.talk.exchanges[0].answer_ids) < SETTINGS.max_tokens
    session.ask("again")
    assert len(session.talk.exchanges) == 2


def test_one_json_object(speaker: ChatModel, capsys: pytest.CaptureFixture[str]) -> None:
    settings = apply(SETTINGS, ChatOptions(temperature=0, max_tokens=4, seed=7))
    answer_one_shot(speaker, settings, "hello", json=True, stats=False)
    report = json.loads(capsys.readouterr().out)
    assert (report["tokens"], report["finish"], report["model"], report["seed"]) == (4, "length", "tiny", 7)
    answer_one_shot(speaker, settings, "hello", json=False, stats=False)
    assert capsys.readouterr().out == report["text"] + "\n"


def test_a_stop_string_is_not_remembered(speaker: ChatModel) -> None:
    session = TerminalSession(speaker, apply(SETTINGS, ChatOptions(temperature=0, max_tokens=12)))
    session.ask("hello")
    whole = session.talk.exchanges[0].answer
    stop = whole[3:5]
    stopped = TerminalSession(speaker, apply(session.settings, ChatOptions(stop=[stop])))
    stopped.ask("hello")
    exchange = stopped.talk.exchanges[0]
    assert exchange.answer == whole[: whole.index(stop)]
    assert exchange.answer_ids[-1] == speaker.tokenizer.specials["eos"]
    assert speaker.tokenizer.decode(exchange.answer_ids) == exchange.answer


@pytest.mark.parametrize("text", ["", "a", "añ", "añ b", "añ b日"])
def test_ids_of_the_beginning_of_an_answer(speaker: ChatModel, text: str) -> None:
    tokens = speaker.tokenizer.encode("añ b日本")
    kept = ids_of(speaker.tokenizer, text, tokens)
    assert speaker.tokenizer.decode(kept) == text
    assert kept == tokens[: len(kept)]


def test_an_interrupt_inside_the_model_harms_no_later_answer(
    speaker: ChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = apply(SETTINGS, ChatOptions(temperature=0))
    fresh = TerminalSession(speaker, settings)
    fresh.ask("hello")
    forward, calls = type(speaker.backend)._add, 0

    def interrupted(self: TorchBackend, *rest: object) -> object:
        nonlocal calls
        calls += 1
        done = forward(self, *rest)
        if calls == 3:
            self._kept and self._kept[0].ids[0].append(7)  # as when the ids are noted and the cache is not
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patch:
        patch.setattr(TorchBackend, "_add", interrupted)
        TerminalSession(speaker, settings).ask("hello")
    assert speaker.backend._kept == []
    again = TerminalSession(speaker, settings)
    again.ask("hello")
    assert again.talk.exchanges[0].answer_ids == fresh.talk.exchanges[0].answer_ids


def test_a_file_that_cannot_be_written_does_not_end_the_session(
    speaker: ChatModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    session = TerminalSession(speaker, SETTINGS)
    run(session, "/system be brief", "/reset", f"/save {tmp_path / 'file' / 'x'}", "/rtry", "hello")
    assert len(session.talk.exchanges) == 1
    assert session.talk.system == "be brief"
    told = capsys.readouterr().err
    assert "could not write" in told
    assert "did you mean /retry?" in told


def test_a_terminal_gets_no_control_characters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_answer("a\x1b[2Jb\n")
    assert capsys.readouterr().out == "a\x1b[2Jb\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    write_answer("a\x1b[2J\x07\x9b\x7f\rb\tü\n")
    assert capsys.readouterr().out == "a[2Jb\tü\n"
    monkeypatch.setattr("sys.stdout", None)
    write_answer("nobody reads this")


def test_a_history_that_cannot_be_kept_costs_a_line(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("readline")
    (isolated / "file").touch()
    monkeypatch.setenv("MUOMNI_CONFIG", str(isolated / "file" / "folder"))
    with history():
        pass
    assert "the history is not kept" in capsys.readouterr().err

"""The list of commands is made without their options, and is the same."""

from __future__ import annotations

import pytest

from muomni_cli import app
from muomni_cli.commands import cli


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        app.main(list(words))
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["--version"]])
def test_nothing_is_lost(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    listed = shown(capsys, *words)
    monkeypatch.setattr(cli, "LISTING", frozenset({"another word"}))
    if not words:  # nothing is also in every set
        monkeypatch.setattr(cli, "_without_options", lambda command: command)
        monkeypatch.setattr(cli, "_without_commands", lambda group: group)
    assert shown(capsys, *words) == listed


def test_a_command_has_its_options_after_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    shown(capsys, "--help")
    assert "--temperature" in shown(capsys, "chat", "--help")
    assert "overhead" in shown(capsys, "bench", "--help")

"""A place to write recipes in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def muomni(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``muomni("recipes", "list")`` -> exit code, stdout, stderr."""
    from muomni_cli.app import main

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            main(words)
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out, said.err

    return run

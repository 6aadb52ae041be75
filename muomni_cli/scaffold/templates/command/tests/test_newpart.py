"""Runs the command in a subprocess."""

import json
import subprocess
import sys
from pathlib import Path


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    """`muomni newpart WORDS`."""
    command = [sys.executable, "-m", "muomni_cli", "newpart", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_counts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A hen, a fox. A hen!")
    done = run(str(tmp_path / "a.txt"), "--json")
    assert json.loads(done.stdout) == {"a": 3, "hen": 2, "fox": 1}


def test_missing_file(tmp_path: Path) -> None:
    """Errors are two lines: what is wrong, and what to do."""
    done = run(str(tmp_path / "b.txt"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2

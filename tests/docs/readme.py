"""README.md as somebody reads it who has an empty folder: every block typed in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block: its language, the note behind it ("slow": minutes or PyTorch; "install": changes the environment)
    and its text."""

    language: str
    note: str
    text: str


def blocks() -> list[Block]:
    """All blocks of the README, in order."""
    return [Block(*found) for found in re.findall(r"^```(\w+) ?(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]


class Reader:
    """Types blocks in one folder.

    Args:
        folder: an empty folder.
        programs: what comes first on the PATH: a folder with ``muomni`` and ``python``.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self.typed: list[str] = []
        texts = folder / "my_texts"
        texts.mkdir()
        for name in "ab":
            lines = (f"It was {n} o'clock in town {name}, and all was well.\n\n" for n in range(100))
            (texts / f"{name}.txt").write_text("".join(lines))

    def read(self, block: Block) -> None:
        """Do what a block shows; fails where a command fails or prints something else than the README says."""
        first, _, rest = block.text.partition("\n")
        if block.language in ("toml", "python") and (name := re.fullmatch(r"# (\w+\.\w+)", first)):
            (self.folder / name[1]).write_text(rest, encoding="utf-8")
        elif block.language == "python":
            self._run(f"python - <<'EOF'\n{block.text}\nEOF")
        elif block.language == "sh":
            for line in block.text.splitlines():
                self._run(line)
        elif block.language == "console":
            for command, expected in _session(block.text):
                assert self._run(command).strip() == expected, command

    def _run(self, line: str) -> str:
        environment = {
            **_environment(),
            "PATH": os.pathsep.join([str(self._programs), os.environ["PATH"]]),
            "MUOMNI_CACHE": str(self.folder / ".cache"),
        }
        words = ["bash", "-c", line]
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        self.typed.append(line)
        return done.stdout


def _session(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected.strip()


def _environment() -> Mapping[str, str]:
    """Without what belongs to this checkout, and with one thread: other tests run beside this one."""
    own = ("PYTHONPATH", "MUOMNI_MODEL", "MUOMNI_DATA", "MUOMNI_PLUGINS")
    return {name: value for name, value in os.environ.items() if name not in own} | {"OMP_NUM_THREADS": "1"}


def programs_of_checkout(folder: Path) -> Path:
    """``muomni`` and ``python`` as ``make setup`` leaves them: of this environment, over this checkout."""
    folder.mkdir()
    roots = os.pathsep.join(str(ROOT / root) for root in ("", "plugins", "exports"))
    for name, words in (("python", ""), ("muomni", "-m muomni_cli ")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{roots}" exec "{sys.executable}" {words}"$@"\n')
        script.chmod(0o755)
    return folder

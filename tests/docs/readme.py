"""Pages whose code blocks are run in an empty folder, in order: README.md and the tutorials."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import typer

from muomni_cli.commands.cli import build_cli
from muomni_cli.registry.registry import get_registry

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


NUMBERS = {"SEED"}
"""Words that stand for a number."""


class Block(NamedTuple):
    """A fenced block: its language, the note behind it and its text.

    Notes: "slow" takes minutes or needs PyTorch, "install" changes the environment, "pending" shows something that is
    not implemented yet and is never run.
    """

    language: str
    note: str
    text: str


def blocks(page: str = README) -> list[Block]:
    """All blocks of a page, in order."""
    return [Block(*found) for found in re.findall(r"^```(\w+) ?(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]


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
        self._shown = ""
        texts = folder / "my_texts"
        texts.mkdir()
        for name in "ab":
            lines = (f"It was {n} o'clock in town {name}, and all was well.\n\n" for n in range(100))
            (texts / f"{name}.txt").write_text("".join(lines))

    def read(self, block: Block) -> None:
        """Do what a block shows; fails where a command fails or prints something else than the page says.

        A block of ``text`` holds lines, or beginnings of lines, that the block before it has printed; columns may be
        aligned differently, and "..." stands for lines that are left out.
        """
        first, _, rest = block.text.partition("\n")
        if block.language == "text":
            self._compare(block.text)
            return
        self._shown = ""
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

    def _compare(self, text: str) -> None:
        printed = [" ".join(line.split()) for line in self._shown.splitlines()]
        for line in text.splitlines():
            wanted = " ".join(line.split())
            assert wanted == "..." or any(wanted in one for one in printed), f"{line}\nis not in\n{self._shown}"

    def _run(self, line: str) -> str:
        if line.startswith("pip install -e "):
            line = _installed(line.rsplit(maxsplit=1)[-1], self.folder / "site")
        environment = {
            **_environment(),
            "PATH": os.pathsep.join([str(self._programs), os.environ["PATH"]]),
            "MUOMNI_CACHE": str(self.folder / ".cache"),
            "READER_SITE": str(self.folder / "site"),
        }
        words = ["bash", "-c", line]
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        self.typed.append(line)
        self._shown += f"{done.stdout}\n{done.stderr}\n"
        return done.stdout


def _session(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected.strip()


def _installed(package: str, site: Path) -> str:
    """The command that installs a package where only this reader sees it: the tests' environment stays as it is."""
    options = "--no-deps --no-index --no-build-isolation --quiet --upgrade"
    return f'"{sys.executable}" -m pip install {options} --target "{site}" "./{package}"'


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
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{roots}:$READER_SITE" exec "{sys.executable}" {words}"$@"\n')
        script.chmod(0o755)
    return folder


def commands(page: str) -> list[list[str]]:
    """The words of each `muomni ...` in a page: lines of blocks up to a comment or a wide gap, and code in the text."""
    page = re.sub(r"^```\w+ pending\n.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    joined = re.sub(r"\\\n\s*", "", page)
    lines = re.findall(r"^ *(muomni .*)$", joined, re.MULTILINE) + re.findall(r"`(muomni [^`]*)`", joined)
    return [shlex.split(re.split(r" {3}| [|>] ", line)[0], comments=True)[1:] for line in lines if "─" not in line]


def look_up(words: list[str]) -> dict[str, Any]:
    """What the command would be called with, without calling it. A mention of a command alone gives nothing, and words
    in capitals stand for some number.

    Fails for a command or an option that is not there, and for a value that cannot be.
    """
    if "--plugin" in words:  # of every command; taken out before any of them sees it
        place = words.index("--plugin")
        words = words[:place] + words[place + 2 :]
    command: Any = typer.main.get_command(build_cli(get_registry().plugins))
    rest = ["1" if word in NUMBERS else word for word in words]
    context, params = command.make_context("muomni", rest), {}
    while rest and hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        if rest:
            context = command.make_context(name, list(rest), parent=context)
            params = dict(context.params)
            if hasattr(command, "resolve_command"):  # a group may have options of its own, and no command after them
                rest = [*context._protected_args, *context.args]
    return params

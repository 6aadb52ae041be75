"""docs/plugins.md, read and done from top to bottom by somebody who has an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block: what it is in, what is said of it, and its lines."""

    language: str
    note: str
    text: str


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w+) ?(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)]


class Reader:
    """Does what the page says.

    Args:
        folder: where the reader is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.site = folder, folder / "site"
        self.said = ""
        paths = os.pathsep.join([str(self.site), *(str(ROOT / root) for root in ("", "plugins", "exports"))])
        self._environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        self._environment["MUOMNI_CACHE"] = str(folder / "cache")

    def do(self, block: Block) -> None:
        """Write, change, compare or run what a block holds."""
        first, _, rest = block.text.partition("\n")
        if block.language == "sh":
            for line in block.text.splitlines():
                self._run(line, fails=block.note == "fails")
        elif block.language == "diff":
            self._change(self.folder / first.removeprefix("--- "), rest)
        elif (path := self.folder / first.removeprefix("# ")).exists():
            assert _plain(rest) in _plain(path.read_text(encoding="utf-8")), f"{path} has not what the page shows of it"
        else:
            path.write_text(rest, encoding="utf-8")

    def _run(self, line: str, *, fails: bool) -> None:
        program, *words = shlex.split(line, comments=True)
        if program == "pip":  # not into the environment of these tests; else as the page has it
            words = ["install", "--target", str(self.site), "--upgrade", "--no-deps", "--no-index", "--quiet"]
            words += ["--no-build-isolation", f"./{shlex.split(line)[-1]}"]
        module = {"pip": "pip", "muomni": "muomni_cli"}[program]
        self._link()
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self._environment,
            check=False,
        )
        assert done.returncode == (1 if fails else 0), f"{line}\n{done.stdout}{done.stderr}"
        self.said += f"\n{line}\n{done.stdout}{done.stderr}"

    def _link(self) -> None:
        """An editable installation: what is installed is what lies in the package's folder."""
        for source in self.folder.glob("muomni-*/src/muomni_*"):
            installed = self.site / source.name
            if installed.is_dir() and not installed.is_symlink():
                for path in sorted(installed.rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
                installed.rmdir()
                installed.symlink_to(source)

    def _change(self, path: Path, diff: str) -> None:
        lines = diff.splitlines()
        old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path} has not once what the page changes:\n{old}"
        path.write_text(text.replace(old, new), encoding="utf-8")


def _plain(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Somebody who has done all of it."""
    one = Reader(tmp_path_factory.mktemp("reader"))
    for block in BLOCKS:
        one.do(block)
    return one


def test_every_block_can_be_done(reader: Reader) -> None:
    assert {block.language for block in BLOCKS} == {"python", "sh", "toml", "diff"}
    assert (reader.folder / "runs" / "signal" / "omni" / "best.safetensors").is_file()
    assert (reader.folder / "signal-onnx" / "muomni.json").is_file()


def test_what_the_page_says_of_a_broken_law_is_what_is_said(reader: Reader) -> None:
    (shown,) = re.findall(r"^ {4}(encoder signal fails .*)$", PAGE, re.MULTILINE)
    said = reader.said.splitlines()
    assert re.fullmatch(r"  largest difference [\d.]+ \(.* after 21\), allowed [\d.e-]+", said[said.index(shown) + 1])
    assert re.search(r"^ {6}largest difference [\d.]+ \(.* after 21\), allowed", PAGE, re.MULTILINE)


def test_the_encoder_answers(reader: Reader) -> None:
    answers = re.findall(r"^muomni chat -m signal(?:-onnx)? .*\n(.*)$", reader.said, re.MULTILINE)
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert answers[0] in {"it falls", "it rises", "it steps", "it waves"}
    results = [
        line.split() for line in reader.said.splitlines() if re.match(r"(signal|omni) +\S+ +(accuracy|exact)", line)
    ]
    assert len(results) == 2
    assert all(float(words[3]) > 0.8 for words in results), results
    assert "unit" in reader.said.split("muomni plugins info signal:signal")[1]

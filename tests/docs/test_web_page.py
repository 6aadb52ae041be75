"""docs/web.md: its commands exist, and its paths and its version of onnxruntime are the true ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from muomni_web.onnxruntime_files import FOLDER, VERSION
from tests.docs.readme import look_up

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "web.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("muomni ")])
def test_a_command_exists(line: str) -> None:
    look_up(shlex.split(line)[1:])


def test_the_package_has_the_commands_of_the_page() -> None:
    source = (ROOT / "exports" / "muomni_web" / "npm" / "src" / "cli.ts").read_text(encoding="utf-8")
    named = {shlex.split(line)[2] for line in LINES if line.startswith("npx ")}
    assert named == {"chat", "tts", "listen"}
    assert all(f'command === "{name}"' in source for name in named)


def test_what_is_named_is_there() -> None:
    for path in re.findall(r"`((?:exports|samples)/[\w./]+)`", PAGE):
        assert (ROOT / path).exists(), path
    assert f"version {VERSION}" in PAGE
    assert f"{FOLDER}=" in PAGE

"""Every block of docs/structured-output.md does what it shows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from muomni_cli.contract.form import FORM_KINDS
from muomni_cli.structured_output.json_schema import DESCRIBES, ENFORCED
from tests.docs.readme import ROOT, Block, Reader, blocks, programs_of_checkout

pytestmark = pytest.mark.long

PAGE = (ROOT / "docs/structured-output.md").read_text(encoding="utf-8")


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "here").mkdir()
    return Reader(tmp_path / "here", programs_of_checkout(tmp_path / "bin"))


def test_commands_and_python_run(reader: Reader) -> None:
    for block in blocks(PAGE):
        if block.language in ("sh", "python"):
            reader.read(block)
    assert len(reader.typed) == 5


def test_an_error_reads_as_on_the_page(reader: Reader) -> None:
    (shown,) = [block for block in blocks(PAGE) if block.language == "console"]
    command, _, expected = shown.text.removeprefix("$ ").partition("\n")
    reader.read(Block("sh", "", f"{command} 2>&1 | head -1\n"))
    reader.read(Block("text", "", expected))


def test_every_keyword_and_kind_is_on_the_page() -> None:
    named = set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)))
    assert named >= ENFORCED - {"definitions"}
    assert len(named & DESCRIBES) >= 5
    (table,) = [tomllib.loads(block.text) for block in blocks(PAGE) if block.language == "toml"]
    assert set(table["chat"]["form"]) <= set(FORM_KINDS)
    assert all(kind in PAGE for kind in FORM_KINDS)

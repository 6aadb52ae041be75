"""Every block of docs/tutorials does what it shows, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.readme import Block, Reader, blocks, commands, look_up, programs_of_checkout

pytestmark = pytest.mark.long

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
PENDING: dict[str, int] = {}
"""Blocks that show something that is not implemented yet."""


def quick(page: str) -> list[Block]:
    """The blocks that take seconds, and the output of those."""
    chosen, runs = [], True
    for block in blocks(PAGES[page]):
        runs = runs if block.language == "text" else not block.note
        if runs:
            chosen.append(block)
    return chosen


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Somebody with muomni installed, in an empty folder."""
    return Reader(tmp_path, programs_of_checkout(tmp_path / "bin"))


@pytest.mark.parametrize("page", PAGES)
def test_blocks_are_of_known_kinds(page: str) -> None:
    kinds = {(block.language, block.note) for block in blocks(PAGES[page])}
    assert kinds <= {
        *((language, note) for language in ("sh", "python") for note in ("", "slow", "pending")),
        *(("sh", "install"), ("console", ""), ("toml", ""), ("text", "")),
    }
    assert sum(block.note == "pending" for block in blocks(PAGES[page])) == PENDING.get(page, 0)


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    found = commands(PAGES[page])
    assert len(found) > 10
    for words in found:
        look_up(words)


@pytest.mark.parametrize("page", PAGES)
def test_quick_blocks(page: str, reader: Reader) -> None:
    for block in quick(page):
        reader.read(block)
    assert len(reader.typed) > 5


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_all_blocks(page: str, reader: Reader) -> None:
    for block in blocks(PAGES[page]):
        if block.note not in ("install", "pending"):
            reader.read(block)

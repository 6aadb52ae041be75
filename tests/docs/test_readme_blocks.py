"""Every block of README.md does what it shows, in an empty folder: over the checkout and over the installed wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.readme import Reader, blocks, programs_of_checkout
from tests.installing import build_wheel, environment_with

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=[pytest.param("clone", marks=pytest.mark.slow), "wheel"])
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``muomni`` and ``python``."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "clone":
        return programs_of_checkout(folder / "bin")
    (folder / "home").mkdir()
    return environment_with(build_wheel("wheel", folder), folder / "home").parent


def test_every_block_is_of_a_known_kind() -> None:
    kinds = {(block.language, block.note) for block in blocks()}
    assert kinds <= {(language, note) for language in ("sh", "console", "python") for note in ("", "slow")} | {
        ("sh", "install"),
        ("toml", ""),
    }
    first = next(block for block in blocks() if block.language == "sh" and block.note != "install")
    assert first.text.startswith("muomni samples")


def test_quick_blocks(programs: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path, programs)
    for block in blocks():
        if not block.note:
            reader.read(block)
    assert len(reader.typed) > 12
    assert (tmp_path / "out.wav").is_file()


@pytest.mark.slow
def test_all_blocks(programs: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path, programs)
    for block in blocks():
        if block.note != "install":
            reader.read(block)
    assert (tmp_path / "omni-onnx" / "muomni.json").is_file()
    assert (tmp_path / "runs" / "mine" / "thinker" / "last.safetensors").is_file()

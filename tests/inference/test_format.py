"""docs/bundle.md says what every key and tensor of a real bundle is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.tiny_model import Whole

PAGE = Path(__file__).parents[2] / "docs" / "bundle.md"


@pytest.fixture(scope="module")
def manifest(whole: Whole) -> Any:
    return json.loads((whole.bundle / "muomni.json").read_text(encoding="utf-8"))


def keys(manifest: Any) -> Iterator[str]:
    """Every key but names of parts and files, and the parts' own settings."""
    yield from manifest
    for table in ("tokenizer", "special_tokens", "chat", "provenance"):
        yield from manifest[table]
    for part in manifest["parts"].values():
        yield from part
        for own in ("mel", "codes"):
            yield from part.get(own, {})
        for graph in part["graphs"].values():
            yield from graph


def tensors(manifest: Any) -> Iterator[str]:
    """Every graph with its inputs and outputs; n stands for a number."""
    for part in manifest["parts"].values():
        for name, graph in part["graphs"].items():
            for tensor in (name, *graph["inputs"], *graph["outputs"]):
                yield re.sub(r"(\w)\d+$", r"\1<q>", re.sub(r"\.\d+", ".n", tensor))


def said() -> str:
    """What the page sets in code: between backticks, and in its blocks."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = [line for line in text.splitlines() if line.startswith("    ")]
    return "\n".join([*re.findall(r"`([^`]+)`", text), *blocks])


@pytest.mark.parametrize("names", [keys, tensors])
def test_the_page_tells_of_every_name(names: Any, manifest: Any) -> None:
    page = said()
    words = set(re.findall(r"[\w.<>]+", page)) | {word.strip(".") for word in re.findall(r"[\w.<>]+", page)}
    unknown = sorted(
        {name for name in names(manifest) if name not in words and f".{name.rpartition('.')[2]}" not in words}
    )
    assert unknown == []


def test_the_page_tells_of_every_part_and_every_file(whole: Whole, manifest: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for part in manifest["parts"].values():
        assert f"`{part['kind']}`" in page
    for path in whole.bundle.rglob("*.*"):
        assert re.sub(r"\d", "0", path.name) in page or path.name in page, path.name

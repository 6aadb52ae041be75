"""``muomni data export_examples``: what lies in the files is what training sees, and the list beside them can be
trained on."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from muomni_cli.api import Conversation, Dataset, Example, Media
from muomni_cli.commands.cli import build_cli
from muomni_cli.core.errors import RequestError
from muomni_cli.data.export import LIST, export_examples
from muomni_cli.data.sources import open_sources
from muomni_cli.data.split import split_of
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.registry.registry import get_registry, resolve

RECIPE = """
[encoders.image]
use = "vit"

[encoders.audio]
use = "listener"

[[data.text]]
use = "tales"
count = 40
conversations = 0.0

[[data.image]]
use = "scenes"
count = 40

[[data.audio]]
use = "sounds"
count = 10
split = "val"

[[data.audio]]
use = "sounds"
task = "tones"
kinds = ["high tone", "low tone"]
count = 40

[[data.omni]]
use = "asked"
task = "questions"
count = 4
val_count = 6
val_fraction = 0.4
from.image = { use = "scenes", count = 40 }
from.other = { use = "scenes", count = 40, seed = 1 }
from.heard = { use = "sounds", count = 40 }
ask = [{ question = ["What do you hear?"], answer = "{heard.label}" }]

[data]
val_fraction = 0.4
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return load_recipe(str(path))


def listed(use: str, folder: Path, **more: str) -> Dataset:
    """The list in a folder, as a source."""
    part = get_registry().get("dataset", use).part
    dataset: Dataset = resolve(part.build)(part.config(path=str(folder / LIST), **more))
    return dataset


def opened(*media: Media) -> list[bytes]:
    found = []
    for one in media:
        with one.open() as file:
            found.append(file.read())
    return found


def media_of(example: Conversation) -> list[bytes]:
    return opened(*(media for message in example.messages for media in message.media))


def test_files_hold_what_training_sees(recipe: Recipe, tmp_path: Path) -> None:
    written = export_examples(recipe, "image", "", tmp_path / "out", split="train", count=5)
    items = [item for item in open_sources(recipe, "image")[0].dataset.documents() if split_of(item, 0.4) == "train"]
    assert [path.name for one in written for path in one.files] == [f"{number}.png" for number in range(1, 6)]
    for item, one in zip(items, written, strict=False):
        assert isinstance(item, Example)
        content = one.files[0].read_bytes()
        assert [content] == opened(item.media)
        assert one.text == item.text
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "PNG"


@pytest.mark.parametrize(("table", "source"), [("image", ""), ("audio", "tones"), ("audio", "1")])
def test_the_list_is_a_source_again(recipe: Recipe, tmp_path: Path, table: str, source: str) -> None:
    written = export_examples(recipe, table, source, tmp_path / "out", split="val", count=4)
    found: list[Any] = list(listed("manifest", tmp_path / "out", modality=table).documents())
    assert [item.text for item in found] == [one.text for one in written]
    assert {item.split for item in found} == {"val"}
    assert [Path(item.media.name) for item in found] == [one.files[0] for one in written]
    assert all(item.label for item in found)


def test_conversations_are_a_source_again(recipe: Recipe, tmp_path: Path) -> None:
    written = export_examples(recipe, "omni", "questions", tmp_path / "out", split="val", count=99)
    assert [path.name for path in written[0].files] == ["1.png", "1-2.png", "1.wav"]
    held = [item for item in open_sources(recipe, "omni")[0].dataset.documents() if split_of(item, 0.4) == "val"]
    found: list[Any] = list(listed("conversations", tmp_path / "out").documents())
    assert len(found) == len(held) == len(written) == 6
    for before, after in zip(held, found, strict=True):
        assert isinstance(before, Conversation)
        assert (after.key, after.split, after.about) == (before.key, before.split, before.about)
        assert [m.text for m in after.messages] == [m.text for m in before.messages]
        assert media_of(after) == media_of(before)


def test_text_goes_into_the_list_alone(recipe: Recipe, tmp_path: Path) -> None:
    written = export_examples(recipe, "text", "", tmp_path / "out", split="train", count=3)
    rows = [json.loads(line) for line in (tmp_path / "out" / LIST).read_text().splitlines()]
    assert [row["text"].split() for row in rows] == [one.text.split() for one in written]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [LIST]


def test_what_is_not_there_is_told(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"\[\[data.audio\]\] has no source 'speech'") as caught:
        export_examples(recipe, "audio", "speech", tmp_path / "out", split="val", count=1)
    assert "0-sounds, tones" in caught.value.fix
    with pytest.raises(RequestError, match="no data for video"):
        export_examples(recipe, "video", "", tmp_path / "out", split="val", count=1)
    with pytest.raises(RequestError, match="has nothing for train"):
        export_examples(recipe, "audio", "0", tmp_path / "out", split="train", count=1)
    assert not (tmp_path / "out").exists()


def test_the_command(recipe: Recipe, tmp_path: Path) -> None:  # noqa: ARG001 (its file is there)
    cli, out = build_cli(get_registry().plugins), tmp_path / "out"
    words = ["data", "export", str(tmp_path / "small.toml"), "-o", str(out), "--count", "2"]
    done = CliRunner().invoke(cli, [*words, "--json"])
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert [len(one["files"]) for one in told] == [3, 3]
    assert all("What do you hear? -> " in one["text"] for one in told)
    shown = CliRunner().invoke(cli, words)
    assert "1.png 1-2.png 1.wav" in shown.stdout
    assert f"wrote 2 examples and their list {out / LIST}" in shown.stderr

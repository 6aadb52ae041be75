"""``muomni data export --parquet``: what the package datasets opens is what training sees."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from muomni_cli.api import Conversation, Document, Example
from muomni_cli.commands.cli import build_cli
from muomni_cli.core.errors import RequestError
from muomni_cli.data.export import items_of
from muomni_cli.data.parquet_export import export_parquet, write_parquet
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.registry.registry import get_registry, resolve

datasets = pytest.importorskip("datasets", reason="needs: pip install 'muomni[datasets]'")

RECIPE = """
[encoders.image]
use = "vit"

[encoders.audio]
use = "listener"

[[data.text]]
use = "tales"
count = 200
conversations = 0.0

[[data.image]]
use = "scenes"
count = 200

[[data.audio]]
use = "sounds"
count = 20

[[data.omni]]
use = "asked"
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


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def theirs(folder: Path, split: str, *, decode: bool = False) -> Any:
    """The rows as ``datasets`` sees them; sounds stay bytes, since decoding them takes a package more."""
    found = datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))[split]
    for name, feature in found.features.items():
        if isinstance(feature, datasets.Audio | datasets.Image) and not (
            decode and isinstance(feature, datasets.Image)
        ):
            found = found.cast_column(name, type(feature)(decode=False))
    return found


def content(media: Any) -> bytes:
    with media.open() as file:
        return bytes(file.read())


@pytest.mark.parametrize("table", ["image", "audio"])
def test_examples_open_with_datasets(recipe: Recipe, tmp_path: Path, table: str) -> None:
    out = tmp_path / "out"
    written = export_parquet(recipe, table, "", out, split="train", count=100)
    items = [item for item in items_of(recipe, table, "", "train", 100) if isinstance(item, Example)]
    rows = theirs(out, "train")
    assert type(rows.features[table]).__name__ == table.capitalize()
    assert len(rows) == len(items) == len(written)
    for item, row in zip(items, rows, strict=True):
        assert row[table]["bytes"] == content(item.media)
        assert (row["text"], row["label"], row["key"], row["split"]) == (item.text, item.label, item.key, "train")
    if table == "image":
        shown = theirs(out, "train", decode=True)[3]["image"]
        with Image.open(io.BytesIO(content(items[3].media))) as picture:
            assert (shown.size, shown.tobytes()) == (picture.size, picture.tobytes())


def test_texts_and_conversations_open_with_datasets(recipe: Recipe, tmp_path: Path) -> None:
    export_parquet(recipe, "text", "", tmp_path / "texts", split="val", count=70)
    texts = [item.text for item in items_of(recipe, "text", "", "val", 70) if isinstance(item, Document)]
    assert theirs(tmp_path / "texts", "validation")["text"][:] == texts
    assert len(texts) == 70
    export_parquet(recipe, "omni", "", tmp_path / "talks", split="val", count=9)
    talks = [item for item in items_of(recipe, "omni", "", "val", 9) if isinstance(item, Conversation)]
    rows = datasets.load_dataset(str(tmp_path / "talks"), cache_dir=str(tmp_path / "cache"))["validation"]
    assert isinstance(rows.features["image"].feature, datasets.Image)
    for item, row in zip(talks, rows.select_columns(["messages", "image"]), strict=True):
        assert [(one["role"], one["content"]) for one in row["messages"]] == [
            (one.role, one.text) for one in item.messages
        ]
        assert len(row["image"]) == 2


def test_the_source_hf_reads_it_again(recipe: Recipe, tmp_path: Path) -> None:
    for split in ("train", "val"):
        export_parquet(recipe, "image", "", tmp_path / "out", split=split, count=20)  # type: ignore[arg-type]
    part = get_registry().get("dataset", "hf").part
    source = resolve(part.build)(part.config(path=str(tmp_path / "out"), modality="image", key="key"))
    again = [(one.text, one.label, one.key, one.split, content(one.media)) for one in source.documents()]
    items = [item for split in ("train", "val") for item in items_of(recipe, "image", "", split, 20)]  # type: ignore[arg-type]
    own = [
        (one.text, one.label, one.key, one.split or side, content(one.media))
        for one, side in zip(items, ["train"] * 20 + ["val"] * 20, strict=True)
        if isinstance(one, Example)
    ]
    assert again == own


def test_nothing_half_is_written(tmp_path: Path) -> None:
    mixed = [Document("a", "a"), Conversation((), "b")]
    with pytest.raises(RequestError, match="which the first 64 items do not have"):
        write_parquet(tmp_path / "a.parquet", mixed, "train")
    assert list(tmp_path.iterdir()) == []


def test_the_command(recipe: Recipe, tmp_path: Path) -> None:  # noqa: ARG001 (its file is there)
    words = ["data", "export", str(tmp_path / "small.toml"), "-o", str(tmp_path / "out"), "--count", "3", "--parquet"]
    done = CliRunner().invoke(build_cli(get_registry().plugins), words)
    assert done.exit_code == 0
    assert f"wrote 3 examples to {tmp_path / 'out' / 'val.parquet'}" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["val.parquet"]

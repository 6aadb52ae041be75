"""Datasets that the package datasets writes: saved to disk, as Parquet, and streamed."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from muomni_cli.api import Conversation, Document, Example, RequestError
from muomni_datasets.formats_config import HuggingFaceConfig
from muomni_datasets.hugging_face import HuggingFace

datasets = pytest.importorskip("datasets", reason="needs: pip install 'muomni[datasets]'")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def pictures(count: int) -> Any:
    shades = [Image.new("RGB", (4 + number, 4), (40 * number, 9, 9)) for number in range(count)]
    data = datasets.Dataset.from_dict({
        "image": shades, "label": [number % 2 for number in range(count)],
        "caption": [f"picture {number}" for number in range(count)], "who": [f"p{n // 2}" for n in range(count)],
    })  # fmt: skip
    return data.cast_column("label", datasets.ClassLabel(names=["cat", "wild_dog"]))


def read(**settings: Any) -> tuple[HuggingFace, list[Any]]:
    source = HuggingFace(HuggingFaceConfig(**settings))
    found = list(source.documents())
    assert found == list(source.documents())
    return source, found


def test_texts_saved_to_disk(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(5)]
    datasets.Dataset.from_dict({"text": [*texts, "", None]}).save_to_disk(tmp_path / "d")
    source, found = read(path=str(tmp_path / "d"))
    assert all(isinstance(one, Document) for one in found)
    assert [one.text for one in found] == texts
    assert source.unreadable == {str(tmp_path / "d"): "row 5 has no text in the column text, and 1 more"}
    assert [path.suffix for path in source.files()] == [".arrow"]


def test_pictures_have_the_bytes_and_classes_of_the_dataset(tmp_path: Path) -> None:
    data = pictures(6)
    data.save_to_disk(tmp_path / "d")
    _, found = read(path=str(tmp_path / "d"), modality="image", text="caption", key="who", voice="who")
    assert [(one.text, one.label, one.key) for one in found] == [
        (f"picture {number}", ("cat", "wild_dog")[number % 2], f"p{number // 2}") for number in range(6)
    ]
    for ours, theirs in zip(found, data, strict=True):
        assert isinstance(ours, Example)
        again = pickle.loads(pickle.dumps(ours.media))
        assert again == ours.media
        with again.open() as file, Image.open(io.BytesIO(file.read())) as shown:
            assert (shown.size, shown.tobytes()) == (theirs["image"].size, theirs["image"].tobytes())


def test_labels_alone_are_texts(tmp_path: Path) -> None:
    pictures(4).remove_columns("caption").save_to_disk(tmp_path / "d")
    _, found = read(path=str(tmp_path / "d"), modality="image")
    assert [one.text for one in found] == ["cat", "wild dog"] * 2


def test_splits_become_sides(tmp_path: Path) -> None:
    parts = {
        name: datasets.Dataset.from_dict({"text": [f"{name} {number}" for number in range(count)]})
        for name, count in (("train", 3), ("validation", 2), ("test", 1))
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    source, found = read(path=str(tmp_path / "d"))
    assert [(one.text, one.split) for one in found] == [
        *((f"train {number}", "train") for number in range(3)),
        *((f"validation {number}", "val") for number in range(2)),
    ]
    assert source.left_out == {"splits named test": 1}
    _, chosen = read(path=str(tmp_path / "d"), splits={"test": "val", "train": ""})
    assert [(one.text, one.split) for one in chosen][:2] == [("test 0", "val"), ("train 0", None)]
    with pytest.raises(RequestError, match="has no split dev") as caught:
        read(path=str(tmp_path / "d"), splits={"dev": "val"})
    assert caught.value.fix == "its splits: train, validation, test"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_of_parquet_is_read_and_streamed(tmp_path: Path, *, streaming: bool) -> None:
    (tmp_path / "d").mkdir()
    data = pictures(4)
    data.to_parquet(tmp_path / "d" / "train.parquet")
    data.select([0, 1]).to_parquet(tmp_path / "d" / "test.parquet")
    _, found = read(path=str(tmp_path / "d"), modality="image", text="caption", streaming=streaming)
    assert [(one.text, one.label, one.split) for one in found] == [
        *((f"picture {number}", ("cat", "wild_dog")[number % 2], "train") for number in range(4)),
        ("picture 0", "cat", "val"), ("picture 1", "wild_dog", "val"),
    ]  # fmt: skip
    with found[3].media.open() as file, Image.open(io.BytesIO(file.read())) as shown:
        assert shown.getpixel((0, 0)) == (120, 9, 9)


@pytest.mark.parametrize("names", [("role", "content", "user", "assistant"), ("from", "value", "human", "gpt")])
def test_conversations(tmp_path: Path, names: tuple[str, str, str, str]) -> None:
    role, content, user, assistant = names
    said = [[{role: user, content: f"ask {n}"}, {role: assistant, content: f"answer {n}"}] for n in range(3)]
    data = datasets.Dataset.from_dict({"talk": said, "image": [Image.new("RGB", (4, 4)), None, None]})
    data.save_to_disk(tmp_path / "d")
    _, found = read(path=str(tmp_path / "d"), messages="talk", learn="all")
    assert all(isinstance(one, Conversation) and one.learn == "all" for one in found)
    assert [[m.text for m in one.messages] for one in found] == [[f"ask {n}", f"answer {n}"] for n in range(3)]
    _, shown = read(path=str(tmp_path / "d"), messages="talk", modality="image")
    assert [len(one.messages[0].media) for one in shown] == [1, 0, 0]


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"body": ["a"]}).save_to_disk(tmp_path / "d")
    with pytest.raises(RequestError, match="has no column text") as caught:
        read(path=str(tmp_path / "d"))
    assert caught.value.fix == "its columns: body"
    with pytest.raises(RequestError, match="there is no folder"):
        read(path="./nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="cannot be opened as a dataset") as caught:
        read(path=str(tmp_path / "empty"))
    assert "\n" not in caught.value.what

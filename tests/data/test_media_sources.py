"""Sources of pictures and sounds in a recipe: checked before training, and their words learned by the tokenizer."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from muomni_cli.api import RequestError
from muomni_cli.app import main
from muomni_cli.data.check import check
from muomni_cli.data.sources import conversation_items, example_items, open_sources, text_items
from muomni_cli.data.text import train_tokenizer, training_texts
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe

HEAD = """
name = "small"
[tokenizer]
use = "bpe"
vocab_size = 300
[encoders.image]
use = "vit"
[encoders.audio]
use = "listener"
[data]
val_fraction = 0.2
"""
ASKED = """
[[data.omni]]
use = "asked"
count = 60
val_count = 10
val_fraction = 0.2
from.image = {use = "scenes", count = 50}
[[data.omni.ask]]
question = ["Zebra, which colour has the {image.some_shape}?"]
answer = "{image.colour_of_some_shape}"
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Recipe]:
    def write(text: str) -> Recipe:
        path = tmp_path / "small.toml"
        path.write_text(HEAD + text, encoding="utf-8")
        return load_recipe(str(path))

    return write


Load = Callable[[str], Recipe]


def test_counts_labels_and_an_example(load: Load) -> None:
    recipe = load('[[data.image]]\nuse = "scenes"\ncount = 100\nonly = ["red star"]\nobjects = [1]\n' + ASKED)
    report = check(recipe, None)
    (images,), (conversations,) = report.examples, report.sources
    assert sum(images.stats.documents.values()) == 100 == images.labels["red star"]
    assert 5 < images.stats.documents["val"] < 40
    assert "label 'red star'" in images.example
    assert conversations.stats.documents == {"train": 60, "val": 10}
    assert conversations.media == {"image": 70}
    assert conversations.example.startswith("Zebra")
    assert report.usable
    assert all("are uncertain by ±" in warning for warning in report.warnings)


def test_what_is_wrong_is_a_warning(load: Load, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 80, 200)).save(file, "PNG")
    picture = file.getvalue()
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("cat/1.png", "cat/2.png", "alone.png"):
            info = tarfile.TarInfo(name)
            info.size = len(picture)
            archive.addfile(info, io.BytesIO(picture))
    (tmp_path / "cat.png").write_bytes(picture)
    (tmp_path / "list.jsonl").write_text(
        '{"image": "cat.png", "text": "x", "key": "cat/1.png", "split": "val"}\n[]\n'
        '{"image": "list.jsonl", "text": "x", "split": "val"}\n'
    )
    table = '[[data.image]]\nuse = "{}"\npath = "{}"\n'
    recipe = load(
        table.format("tar", tmp_path / "a.tar") + 'holdout = ["nobody"]\n'
        + table.format("manifest", tmp_path / "list.jsonl")
        + table.format("folder", tmp_path / "nowhere")
        + '[[data.audio]]\nuse = "scenes"\ncount = 3\n'
        + '[[data.omni]]\nuse = "scenes"\ncount = 3\n'
    )  # fmt: skip
    report = check(recipe, None)
    warnings = "\n".join(report.warnings)
    for words in (
        "alone.png has no label",
        "line 2 is no object",
        "list.jsonl is not a picture that can be read",
        "1 of 2 pictures cannot be used",
        "nowhere",
        "0-scenes in [[data.audio]] gives examples of image",
        "0-scenes in [[data.omni]] gives examples of image",
        "1 keys of [[data.image]] are on both sides of the split, such as 'cat/1.png'",
    ):
        assert words in warnings
    assert report.usable


def test_files_that_conversations_show_and_that_are_not_there(load: Load, tmp_path: Path) -> None:
    (tmp_path / "there.png").write_bytes(b"whatever it is")
    (tmp_path / "empty.wav").touch()
    shown = [{"image": "there.png"}, {"image": "gone.png"}, {"image": "gone.png"}, {"audio": "empty.wav"}]
    lines = [
        {"messages": [{"role": "user", "content": "?", **media}, {"role": "assistant", "content": "!"}]}
        for media in shown
    ]
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = load(f'[[data.omni]]\nuse = "conversations"\npath = "{tmp_path / "talks.jsonl"}"\n')
    report = check(recipe, None)
    (conversations,) = report.sources
    assert (conversations.media, conversations.unusable) == ({"image": 3, "audio": 1}, 3)
    warnings = "\n".join(report.warnings)
    assert "3 media files cannot be used, nor 4 conversations" in warnings
    assert all(name in warnings for name in ("there.png", "gone.png", "empty.wav"))
    assert not report.complete


def test_the_command_shows_them(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load('[[data.image]]\nuse = "scenes"\ncount = 100\nobjects = [1]\nonly = ["blue circle"]\n' + ASKED)
    for words in ([], ["--json"]):
        with pytest.raises(SystemExit) as exit_:
            main(["data", "check", str(tmp_path / "small.toml"), *words])
        assert exit_.value.code == 0
    shown, found = capsys.readouterr().out.split("{", 1)
    found = "{" + found
    assert "labels: blue circle 100" in shown
    assert "shows: 70 image" in shown
    assert json.loads(found)["examples"][0]["labels"] == {"blue circle": 100}


def test_items_of_another_kind_are_refused(load: Load) -> None:
    recipe = load('[[data.text]]\nuse = "scenes"\ngive = "questions"\n[[data.image]]\nuse = "tales"\n')
    with pytest.raises(RequestError, match="more than text"):
        next(text_items(open_sources(recipe)[0]))
    assert next(conversation_items(open_sources(recipe)[0]))
    with pytest.raises(RequestError, match="not an example"):
        next(example_items(open_sources(recipe, "image")[0]))


def test_a_tokenizer_learns_from_what_is_asked_and_answered(load: Load) -> None:
    tokenizer = train_tokenizer(load(ASKED), lambda _: None)
    assert len(tokenizer.encode("Zebra, which colour has the circle?")) < 15
    both = load('[[data.text]]\nuse = "tales"\ncount = 5\n' + ASKED)
    sources = [*open_sources(both), *open_sources(both, "omni")]
    texts = list(training_texts(both, sources))
    begin = next(number for number, text in enumerate(texts) if text.startswith("Zebra"))
    assert begin > 0
    assert len(texts) - begin == 120  # questions and answers for training
    with pytest.raises(RequestError, match="no text"):
        train_tokenizer(load(""), lambda _: None)

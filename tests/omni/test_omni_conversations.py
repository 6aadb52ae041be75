"""Conversations with media: laid out as chat lays them out, in the same order each time, nothing lost silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import conversation

from muomni_cli.api import FileMedia, Message, RequestError
from muomni_cli.data.conversations import OmniData, open_omni_data
from muomni_cli.data.media import modality_of
from muomni_cli.data.prompt import chat_ids
from muomni_cli.recipe.load import load_recipe
from muomni_text.byte_level import ByteTokenizer


def opened(told: list[str] | None = None, *overrides: str) -> OmniData:
    recipe = load_recipe("small.toml", overrides)
    modalities = {name: modality_of(chosen.registered, chosen.config) for name, chosen in recipe.encoders.items()}
    said = told if told is not None else []
    return open_omni_data(recipe, ByteTokenizer(), modalities, said.append)


def test_media_stand_before_the_text_in_the_recipes_order(world: Path) -> None:  # noqa: ARG001
    data = opened()
    tokenizer = ByteTokenizer()
    both = next(example for example in data.train if len(example.media) == 2)
    assert [modality for modality, _ in both.media] == ["image", "audio"]
    ids = both.ids.tolist()
    user = ids.index(tokenizer.specials["user"])
    image, audio = (ids.count(-1 - number) for number in range(2))
    assert image == 4
    assert audio > 2
    assert ids[user + 1 : user + 1 + image + audio] == [-1] * image + [-2] * audio
    message = Message("user", "Which tone?", (FileMedia("image", Path("a")), FileMedia("audio", Path("b"))))
    media_ids = iter([[-1] * image, [-2] * audio])
    layout = chat_ids(tokenizer, [message, Message("assistant", "low")], "roles", media_ids=lambda _: next(media_ids))
    assert ids == layout.ids
    assert both.answer.tolist() == layout.answer
    assert tokenizer.decode(both.ids[both.answer].tolist()) == "low"


def test_equal_files_are_decoded_once(world: Path) -> None:  # noqa: ARG001
    data = opened()
    assert len(data.inputs["image"]) == 9
    assert len(data.inputs["audio"]) == 6
    used = {index for example in data.train for modality, index in example.media if modality == "image"}
    assert len(used) == 6


def test_draws_are_a_function_of_the_step_and_never_leave_their_side(world: Path) -> None:  # noqa: ARG001
    one, other = opened(), opened()
    for step in range(20):
        rows = one.train.batch(step, 4)
        assert rows == other.train.batch(step, 4)
        assert len(rows) == 4
    sides = [{index for example in side for m, index in example.media if m == "image"} for side in (one.train, one.val)]
    assert not sides[0] & sides[1]
    assert sorted(row for rows in one.val.batches(4) for row in rows) == list(range(len(one.val)))


def test_what_cannot_be_read_is_told_and_left_out(world: Path) -> None:
    whole = len(opened().train)
    lines = [json.loads(line) for line in (world / "world.jsonl").read_text().splitlines()]
    lines.append(conversation("What?", "nothing", "train", image="missing.png"))
    (world / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    lines.append(conversation("What?", "nothing", "train", image="broken.png"))
    lines.append(conversation("What? " * 20, "nothing", "train", image="red0.png"))
    (world / "world.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told: list[str] = []
    assert len(opened(told).train) == whole
    warnings = "\n".join(line for line in told if line.startswith("warning"))
    assert "missing.png" in warnings
    assert "broken.png" in warnings
    assert "longer than the context" in warnings


def test_a_task_names_the_metrics_and_what_an_answer_is_about_is_known(world: Path) -> None:
    lines = [json.loads(line) for line in (world / "world.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        both = {"audio", "image"} <= line["messages"][0].keys()
        lines[number] = {**line, "key": f"k{number}", **({"about": ["audio"]} if both else {})}
    (world / "world.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = opened(None, 'data.omni.0.task="questions"')
    assert data.names == ["questions"]
    for example in data.val:
        assert example.about == (["audio"] if len(example.media) == 2 else ["image"])
        assert example.key in {line["key"] for line in lines if line["split"] == "val"}
    (world / "world.jsonl").write_text(json.dumps({**lines[0], "about": "audio"}) + "\n" + json.dumps(lines[-1]))
    told: list[str] = []
    with pytest.raises(RequestError, match="no conversation"):
        opened(told)
    assert any('line 1 has an "about" that is not a list' in line for line in told), told


def test_a_modality_that_the_recipe_lacks_is_refused(world: Path) -> None:  # noqa: ARG001
    recipe = load_recipe("small.toml")
    modalities = {"image": modality_of(recipe.encoders["image"].registered, recipe.encoders["image"].config)}
    with pytest.raises(RequestError, match="no encoder for audio"):
        open_omni_data(recipe, ByteTokenizer(), modalities, lambda _: None)


def test_text_beside_media_loses_no_token(world: Path) -> None:
    text = "".join(chr(97 + n % 26) for n in range(500))
    (world / "text.txt").write_text(text + "\n" + text[::-1] + "\n")
    source: Any = 'data.omni=[{use="text",path="text.txt",split="file"},{use="conversations",path="world.jsonl"}]'
    data = opened(None, source, "data.val_fraction=0.0")
    learned = [example.ids[1:][example.answer[1:]] for example in data.train if not example.media]
    body = ByteTokenizer().decode(np.concatenate(learned).tolist())
    assert body.rstrip("\n") == (text + "\n" + text[::-1])

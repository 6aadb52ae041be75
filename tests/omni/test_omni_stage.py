"""`muomni train omni`: what it starts from, what it learns, and that chat sees what training saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import COLORS, TONES, paint, play

from muomni_cli.api import FileMedia, RequestError
from muomni_cli.commands.train import train
from muomni_cli.inference.chat_model import Answer
from muomni_cli.inference.settings import ChatOptions
from muomni_cli.runs.checkpoint import read_checkpoint
from tests.opening import open_chat

LONG = ["train.omni.steps=300", "train.omni.val_every=150", "train.omni.batch_size=12", "train.omni.sample_every=300"]


def weights(stage: str = "omni", run: str = "small") -> dict[str, torch.Tensor]:
    tensors = read_checkpoint(Path(f"runs/{run}/{stage}/last.safetensors")).tensors
    return {name: tensor for name, tensor in tensors.items() if name.startswith("model.")}


def ask(question: str, **files: Path) -> str:
    speaker, settings = open_chat("small", ChatOptions())
    media = [FileMedia(modality, path) for modality, path in files.items()]
    ids = speaker.prompt(question, media, settings)
    return "".join(said.text for said in speaker.answer(ids, settings, Answer()))


def test_random_parts_are_refused_unless_asked_for(world: Path) -> None:  # noqa: ARG001
    train("tokenizer", "small.toml")
    with pytest.raises(RequestError, match="has no thinker yet") as caught:
        train("omni", "small.toml", ['train.omni.init="trained"'])
    assert "muomni train thinker" in caught.value.fix
    assert 'train.omni.init="random"' in caught.value.fix


def test_it_says_where_each_part_came_from(world: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    train("tokenizer", "small.toml")
    train("thinker", "small.toml", ["train.thinker.steps=2", "train.thinker.batch_size=2"])
    with pytest.raises(RequestError, match="has no image yet"):
        train("omni", "small.toml", ['train.omni.init="trained"'])
    capsys.readouterr()
    train("omni", "small.toml")
    told = capsys.readouterr().err
    assert "thinker: random weights" in told
    assert "audio: random weights" in told


def test_encoders_of_other_runs_are_taken_as_they_are(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (world / "pictures").mkdir()
    for color in COLORS:
        (world / "pictures" / color).mkdir()
        for shade in range(4):
            paint(world / "pictures" / color / f"{shade}.png", color, shade)
    picture_data = ['data.image=[{use="folder",path="pictures"}]', "data.val_fraction=0.4", "train.image.steps=2"]
    train("image", "small.toml", [*picture_data, "train.image.batch_size=2"], run="eyes")
    train("tokenizer", "small.toml")
    still = [
        "encoders.image.augment.shift=1",
        'train.omni.init_encoders={image="eyes"}',
        "train.omni.lr_scale={encoders=0}",
    ]
    train("omni", "small.toml", still)
    assert "image: runs/eyes/image/" in capsys.readouterr().err
    eyes = read_checkpoint(Path("runs/eyes/image/best.safetensors")).tensors
    for name, tensor in weights().items():
        if name.startswith("model.encoders.image."):
            assert torch.equal(tensor, eyes[name.replace("encoders.image", "encoder")])
    train("tokenizer", "small.toml", run="other")
    with pytest.raises(RequestError, match="differs from the recipe in d_ff and n_layers") as caught:
        train("omni", "small.toml", [*still, "encoders.image.d_ff=48", "encoders.image.n_layers=2"], run="other")
    assert "[encoders.image]" in caught.value.fix
    for wrong, message in (
        ('init_encoders={image="nobody"}', "no model 'nobody'"),
        ('init_encoders={thinker="eyes"}', r"train\.omni\.init_encoders names thinker"),
        ("word_dropout={smell=0.5}", r"train\.omni\.word_dropout names smell"),
    ):
        with pytest.raises(RequestError, match=message):
            train("omni", "small.toml", [f"train.omni.{wrong}"], force=True)


def test_it_learns_what_is_seen_and_heard_and_chat_sees_the_same(world: Path) -> None:
    train("tokenizer", "small.toml")
    train("omni", "small.toml", LONG)
    last = [json.loads(line) for line in Path("runs/small/omni/metrics.jsonl").read_text().splitlines()][-1]
    assert last["val_exact_0-conversations"] == 1.0
    for color in COLORS:
        for tone in TONES:
            picture = paint(world / "new.png", color, 3)
            sound = play(world / "new.wav", tone, 0.35)
            assert ask("What colour?", image=picture, audio=sound) == color
            assert ask("Which tone?", audio=sound, image=picture) == tone
        assert ask("What colour?", image=picture) == color


def test_resumed_is_never_stopped(world: Path) -> None:  # noqa: ARG001
    steady = 'train.omni.schedule="constant"'
    train("tokenizer", "small.toml")
    train("omni", "small.toml", [steady])
    whole = weights()
    train("tokenizer", "small.toml", run="halves")
    train("omni", "small.toml", [steady, "train.omni.steps=3"], run="halves")
    train("omni", "small.toml", ["train.omni.steps=6"], run="halves", resume=True)
    halves = weights(run="halves")
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_a_scale_of_nought_freezes_and_accumulation_changes_nothing(world: Path) -> None:  # noqa: ARG001
    frozen = ['train.omni.lr_scale={encoders=0, "thinker.blocks"=0}', "train.omni.word_dropout=0.4"]
    train("tokenizer", "small.toml")
    train("omni", "small.toml", [*frozen, "train.omni.steps=1"])
    one = weights()
    train("omni", "small.toml", [*frozen, "train.omni.steps=6"], force=True)
    six = weights()
    moved = {name for name in one if not torch.equal(one[name], six[name])}
    assert moved
    assert all("projectors" in name or name.startswith("model.thinker.") for name in moved)
    assert not any(".encoders." in name or "thinker.blocks" in name for name in moved)
    train("omni", "small.toml", [*frozen, "train.omni.accumulate=2"], force=True)
    for name, tensor in weights().items():
        torch.testing.assert_close(tensor, six[name], atol=2e-4, rtol=1e-3)


def test_training_and_chat_lay_out_the_same_tokens(world: Path) -> None:
    """The states that training learns from are those that a question in chat is answered from."""
    from muomni_cli.generation.torch_backend import TorchBackend
    from muomni_cli.inference.media_input import ModalityEncoders
    from muomni_cli.models.engines import modalities_of
    from tests.opening import run_engine

    train("tokenizer", "small.toml")
    train("omni", "small.toml")
    engine = run_engine("small")
    omni = engine.omni()
    modalities = ModalityEncoders(engine.encode, modalities_of(engine), 64, print)
    media = [FileMedia("audio", world / "low0.wav"), FileMedia("image", world / "red0.png")]
    taken = modalities(media)
    assert [one.modality for one, _ in taken] == ["image", "audio"]
    assert [len(tokens) for _, tokens in taken] == [4, 8]
    backend = TorchBackend(omni.thinker, engine.declaration("thinker").capabilities)
    media_ids = [backend.add_embeddings(tokens) for _, tokens in taken]
    ids = [1, *media_ids[0], *media_ids[1], 40, 41, 42]
    _, logits = backend.begin([ids], 32)
    text = torch.tensor([[1, *[0] * 12, 40, 41, 42]])
    rows = [torch.from_numpy(tokens) for _, tokens in taken]
    with torch.no_grad():
        embeds = omni.embed(text, rows, [torch.arange(1, 5), torch.arange(5, 13)])
        expected: Any = omni.thinker(embeds=embeds, last_only=True).logits[:, 0]
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)

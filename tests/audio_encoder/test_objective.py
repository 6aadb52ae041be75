"""The stage of the audio encoder: batches by seed and step, a loss that is CTC's, and words that are learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muomni_audio_encoder.model import build
from muomni_audio_encoder.objective import CtcObjective, ErrorRates, edits, padded, striped
from muomni_audio_encoder.plugin import AudioAugmentConfig, AudioEncoderConfig
from muomni_audio_encoder.recognizer import spelling_loss
from muomni_cli.api import Batch, RequestError
from muomni_cli.data.batches import BatchSampler
from muomni_cli.data.examples import DecodedExampleData, DecodedExamples
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.training.step import Stepper

Voice = Callable[..., NDArray[np.float64]]
PLAIN = AudioAugmentConfig(speed=0, shift=0, gain=0, noise=0, babble=0, time_masks=0, bin_masks=0)
TINY = AudioEncoderConfig(n_mels=32, channels=8, d_model=32, n_layers=2, n_heads=2, d_ff=64, characters=" lh")


def examples(waves: Sequence[NDArray[np.float32]], texts: Sequence[str]) -> DecodedExamples:
    order = BatchSampler([wave.size for wave in waves], [0] * len(waves), [1.0], 0)
    return DecodedExamples(waves, texts, [None] * len(waves), order)


@pytest.fixture(scope="module")
def spoken(voice: Voice) -> DecodedExamples:
    """Low and high sounds, spelled l and h, one to three after the other, of unequal lengths."""
    sounds = {"l": voice(16000, 0.25, 110.0), "h": voice(16000, 0.3, 300.0)}
    texts = ["l", "h", "lh", "hl", "llh", "hlh", "hh", "ll"]
    return examples([np.concatenate([sounds[c] for c in text]).astype(np.float32) for text in texts], texts)


def objective(
    spoken: DecodedExamples, augment: AudioAugmentConfig = PLAIN, seed: int = 0, **train: Any
) -> CtcObjective:
    torch.manual_seed(0)
    context: Any = SimpleNamespace(
        settings=TrainSettings(**{"batch_size": 8, **train}),
        seed=seed,
        examples=lambda: DecodedExampleData(spoken, spoken, ""),
        progress=print,
    )
    return CtcObjective(build(TINY.model_copy(update={"augment": augment})), context)


def equal(one: Batch, other: Batch) -> bool:
    same = all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    return same and one.host == other.host and (one.weight, one.items) == (other.weight, other.items)


def test_a_batch_is_a_function_of_seed_and_step(spoken: DecodedExamples) -> None:
    one, other = (objective(spoken, AudioAugmentConfig()) for _ in range(2))
    for step in (5, 0, 3):
        assert equal(one.batch(step, 0), other.batch(step, 0))
    assert not torch.equal(one.batch(0, 0).tensors["waves"][0, :99], one.batch(8, 0).tensors["waves"][0, :99])
    changed = objective(spoken, AudioAugmentConfig(), seed=1)
    assert changed.batch(0, 0).host["samples"] != one.batch(0, 0).host["samples"]


def test_micro_batches_are_shares_of_the_step(spoken: DecodedExamples) -> None:
    whole = objective(spoken, AudioAugmentConfig()).batch(2, 0)
    shared = objective(spoken, AudioAugmentConfig(), accumulate=4)
    parts = [shared.batch(2, micro) for micro in range(4)]
    assert [n for part in parts for n in part.host["samples"]] == whole.host["samples"]
    assert torch.equal(torch.cat([part.tensors["texts"] for part in parts]), whole.tensors["texts"])
    assert sum(part.weight for part in parts) == whole.weight
    begin = 0
    for part in parts:
        rows = len(part.host["samples"])
        width = part.tensors["waves"].shape[1]
        assert torch.equal(part.tensors["waves"], whole.tensors["waves"][begin : begin + rows, :width])
        begin += rows


def test_the_loss_is_that_of_the_module(spoken: DecodedExamples) -> None:
    stage = objective(spoken)
    batch = stage.batch(0, 0)
    scores, lengths = stage.module(batch.tensors["waves"], batch.host["samples"])
    flat, texts = batch.tensors["texts"].tolist(), []
    for size in batch.host["sizes"]:
        texts.append(flat[:size])
        del flat[:size]
    torch.testing.assert_close(stage.loss(batch).total, spelling_loss(scores, lengths, texts))
    assert batch.weight == sum(len(text) for text in texts)


def test_stripes_are_hidden_from_the_network(spoken: DecodedExamples) -> None:
    """What lies under them may be anything: the loss does not hear it."""
    stage = objective(spoken)
    batch = stage.batch(0, 0)
    before = stage.loss(batch).total
    frames = [n // 160 for n in batch.host["samples"]]
    batch.tensors["times"] = torch.tensor([[[0, 8]]] * 8)
    hidden = stage.loss(batch).total
    batch.tensors["waves"][:, : 4 * 160] = 0.7  # the mel of frame 8 sees no further back than sample 960
    torch.testing.assert_close(stage.loss(batch).total, hidden)
    assert abs(hidden - before) > 1e-4
    batch.tensors["bins"] = torch.tensor([[[0, 32]]] * 8)
    batch.tensors["waves"].uniform_(-1, 1)
    everything = stage.loss(batch).total
    batch.tensors["waves"].zero_()
    torch.testing.assert_close(stage.loss(batch).total, everything)
    assert min(frames) > 8


def test_striped() -> None:
    spans = torch.tensor([[[1, 3], [2, 4]], [[0, 0], [4, 5]]])
    assert striped(5, spans).tolist() == [[False, True, True, True, False], [False, False, False, False, True]]


def test_it_learns_what_is_said(spoken: DecodedExamples) -> None:
    stage = objective(spoken, AudioAugmentConfig(noise=0.2), steps=120, lr=4e-3, optimizer="muon", warmup_steps=10)
    before = stage.validate()
    stepper = Stepper(stage, stage._settings, torch.device("cpu"))
    for step in range(120):
        stepper.step(step, [stage.batch(step, 0)])
    after = stage.validate()
    assert stage.module.training
    assert before["exact"] == 0
    assert after["exact"] == 1.0
    assert after["character_error_rate"] == after["word_error_rate"] == 0.0
    assert after["loss"] < 0.2 < before["loss"]
    (sample,) = stage.samples(120)
    assert isinstance(sample.content, str)
    assert "said:  hlh\nheard: hlh\n" in sample.content


def test_texts_that_cannot_be_said_are_told_and_do_no_harm(capsys: pytest.CaptureFixture[str]) -> None:
    waves = [np.full(1280, 0.1, np.float32), *[np.full(16000, 0.1, np.float32)] * 3]
    stage = objective(examples(waves, ["lhlhlhlh", "", "hl", "ÿ"]), batch_size=4)
    out = capsys.readouterr().out
    assert "1 of 4 sounds for training are too short for their text" in out
    assert "1 of 4 sounds for validation have a text without a letter that the encoder knows" in out
    batch = stage.batch(0, 0)
    assert batch.weight == 1 + 2 + 1  # what cannot be learned does not dilute the loss
    loss = stage.loss(batch).total
    assert torch.isfinite(loss)
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(torch.isfinite(p.grad).all() for p in stage.module.parameters() if p.grad is not None)
    assert np.isfinite(stage.validate()["loss"])


@pytest.mark.parametrize("text", ["lhlhlhlh", "", "ÿ"])
def test_a_side_without_a_text_to_learn_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="no sound for training has a text to learn from"):
        objective(examples([np.full(1280, 0.1, np.float32)] * 3, [text] * 3))


def test_sounds_sped_up_below_one_token_are_filled() -> None:
    short = examples([np.full(640, 0.1, np.float32)] * 2, ["l", "l"])
    stage = objective(short, AudioAugmentConfig(speed=0.5, shift=0), batch_size=2)
    for step in range(10):
        assert torch.isfinite(stage.loss(stage.batch(step, 0)).total)


def test_names_of_what_adamw_moves(spoken: DecodedExamples) -> None:
    stage = objective(spoken)
    assert stage.adamw_params <= dict(stage.module.named_parameters()).keys()
    assert len(stage.blocks) == 2
    assert padded([np.ones(3, np.float32), np.ones(5, np.float32)]).sum(1).tolist() == [3, 5]


@settings(max_examples=60, deadline=None)
@given(st.text("ab", max_size=6), st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_edits_are_a_distance(one: str, other: str, third: str) -> None:
    assert edits(one, other) == edits(other, one)
    assert (edits(one, other) == 0) == (one == other)
    assert edits(one, third) <= edits(one, other) + edits(other, third)
    assert abs(len(one) - len(other)) <= edits(one, other) <= max(len(one), len(other))


def test_error_rates() -> None:
    rates = ErrorRates()
    rates.add("the cat sat", "the cut sat")
    rates.add("yes", "yes")
    assert rates.rates() == {"character_error_rate": 1 / 14, "word_error_rate": 1 / 4, "exact": 0.5}
    assert edits("kitten", "sitting") == 3
    assert ErrorRates().rates() == {"character_error_rate": 0.0, "word_error_rate": 0.0, "exact": 0.0}

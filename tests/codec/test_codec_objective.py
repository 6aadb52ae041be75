"""The codec's stage: batches by seed and step, codes that begin once, and sounds that are learned by heart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from muomni_cli.api import MelConfig
from muomni_cli.data.batches import BatchSampler
from muomni_cli.data.examples import DecodedExampleData, DecodedExamples
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.runs.run import RunFolder
from muomni_cli.training.callbacks import CallbackList, Display
from muomni_cli.training.distributed.strategy import Strategy
from muomni_cli.training.loop import Trainer
from muomni_cli.training.step import Stepper
from muomni_rvq.model import build
from muomni_rvq.objective import Reconstruction, perplexity
from muomni_rvq.plugin import CodecConfig

TINY = CodecConfig(
    mel=MelConfig(n_mels=16),
    width=32,
    fine_width=16,
    code_dim=8,
    encoder_layers=1,
    decoder_layers=1,
    codebook_size=8,
    crop_seconds=0.4,
)


def tones(count: int = 6) -> list[NDArray[np.float32]]:
    """Sounds of unequal lengths, some shorter than a crop; each glides between pitches of its own."""
    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        t = np.arange(int(rng.integers(3000, 9000))) / 16000
        pitch = np.interp(t, np.linspace(0, t[-1], 5), rng.uniform(200, 3000, 5))
        made.append((0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 16000)).astype(np.float32))
    return made


def examples(waves: Sequence[NDArray[np.float32]]) -> DecodedExamples:
    order = BatchSampler([wave.size for wave in waves], [0] * len(waves), [1.0], 0)
    return DecodedExamples(waves, [""] * len(waves), [None] * len(waves), order)


def objective(config: CodecConfig = TINY, seed: int = 0, **train: Any) -> Reconstruction:
    torch.manual_seed(0)
    data = examples(tones())
    context: Any = SimpleNamespace(
        settings=TrainSettings(**{"batch_size": 4, "steps": 10, **train}),
        seed=seed,
        examples=lambda: DecodedExampleData(data, data, ""),
        progress=print,
        understood=lambda _: {"wer": 0.5},
    )
    return Reconstruction(build(config), context)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    one, other, changed = objective(), objective(), objective(seed=1)
    for step in (5, 0, 3):
        batch, same = one.batch(step, 0), other.batch(step, 0)
        assert batch.tensors["waves"].shape == (4, 6400)
        assert all(torch.equal(batch.tensors[name], same.tensors[name]) for name in batch.tensors)
    assert not torch.equal(one.batch(0, 0).tensors["waves"], changed.batch(0, 0).tensors["waves"])


def test_micro_batches_are_shares_of_the_step() -> None:
    whole, shared = objective().batch(2, 0), objective(accumulate=2)
    parts = [shared.batch(2, micro) for micro in range(2)]
    for name, wanted in whole.tensors.items():
        assert torch.equal(torch.cat([part.tensors[name] for part in parts]), wanted)
    assert sum(part.weight for part in parts) == whole.weight == 4


def test_crops_are_pieces_of_sounds_with_short_pauses() -> None:
    stage = objective()
    rows = torch.cat([stage.batch(step, 0).tensors["waves"] for step in range(8)])
    silent = (rows == 0).float().mean(1)
    assert silent.max() < 0.6
    assert (silent > 0.02).any(), "no row holds the pause between two sounds"


def test_codebooks_are_left_out_as_often_as_asked() -> None:
    def depths(share: float) -> list[int]:
        stage = objective(TINY.model_copy(update={"codebook_dropout": share, "codebooks": 3}))
        return [depth for step in range(40) for depth in stage.batch(step, 0).tensors["depths"].tolist()]

    assert set(depths(0.0)) == {3}
    assert sorted(set(depths(1.0))) == [1, 2, 3]
    assert 0.05 < np.mean([depth < 3 for depth in depths(0.3)]) < 0.35


def test_a_row_is_decoded_from_its_codebooks_alone() -> None:
    stage = objective(TINY.model_copy(update={"commitment": 0.0}))
    quantizer, points = stage.module.quantizer, torch.randn(2, 5, 8)
    found = quantizer.looked_up(quantizer.encode(points))
    coded, _ = stage._through(points, torch.tensor([1, 2]))
    torch.testing.assert_close(coded[0], found[0, :, 0])
    torch.testing.assert_close(coded[1], found[1].sum(1))


def test_gradients_pass_straight_through_the_codes() -> None:
    stage = objective()
    points = torch.randn(2, 5, 8, requires_grad=True)
    coded, committed = stage._through(points, torch.tensor([2, 2]))
    weights = torch.randn_like(coded)
    (coded * weights).sum().backward()
    torch.testing.assert_close(points.grad, weights)
    assert committed > 0


def test_codes_begin_after_the_free_steps_and_once() -> None:
    stage = objective(steps=10)  # 3 of them free
    stepper = Stepper(stage, stage._settings, torch.device("cpu"))
    fresh = stage.module.quantizer.table.clone()
    for step in range(3):
        stepper.step(step, [stage.batch(step, 0)])
    assert not stage.module.quantizer.ready
    assert torch.equal(stage.module.quantizer.table, fresh)
    stepper.step(3, [stage.batch(3, 0)])
    begun = stage.module.quantizer.table.clone()
    assert stage.module.quantizer.ready
    stepper.step(4, [stage.batch(4, 0)])
    moved = (stage.module.quantizer.table - begun).abs().mean() / begun.std()
    assert 0 < moved < 0.3, "codes move a little at a time"


def test_codes_that_are_there_are_kept() -> None:
    """As when a finished stage is given more steps: it is in its free share again, and goes on with its codes."""
    stage = objective()
    stage.module.quantizer.begin(torch.randn(50, 8), batch=50, seed=0)
    stage.loss(stage.batch(0, 0)).total.backward()  # type: ignore[no-untyped-call]
    assert stage._coded


def test_it_learns_a_batch_by_heart() -> None:
    config = TINY.model_copy(update={"codebook_size": 64, "free_steps": 0.4, "codebook_dropout": 0.0, "revive": 0.02})
    stage = objective(config, steps=150, optimizer="adamw", lr=8e-3, weight_decay=0.0)
    batch = stage.batch(0, 0)
    before = stage.validate()
    stepper = Stepper(stage, stage._settings, torch.device("cpu"))
    first = stage.loss(batch).logs["l1"].item() / batch.weight
    for step in range(150):
        batch.host = {"step": [step]}
        stepper.step(step, [batch])
    stage.module.eval()
    mel = stage._heard(batch.tensors["waves"])
    with torch.no_grad():
        l1 = (stage.module(mel) - mel).abs().mean().item()
    assert l1 < 0.25 * first
    after = stage.validate()
    assert ("wer" in before, after["wer"]) == (False, 0.5)  # nobody is asked before there are codes
    assert after["loss"] < before["loss"]
    assert after["use_1"] > 0.2
    assert 1 <= after["perplexity_1"] <= 64


def test_validation_is_through_codes_even_before_they_begin() -> None:
    """So that the best checkpoint is never one that cannot speak."""
    stage = objective(TINY.model_copy(update={"free_steps": 0.9}), steps=60, lr=5e-3)
    stepper = Stepper(stage, stage._settings, torch.device("cpu"))
    for step in range(54):
        stepper.step(step, [stage.batch(step, 0)])
    free = stage.validate()["loss"]
    for step in range(54, 60):
        stepper.step(step, [stage.batch(step, 0)])
    assert stage.validate()["loss"] < free


def trainer(folder: Path, steps: int) -> Trainer:
    settings = TrainSettings(
        steps=steps, batch_size=4, accumulate=2, optimizer="muon", val_every=3, save_every=2, log_every=2,
        device="cpu", threads=1, val_batches=1, schedule="constant",
    )  # fmt: skip
    torch.manual_seed(0)
    data = examples(tones())
    context: Any = SimpleNamespace(
        settings=settings, seed=0, device=torch.device("cpu"), run=RunFolder(folder), stage="codec",
        examples=lambda: DecodedExampleData(data, data, ""), progress=print, understood=lambda _: {},
        strategy=Strategy(),
    )  # fmt: skip
    return Trainer(
        Reconstruction(build(TINY.model_copy(update={"free_steps": 3 / steps})), context),
        context,
        folder=folder / "codec",
        about={"part": {}},
        command="muomni train codec RECIPE",
        callbacks=CallbackList([], lambda _: None),
        display=Display("codec", steps),
    )


@pytest.mark.parametrize("stopped", [2, 3, 4, 7])
def test_stopped_and_resumed_is_never_stopped(tmp_path: Path, stopped: int) -> None:
    """Before, at and after the step at which codes begin, dead ones being revived at random all the while."""
    trainer(tmp_path / "whole", 9).run()
    made = trainer(tmp_path / "often", 9)
    save = made.save

    def save_and_stop(done: int) -> None:
        save(done)
        if done >= stopped:
            raise KeyboardInterrupt

    made.save = save_and_stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        made.run()
    torch.rand(3)
    trainer(tmp_path / "often", 9).run(resume=True)
    one, other = (load_file(tmp_path / which / "codec" / "last.safetensors") for which in ("whole", "often"))
    assert one["model.quantizer.ready"]
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_names_of_what_adamw_moves() -> None:
    stage = objective()
    assert stage.adamw_params < dict(stage.module.named_parameters()).keys()
    assert len(stage.adamw_params) == 4
    assert len(stage.blocks) == 3
    assert list(stage.samples(0)) == []


def test_perplexity() -> None:
    assert perplexity(torch.tensor([3.0, 3.0, 0.0, 3.0])).item() == pytest.approx(3)
    assert perplexity(torch.zeros(4)).item() == 1

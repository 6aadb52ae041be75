"""The stage of the vocoder: crops by seed and step, no loss for the true sound alone, and two sides kept apart."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import Tensor

from muomni_cli.api import MelConfig
from muomni_cli.data.batches import BatchSampler
from muomni_cli.data.examples import DecodedExampleData, DecodedExamples
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.training.callbacks import CallbackList, Display
from muomni_cli.training.distributed.strategy import Strategy
from muomni_cli.training.loop import Trainer
from muomni_cli.training.step import Stepper
from muomni_vocoders.objective import Discriminator, SpectralLoss, VocoderObjective, crop
from muomni_vocoders.plugin import GanConfig, VocosConfig
from muomni_vocoders.vocos import build

Voice = Callable[..., Tensor]
MEL = MelConfig(sample_rate=8000, n_fft=256, window=200, hop=80, n_mels=32)
TINY = VocosConfig(channels=32, layers=2, hidden=64, crop=20)


@pytest.fixture(scope="module")
def spoken(voice: Voice) -> DecodedExamples:
    waves = [voice(8000, seconds, pitch)[0].numpy() for seconds, pitch in ((0.5, 110.0), (0.31, 180.0), (0.1, 140.0))]
    return DecodedExamples(waves, [""] * 3, [None] * 3, BatchSampler([len(wave) for wave in waves], [0] * 3, [1.0], 0))


class Halving:
    """A codec of the host's protocol whose resynthesis is half as loud; frames of 8."""

    frame = 8

    def windows(self, mel: Tensor) -> Tensor:
        return mel.unflatten(1, (-1, self.frame)).flatten(2)

    def encode(self, frames: Tensor) -> Tensor:
        return frames

    def decode(self, codes: Tensor) -> Tensor:
        return codes - np.log(4)

    def expand(self, frames: Tensor) -> Tensor:
        return frames.unflatten(2, (self.frame, -1)).flatten(1, 2)


def context(spoken: DecodedExamples, seed: int = 0, **train: Any) -> Any:
    return SimpleNamespace(
        settings=TrainSettings(**{"batch_size": 4, **train}),
        seed=seed,
        stage="vocoder",
        device=torch.device("cpu"),
        examples=lambda: DecodedExampleData(spoken, spoken, ""),
        codec=Halving,
        progress=print,
        strategy=Strategy(),
    )


def objective(spoken: DecodedExamples, config: VocosConfig = TINY, seed: int = 0, **train: Any) -> VocoderObjective:
    torch.manual_seed(0)
    return VocoderObjective(build(config, MEL), context(spoken, seed, **train))


def test_a_batch_is_a_function_of_seed_and_step(spoken: DecodedExamples) -> None:
    one, other, third = objective(spoken), objective(spoken), objective(spoken, seed=1)
    for step in (5, 0, 3):
        waves = one.batch(step, 0).tensors["waves"]
        assert waves.shape == (4, 20 * 80)
        assert torch.equal(waves, other.batch(step, 0).tensors["waves"])
        assert not torch.equal(waves, third.batch(step, 0).tensors["waves"])


def test_micro_batches_are_shares_of_the_step(spoken: DecodedExamples) -> None:
    whole, shared = objective(spoken), objective(spoken, accumulate=2)
    parts = [shared.batch(2, micro) for micro in range(2)]
    assert torch.equal(torch.cat([part.tensors["waves"] for part in parts]), whole.batch(2, 0).tensors["waves"])
    total = whole.loss(whole.batch(2, 0)).total
    torch.testing.assert_close(sum(shared.loss(part).total for part in parts), total)
    assert sum(part.weight for part in parts) == whole.batch(2, 0).weight == 4


def test_a_crop_lies_in_its_sound_and_silence_comes_after_what_is_short() -> None:
    wave, rng = np.arange(1, 101, dtype=np.float32), np.random.default_rng(0)
    begins = set()
    for _ in range(300):
        made = crop(wave, 90, rng)
        assert (np.diff(made) == 1).all()
        begins.add(int(made[0]))
    assert begins == set(range(1, 12))
    assert crop(wave, 120, rng).tolist() == [*wave.tolist(), *[0.0] * 20]


def test_only_the_true_sound_has_no_loss(voice: Voice) -> None:
    loss, true = SpectralLoss(MEL, 1.0), torch.cat([voice(8000, 0.5), voice(8000, 0.5, 200.0)])
    assert torch.stack(loss(true, true)).abs().max() == 0
    total, mel = loss(true.flip(0), true)
    assert total.shape == mel.shape == (2,)
    assert (loss(0.5 * true, true)[0] < total).all()
    assert (total > mel).all()


def test_it_learns_one_sound_by_heart(voice: Voice) -> None:
    wave = voice(8000, 0.15)[0].numpy()
    one = DecodedExamples([wave], [""], [None], BatchSampler([wave.size], [0], [1.0], 0))
    stage = objective(one, batch_size=1, steps=120, lr=4e-3, weight_decay=0.0)
    before = stage.validate()
    stepper = Stepper(stage, stage._settings, torch.device("cpu"))
    for step in range(120):
        stepper.step(step, [stage.batch(step, 0)])
    after = stage.validate()
    assert after["mel_distance"] < 0.5 * before["mel_distance"]
    assert after["loss"] < 0.6 * before["loss"]


def test_it_hears_what_the_codec_makes_if_asked(spoken: DecodedExamples) -> None:
    stage = objective(spoken, TINY.model_copy(update={"codec": True}))
    waves = stage.batch(0, 0).tensors["waves"]
    assert waves.shape == (4, 24 * 80)  # whole frames of the codec
    torch.testing.assert_close(stage._heard(waves), stage.module.mel(waves) - np.log(4))
    assert np.isfinite(stage.validate()["loss"])
    assert "codec" not in " ".join(stage.module.state_dict())


@pytest.mark.parametrize("use", ["hinge", "least-squares"])
def test_each_side_gets_its_own_gradient_alone(spoken: DecodedExamples, use: Any) -> None:
    stage = objective(spoken, TINY.model_copy(update={"gan": GanConfig(use=use, channels=4, layers=2)}))
    discriminator, vocoder = stage.module.discriminator, stage.module.vocoder
    assert discriminator is not None
    true = stage.batch(0, 0).tensors["waves"]

    def gradients(side: int) -> dict[str, bool]:
        stage.module.zero_grad()
        discriminator.losses(vocoder(stage._heard(true)), true)[side].sum().backward()
        touched = {name: p.grad is not None for name, p in stage.module.named_parameters()}
        return {
            part: any(touched[name] for name in touched if name.startswith(part))
            for part in ("vocoder", "discriminator")
        }

    assert gradients(0) == {"vocoder": True, "discriminator": False}
    assert gradients(1) == {"vocoder": False, "discriminator": True}


@pytest.mark.parametrize("use", ["hinge", "least-squares"])
def test_the_judge_learns_to_tell_and_the_vocoder_to_please(voice: Voice, use: Any) -> None:
    torch.manual_seed(0)
    discriminator, true = Discriminator(GanConfig(use=use, channels=4, layers=2), MEL), voice(8000, 0.15)
    made = (0.1 * torch.randn(true.shape)).requires_grad_()
    optimizer = torch.optim.Adam([{"params": discriminator.parameters(), "lr": 5e-3}])
    first = discriminator.losses(made, true)
    for _ in range(40):
        optimizer.zero_grad()
        discriminator.losses(made, true)[1].sum().backward()
        optimizer.step()
    told = discriminator.losses(made, true)
    assert told[1] < 0.5 * first[1]
    (gradient,) = torch.autograd.grad(told[0].sum(), made)
    moved = discriminator.losses(made - 1e-3 * gradient / gradient.norm(), true)
    assert moved[0] < told[0]


@pytest.mark.parametrize("use", ["none", "hinge"])
def test_resumed_is_never_stopped(spoken: DecodedExamples, tmp_path: Path, use: Any) -> None:
    config = TINY.model_copy(update={"gan": GanConfig(use=use, channels=4, layers=2)})

    def run(folder: str, steps: int, *, resume: bool = False) -> dict[str, Tensor]:
        told = context(spoken, steps=steps, schedule="constant", save_every=2, val_every=2, device="cpu")
        torch.manual_seed(0)
        stage = VocoderObjective(build(config, MEL), told)
        trainer = Trainer(
            stage,
            told,
            folder=tmp_path / folder,
            about={},
            command="muomni train vocoder",
            callbacks=CallbackList([], print),
            display=Display("vocoder", steps),
        )
        assert trainer.run(resume=resume) == steps
        return load_file(trainer.last)

    whole = run("whole", 4)
    run("parts", 2)
    resumed = run("parts", 4, resume=True)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole if name.startswith(("model.", "optim.")))
    assert any(name.startswith("model.discriminator.") for name in whole) == (use != "none")


def test_samples_are_sounds(spoken: DecodedExamples) -> None:
    for sample, wave in zip(objective(spoken).samples(0), spoken.inputs, strict=True):
        assert isinstance(sample.content, bytes)
        made, rate = soundfile.read(io.BytesIO(sample.content))
        assert rate == 8000
        assert made.size == -(-wave.size // 80) * 80
        assert np.isfinite(made).all()


def test_names_of_what_adamw_moves(spoken: DecodedExamples) -> None:
    stage = objective(spoken)
    assert stage.adamw_params <= dict(stage.module.named_parameters()).keys()

"""Operations of a training step, counted and by the formula of docs/scaling.md, and what a device could do."""

from __future__ import annotations

import pytest
import torch

from muomni_cli.bench.parts import Repeated, token_batch
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.training import mfu
from muomni_cli.training.step import Stepper

VOCAB, BATCH = 300, 2
CPU = torch.device("cpu")


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_operations_of_a_step_are_those_of_the_page(kv_heads: int, accumulate: int) -> None:
    width, layers, length = 32, 3, 64
    part = get_registry().get("thinker", "transformer").part
    config = part.config(
        d_model=width, n_layers=layers, n_heads=4, n_kv_heads=kv_heads, d_ff=96, ctx_len=length, tie_embeddings=True
    )
    thinker = resolve(part.build, "thinker")(config, VOCAB)
    batch, _ = token_batch(VOCAB, BATCH, length)
    stepper = Stepper(Repeated.of_thinker(thinker, batch), TrainSettings(steps=2, device="cpu", threads=1), CPU)
    stepper.counts_flops = True
    for step in range(2):
        stepper.step(step, [batch] * accumulate)
    assert stepper.flops is not None
    flops, items = stepper.flops
    matrices = sum(p.numel() for p in thinker.parameters() if p.ndim == 2)
    assert items == accumulate * BATCH * length
    assert flops / items == pytest.approx(6 * matrices + 12 * layers * width * length, rel=0.01)


def test_the_peak_of_an_unknown_device_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mfu, "CPU_SIDE", 64)
    peak, source = mfu.peak_flops(CPU, "fp32")
    assert peak > 0
    assert source == "measured"

"""A small objective whose steps differ in what takes part: rows with and without a picture, rows without any target."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from muomni_cli.api import Batch, Loss, Sample
from muomni_cli.nn.collectives import share, totals
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.runs.run import RunFolder
from muomni_cli.training.callbacks import CallbackList, Display
from muomni_cli.training.context import TrainingContext
from muomni_cli.training.distributed.strategy import Strategy
from muomni_cli.training.loop import Trainer

VOCAB, WIDTH, LENGTH = 11, 8, 5
STEPS = 50


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.tanh(self.up(x)))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCAB, WIDTH)
        self.picture = nn.Linear(3, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))


class Branches:
    """Next tokens of rows; every third row has a picture, whose projection is added to its tokens.

    In steps 2, 7, 12 ... only the first rows have targets, in 3, 8, 13 ... no row has a picture, in 4, 9 ... none has a
    target. ``poison``: the step in which the last row is not a number.
    """

    unit = "tokens"
    adamw_params = frozenset({"table.weight", "head.weight"})

    def __init__(self, settings: TrainSettings, dtype: torch.dtype, poison: int = -1) -> None:
        torch.manual_seed(0)
        self.module = Model().to(dtype)
        self.module.seen = self.module.seen.double()
        self.blocks = list(self.module.layers)
        self.settings, self.dtype, self.poison = settings, dtype, poison

    def rows(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """(B,T+1) ids, (B,T) mask, and (B,) whether a row has a picture."""
        rng = np.random.default_rng([7, step])
        size = self.settings.batch_size
        ids = torch.from_numpy((rng.integers(VOCAB, size=(size, 1)) + 3 * np.arange(LENGTH + 1)) % VOCAB)
        mask = torch.from_numpy(np.arange(LENGTH) < rng.integers(1, LENGTH + 1, (size, 1)))
        if step % 5 == 2:
            mask[size // 4 :] = False
        if step % 5 == 4:
            mask[:] = False
        return ids, mask, (torch.arange(size) % 3 == 0) & (step % 5 != 3)

    def batch(self, step: int, micro: int) -> Batch:
        size, shares = self.settings.batch_size, self.settings.accumulate
        return self.part(step, slice(size * micro // shares, size * (micro + 1) // shares))

    def part(self, step: int, part: slice) -> Batch:
        ids, mask, seen = self.rows(step)
        ids, mask, seen = ids[part], mask[part], seen[part]
        scale = torch.ones(len(ids), dtype=self.dtype)
        if step == self.poison and part.stop == self.settings.batch_size:
            scale[-1] = torch.nan
        tensors = {"ids": ids[:, :-1], "targets": ids[:, 1:], "mask": mask, "scale": scale}
        if seen.any():
            tensors |= {"pictures": ids[seen, :3].to(self.dtype) / VOCAB, "where": seen.nonzero()[:, 0]}
        return Batch(tensors, weight=float(mask.sum()), items=ids[:, 1:].numel())

    def loss(self, batch: Batch) -> Loss:
        tensors, module = batch.tensors, self.module
        x = module.table(tensors["ids"])
        if "pictures" in tensors:
            x = x.index_add(0, tensors["where"], module.picture(tensors["pictures"])[:, None].expand(-1, LENGTH, -1))
        for layer in module.layers:
            x = layer(x)
        logits = module.head(x)
        nats = nn.functional.cross_entropy(logits.mT, tensors["targets"], reduction="none")
        right = ((logits.argmax(-1) == tensors["targets"]) & tensors["mask"]).sum()
        return Loss((nats * tensors["mask"]).sum(1).mul(tensors["scale"]).sum(), {"right": right})

    def after_step(self, step: int, skip: Tensor) -> None:  # noqa: ARG002
        self.module.seen += (~skip).double()

    def validate(self) -> dict[str, float]:
        nats = targets = 0.0
        for step in share(range(1000, 1005)):
            batch = self.part(step, slice(0, self.settings.batch_size))
            nats += float(self.loss(batch).total)
            targets += batch.weight
        nats, targets = totals([nats, targets])
        return {"loss": nats / targets, "n": targets}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        yield Sample("none.txt", "nothing")


def settings(**changes: Any) -> TrainSettings:
    base = {
        "steps": STEPS, "batch_size": 8, "lr": 0.01, "warmup_steps": 2, "log_every": 1, "val_every": 25,
        "save_every": 0, "device": "cpu", "threads": 1, "ema": 0.9, "clip": 0.5, "timeout": 60,
    }  # fmt: skip
    return TrainSettings(**{**base, **changes})


def trainer(
    folder: Path, chosen: TrainSettings, strategy: Strategy, *, dtype: torch.dtype = torch.float64, poison: int = -1
) -> Trainer:
    chosen = strategy.settings(chosen)
    device = torch.device("cpu")
    context = TrainingContext(
        None, "branches", chosen, 0, device, RunFolder(folder), strategy=strategy, progress=lambda _: None  # type: ignore[arg-type]
    )  # fmt: skip
    return Trainer(
        Branches(chosen, dtype, poison),
        context,
        folder=folder / "branches",
        about={"part": {}},
        command="muomni train branches RECIPE",
        callbacks=CallbackList([], lambda _: None),
        display=Display("branches", chosen.steps),
    )

"""A real objective small enough to train in milliseconds: the next token of repeating sequences.

Also run as a program by the tests that kill, interrupt or starve a whole process:
 ``python tiny.py FOLDER '{"steps": 9}' [resume]``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from muomni_cli.api import Batch, Callback, Loss, Sample
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.runs.run import RunFolder
from muomni_cli.training.callbacks import CallbackList, Display
from muomni_cli.training.context import TrainingContext
from muomni_cli.training.loop import Trainer

VOCAB, WIDTH, LENGTH = 11, 8, 6


class Block(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 2 * WIDTH)
        self.down = nn.Linear(2 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.down(torch.relu(self.up(self.norm(x)))))


class Model(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList(Block(dropout) for _ in range(2))
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)
        self.head.weight = self.table.weight  # tied, as in many language models

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class NextToken:
    unit = "tokens"
    adamw_params = frozenset({"table.weight"})

    def __init__(
        self, settings: TrainSettings, *, seed: int = 0, dropout: float = 0.0, poison: int = -1, pause: float = 0.0
    ) -> None:
        torch.manual_seed(seed)
        self.module = Model(dropout)
        self.blocks = list(self.module.blocks)
        self.settings, self.seed, self.poison, self.pause = settings, seed, poison, pause

    def rows(self, step: int) -> tuple[Tensor, Tensor]:
        """(B,T) ids and a (B,T) mask under which every row has another number of targets."""
        rng = torch.Generator().manual_seed(1000 * self.seed + step)
        start = torch.randint(VOCAB, (self.settings.batch_size, 1), generator=rng)
        ids = (start + 3 * torch.arange(LENGTH + 1)) % VOCAB
        lengths = torch.randint(1, LENGTH + 1, (self.settings.batch_size, 1), generator=rng)
        return ids, torch.arange(LENGTH) < lengths

    def batch(self, step: int, micro: int) -> Batch:
        time.sleep(self.pause)
        ids, mask = self.rows(step)
        size = len(ids) // self.settings.accumulate
        ids, mask = ids[micro * size : (micro + 1) * size], mask[micro * size : (micro + 1) * size]
        scale = torch.tensor(float("nan") if step == self.poison else 1.0)
        tensors = {"ids": ids[:, :-1], "targets": ids[:, 1:], "mask": mask.float(), "scale": scale}
        return Batch(tensors, weight=float(mask.sum()), items=ids[:, 1:].numel())

    def loss(self, batch: Batch) -> Loss:
        tensors = batch.tensors
        logits = self.module(tensors["ids"])
        nats = nn.functional.cross_entropy(logits.mT.float(), tensors["targets"], reduction="none")
        right = (logits.argmax(-1) == tensors["targets"]) * tensors["mask"]
        return Loss((nats * tensors["mask"]).sum() * tensors["scale"], {"accuracy": right.sum()})

    def validate(self) -> dict[str, float]:
        assert not self.module.training
        torch.rand(1)  # a validation that draws random numbers must not change training
        batch = self.batch(10_000, 0)
        return {"loss": (self.loss(batch).total / batch.weight).item()}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        yield Sample("next.txt", str(self.module(torch.arange(VOCAB)[None]).argmax(-1).tolist()))


def settings(**changes: Any) -> TrainSettings:
    base = {
        "steps": 6, "batch_size": 8, "lr": 0.01, "muon_lr": 0.02, "warmup_steps": 2, "log_every": 1, "val_every": 0,
        "save_every": 0, "sample_every": 0, "precision": "fp32", "device": "cpu", "threads": 1,
    }  # fmt: skip
    return TrainSettings(**{**base, **changes})


def trainer(
    folder: Path, chosen: TrainSettings, callbacks: Iterable[tuple[str, Callback]] = (), **options: Any
) -> Trainer:
    """A trainer of the tiny objective whose run is ``folder``; options go to :class:`NextToken`."""
    context = TrainingContext(None, "tiny", chosen, 0, torch.device("cpu"), RunFolder(folder))  # type: ignore[arg-type]
    told: list[str] = []
    display = Display("tiny", chosen.steps)
    made = Trainer(
        NextToken(chosen, **options),
        context,
        folder=folder / "tiny",
        about={"part": {}},
        command="muomni train tiny RECIPE",
        callbacks=CallbackList(list(callbacks), told.append),
        display=display,
    )
    made.told = told  # type: ignore[attr-defined]
    return made


if __name__ == "__main__":
    from muomni_cli.core.errors import MuomniError

    torch.set_num_threads(1)
    options = json.loads(sys.argv[2])
    own = {name: options.pop(name) for name in ("dropout", "pause", "poison") if name in options}
    try:
        trainer(Path(sys.argv[1]), settings(**options), **own).run(resume=sys.argv[3:] == ["resume"])
    except MuomniError as error:
        print(f"error: {error.what}\n  fix: {error.fix}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error

"""One of several processes: runs the scenarios that are named, one after the other, in one group of processes.

``python together.py FOLDER NAME...`` with the environment that torchrun sets. Every scenario leaves its files below
``FOLDER/NAME``; what a process raises is in ``FOLDER/NAME/RANK.json``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import torch
from branches import Branches, settings, trainer

from muomni_cli.core.errors import MuomniError
from muomni_cli.training.distributed.choice import strategy_for
from muomni_cli.training.distributed.group import ProcessGroup


def exact64(folder: Path, group: ProcessGroup) -> None:
    trainer(folder, settings(), strategy_for("ddp", group, folder.name)).run()


def exact32(folder: Path, group: ProcessGroup) -> None:
    trainer(folder, settings(), strategy_for("ddp", group, folder.name), dtype=torch.float32).run()


def accumulated(folder: Path, group: ProcessGroup) -> None:
    trainer(folder, settings(accumulate=4, val_every=0), strategy_for("ddp", group, folder.name)).run()


def muon(folder: Path, group: ProcessGroup) -> None:
    chosen = settings(optimizer="muon", steps=10)
    trainer(folder, chosen, strategy_for("ddp", group, folder.name), dtype=torch.float32).run()


def sharded(folder: Path, group: ProcessGroup) -> None:
    trainer(folder, settings(save_every=20), strategy_for("fsdp", group, folder.name)).run()


def sharded_muon(folder: Path, group: ProcessGroup) -> None:
    chosen = settings(optimizer="muon", steps=10)
    trainer(folder, chosen, strategy_for("fsdp", group, folder.name), dtype=torch.float32).run()


def held(folder: Path, group: ProcessGroup) -> None:
    """What each process holds of weights, gradients' optimizer state and averages, in bytes."""
    for kind in ("ddp", "fsdp"):
        for optimizer in ("adamw", "muon"):
            made = trainer(
                folder / f"{kind}-{optimizer}",
                settings(optimizer=optimizer, steps=2, val_every=0),
                strategy_for(kind, group, f"{kind}-{optimizer}"),
                dtype=torch.float32,
            )
            made.run()
            optimizers, ema = made.stepper.optimizers, made.stepper.ema
            assert ema is not None
            found = {
                "weights": list(optimizers.names.values()),
                "optimizer": [tensor for tensor in optimizers.state_tensors().values() if tensor.ndim],
                "ema": list(ema.average.values()),
            }
            sizes = {name: sum(tensor.nbytes for tensor in tensors) for name, tensors in found.items()}
            (folder / f"{kind}-{optimizer}-{group.rank}.json").write_text(json.dumps(sizes))


def part(folder: Path, group: ProcessGroup) -> None:
    """The first 23 steps."""
    trainer(folder, settings(steps=23, schedule="constant", val_every=0), strategy_for("ddp", group, folder.name)).run()


def resumed(folder: Path, group: ProcessGroup) -> None:
    """Goes on from what one process has left."""
    trainer(folder, settings(schedule="constant", val_every=0), strategy_for("ddp", group, folder.name)).run(
        resume=True
    )


def resumed_sharded(folder: Path, group: ProcessGroup) -> None:
    trainer(folder, settings(schedule="constant", val_every=0), strategy_for("fsdp", group, folder.name)).run(
        resume=True
    )


def poisoned(folder: Path, group: ProcessGroup) -> None:
    """Something in the last process's rows is not a number."""
    trainer(folder, settings(save_every=10), strategy_for("ddp", group, folder.name), poison=31).run()


def stopped(folder: Path, group: ProcessGroup) -> None:
    """The last process alone gets a signal."""
    made = trainer(folder, settings(steps=10_000), strategy_for("ddp", group, folder.name))
    if group.rank == group.world_size - 1:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    made.run()


def main() -> None:
    torch.set_num_threads(1)
    root, *names = sys.argv[1:]
    group = ProcessGroup(timeout=60)
    for name in names:
        folder = Path(root) / name
        folder.mkdir(exist_ok=True)
        raised: dict[str, Any] = {}
        try:
            globals()[name](folder, group)
        except MuomniError as error:
            raised = {"what": error.what, "code": error.exit_code, "cause": repr(error.__cause__)[-500:]}
        (folder / f"{group.rank}.json").write_text(json.dumps(raised))
        group.wait()


if __name__ == "__main__":
    assert Branches
    main()

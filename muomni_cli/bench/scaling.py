"""Training steps of a recipe's Thinker in several processes, against one that takes the same steps, in turns; and what
the model of communication in docs/scaling.md says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter, process_time

import torch
import torch.distributed as dist

from muomni_cli.bench.parts import Repeated, random_thinkers, token_batch
from muomni_cli.bench.report import BenchRow, Scaling, Timed, take_turns
from muomni_cli.bench.workload import Workload
from muomni_cli.core.errors import RequestError
from muomni_cli.nn.device import set_threads
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.training.distributed.choice import strategy_for
from muomni_cli.training.distributed.group import ProcessGroup, join_group
from muomni_cli.training.distributed.strategy import Strategy
from muomni_cli.training.step import Stepper

LONGEST = 3600.0  # seconds that the others wait while one process measures alone
ALONE, UNREDUCED = "1 process", "shares, no reduction"


def measure_scaling(recipe: str, overrides: list[str], work: Workload, progress: Callable[[str], None]) -> BenchRow:
    """One of several processes that measure together, each with its share of the ``batch`` rows. The result is that of
    the first one. RequestError if there are fewer rows than processes, or the recipe has no Thinker."""
    loaded = load_recipe(recipe, overrides)
    with join_group(LONGEST) as group:
        assert isinstance(group, ProcessGroup), "started by --devices or torchrun"
        if work.batch % group.world_size:
            raise RequestError(
                f"a batch of {work.batch} cannot be shared evenly by {group.world_size} processes",
                f"write --batch {-(-work.batch // group.world_size) * group.world_size}",
            )
        setting = f"batch={work.batch} length={work.length} count={work.count}"
        progress(f"measuring {setting} in {group.world_size} processes")
        return BenchRow(setting, _compare(loaded, work, group))


def _compare(recipe: Recipe, work: Workload, group: ProcessGroup) -> Scaling:
    device, count = group.device(work.device), group.world_size
    set_threads(group.threads(work.threads))
    settings = recipe.train_for("thinker").model_copy(update={"batch_size": work.batch, "accumulate": 1})
    together = strategy_for("ddp" if settings.parallel == "auto" else settings.parallel, group, "bench")
    together.settings(settings)
    try:
        spent: tuple[list[float], ...] = ([], [], [])
        contestants = {
            f"{count} processes": _steps(recipe, work, device, together, group, spent[0]),
            ALONE: _steps(recipe, work, device, Strategy(), group, spent[1]) if group.main else _waiting(),
            UNREDUCED: _steps(recipe, work, device, Strategy(), group, spent[2], shared=True),
        }
        found = take_turns(contestants, rounds=work.rounds, warmup=2)
        size = sum(p.numel() for p in random_thinkers(recipe, ())[1].parameters())
        cpu = tuple(min(own, default=0.0) for own in spent)
        return Scaling(found.contestants, bytes=4 * size, reduction=_reduction(size, device, work.rounds), cpu=cpu)
    finally:
        together.close()


def _steps(
    recipe: Recipe,
    work: Workload,
    device: torch.device,
    strategy: Strategy,
    group: ProcessGroup,
    spent: list[float],
    *,
    shared: bool = False,
) -> Timed:
    """Training steps; counts the rows of all processes, and appends this one's CPU seconds to ``spent``. ``shared``: of
    this process's share, and nothing else."""
    _, thinker, _ = random_thinkers(recipe, ())
    whole, _ = token_batch(thinker.vocab_size, work.batch, work.length)
    own = whole
    if shared or strategy.world_size > 1:
        rows = work.batch // group.world_size
        part = slice(group.rank * rows, (group.rank + 1) * rows)
        own = replace(
            whole,
            tensors={name: tensor[part] for name, tensor in whole.tensors.items()},
            weight=whole.weight / group.world_size,
            items=whole.items // group.world_size,
        )
    stepper = Stepper(Repeated.of_thinker(thinker, own), recipe.train_for("thinker"), device, strategy)
    weight = whole.weight if strategy.world_size > 1 else own.weight

    def timed() -> tuple[int, float]:
        dist.barrier()
        begin, used = perf_counter(), process_time()
        for step in range(work.count):
            stepper.step(step, [own], weight)
        stepper.read_window()[1].tolist()  # waits for the device
        seconds = perf_counter() - begin
        spent.append(process_time() - used)
        dist.barrier()
        return whole.items * work.count, seconds

    return timed


def _waiting() -> Timed:
    """What the other processes do while one computes alone."""

    def timed() -> tuple[int, float]:
        for _ in range(2):
            dist.barrier()
        return 0, 1.0

    return timed


def _reduction(size: int, device: torch.device, rounds: int) -> float:
    """Least seconds that ``size`` fp32 numbers take to be added up over all processes."""
    numbers, best = torch.zeros(size, device=device), float("inf")
    for _ in range(rounds + 2):
        dist.barrier()
        begin = perf_counter()
        dist.all_reduce(numbers)
        numbers[0].item()  # waits for the device
        best = min(best, perf_counter() - begin)
    return best

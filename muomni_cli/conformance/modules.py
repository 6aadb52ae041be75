"""Checks for every part that is a PyTorch module: it is built from its small config and a seed, and its weights
determine its output. With helpers for the checks of single kinds: comparing tensors, log-mel input in chunks, one
training step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from muomni_cli.conformance.part_under_test import SEED, enliven
from muomni_cli.conformance.runner import HOMES
from muomni_cli.contract.checks import Check, Number, PartUnderTest, check_that
from muomni_cli.contract.speech import MelSettings
from muomni_cli.runs.checkpoint import load_model, model_tensors, read_checkpoint, write_checkpoint

TOLERANCE = 1e-4
"""Of a difference, where outputs are as large as 1: what float32 loses by adding in another order is a tenth of it."""

SMALLEST = 1e-3
"""Outputs smaller than this are judged as if they were so large."""

CUTS = ([1, 1, 3, 2, 6, 4], [5, 0, 12], [17])
"""Ways to cut what comes in pieces; each is repeated until there is no more."""

STEPS = 200
"""In which a batch must be known by heart."""

RATES = (3e-3, 1e-2)
"""Of AdamW, one after the other: what one is too slow for, another is not."""

LEFT = 0.2
"""Share of its first loss that a batch that is known by heart may have left."""

Loss = Callable[[nn.Module], Tensor]
"""The loss of one batch, a scalar."""

SECONDS = 10.0
"""That building the small part may take, on a busy machine."""


def same(made: Sequence[Tensor], wanted: Sequence[Tensor], where: Sequence[str] = ()) -> Number:
    """The largest difference, and what is allowed for outputs of their size.

    Args:
        made: what a part gave.
        wanted: what it should have given.
        where: what to call each.
    """
    worst, place = 0.0, ""
    size = SMALLEST
    for number, (one, other) in enumerate(zip(made, wanted, strict=True)):
        name = where[number] if where else ""
        check_that(
            one.shape == other.shape,
            f"{name or 'an output'} is {shape(one)}, and {shape(other)} where it should be the same",
        )
        if one.numel():
            size = max(size, float(other.double().square().mean().sqrt()))
            difference = float((one.double() - other.double()).abs().max())
            if not difference <= worst:  # also where it is no number
                worst, place = difference, name
    return Number("largest difference", worst, TOLERANCE * size, place)


def shape(tensor: Tensor) -> str:
    """``(2, 3)``."""
    return f"({', '.join(map(str, tensor.shape))})"


def require_shape(tensor: Tensor, wanted: Sequence[int], name: str) -> None:
    """Broken unless ``tensor`` has this shape, and is finite."""
    told = f"({', '.join(map(str, wanted))})"
    check_that(tuple(tensor.shape) == tuple(wanted), f"{name} are {shape(tensor)}, and {told} where they should be")
    check_that(not tensor.is_floating_point() or bool(tensor.isfinite().all()), f"{name} are not finite")


def log_mel(mel: MelSettings, frames: int, rows: int = 2, seed: int = SEED) -> Tensor:
    """(B,M,F) of something like speech, in nats: levels that change slowly."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, frames + 4, mel.n_mels + 4, generator=random)
    smooth = noise.unfold(1, 5, 1).mean(-1).unfold(2, 5, 1).mean(-1)
    return smooth * 10 - 4


def in_pieces(stream: Any, whole: Tensor, cut: Sequence[int]) -> Tensor:
    """What comes of (B,T,F) that is pushed so many frames at a time, joined."""
    made, place, turn = [], 0, 0
    while place < whole.shape[1]:
        size = cut[turn % len(cut)]
        made.append(stream.push(whole[:, place : place + size]))
        place, turn = place + size, turn + 1
    return torch.cat([*made, stream.finish()], dim=1)


def one_step(make: Callable[[], nn.Module], loss: Loss) -> Sequence[Number]:
    """A step of AdamW: gradients reach weights, all of them finite, and the loss falls."""
    module = make().train()
    first = loss(module)
    check_that(
        first.ndim == 0 and math.isfinite(first.item()), f"the loss is {first.item() if first.ndim == 0 else first}"
    )
    first.backward()  # type: ignore[no-untyped-call]
    weights = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    check_that(bool(weights), "it has no weights to train")
    got = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    check_that(bool(got), "no gradient reaches any weight")
    wild = [name for name, gradient in got.items() if not gradient.isfinite().all()]
    check_that(not wild, f"the gradient of {wild[0] if wild else ''} is not finite")
    moved = [name for name, gradient in got.items() if gradient.abs().max() > 0]
    check_that(bool(moved), "every gradient is zero")
    torch.optim.AdamW(weights.values(), 1e-3).step()
    after = loss(module.eval()).item()
    check_that(math.isfinite(after), f"the loss is {after} after one step")
    return [Number("weights without a gradient", len(weights) - len(moved))]


def by_heart(make: Callable[[], nn.Module], loss: Loss) -> Sequence[Number]:
    """How much of its first loss a batch has left when it has been learned."""
    best = math.inf
    for rate in RATES:
        module = make().train()
        optimizer = torch.optim.AdamW((w for w in module.parameters() if w.requires_grad), rate, weight_decay=0.0)
        first = loss(module).item()
        for step in range(STEPS):
            value = loss(module)
            best = min(best, value.item() / first)
            if best <= LEFT / 2:
                return [Number("loss left", best, LEFT, f"after {step} steps, of {first:.3g}")]
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if best <= LEFT:
            break
    return [Number("loss left", best, LEFT, f"after {STEPS} steps, of {first:.3g}")]


def outputs(subject: PartUnderTest, module: Any) -> list[Tensor]:
    """What ``module`` makes of the inputs that all parts of its kind are tried with."""
    home = HOMES[subject.part.kind][-1]
    with torch.no_grad():
        made: list[Tensor] = import_module(f"{__package__}.{home}").outputs(subject, module)
    return [tensor.clone() for tensor in made]


def builds(subject: PartUnderTest) -> Sequence[Number]:
    """Of its small config."""
    begin = time.perf_counter()
    module = subject.fresh()
    seconds = time.perf_counter() - begin
    check_that(isinstance(module, nn.Module), f"build gives {type(module).__name__}, which is no nn.Module")
    placed = {tensor.device.type for tensor in module.state_dict().values()}
    check_that(placed <= {"cpu"}, f"it is built on {' and '.join(sorted(placed))}")
    count = sum(parameter.numel() for parameter in module.parameters())
    return [Number("building", seconds, SECONDS, unit="s"), Number("parameters", count)]


def seed(subject: PartUnderTest) -> Sequence[Number]:
    """Twice with one seed, and once with another."""
    first, again, other = (model_tensors(subject.fresh(number)) for number in (SEED, SEED, SEED + 1))
    check_that(first.keys() == again.keys(), "built twice, it has other weights each time")
    names = list(first)
    number = same([again[name] for name in names], [first[name] for name in names], names)
    differ = [name for name in names if not torch.equal(first[name], other[name])]
    return [Number("largest difference of weights", number.value, 0.0, number.where), Number("drawn", len(differ))]


def repeats(subject: PartUnderTest) -> Sequence[Number]:
    """In evaluation mode, with random numbers that have moved on."""
    first = outputs(subject, subject.lively)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED + 1)
        return [same(outputs(subject, subject.lively), first)]


def state(subject: PartUnderTest) -> Sequence[Number]:
    """Through a checkpoint, into a part that was built with another seed."""
    kept = subject.lively
    path = subject.folder() / "part.safetensors"
    write_checkpoint(path, {}, {"model": model_tensors(kept)})
    opened = enliven(subject.fresh(SEED + 1))
    load_model(opened, read_checkpoint(path))
    number = same(outputs(subject, opened.eval()), outputs(subject, kept))
    return [Number(number.what, number.value, 0.0, number.where), Number("bytes", path.stat().st_size)]


def steps(subject: PartUnderTest) -> Sequence[Number]:
    """Every path that ``steps`` gives."""
    told = subject.find("steps")(subject.lively)
    for step in told:
        found: Any = subject.lively
        for word in step.at.split("."):
            check_that(hasattr(found, word), f"steps names {step.at}, and there is no {word}")
            found = getattr(found, word)
        check_that(callable(found), f"steps names {step.at}, which is nothing that is called")
    return [Number("steps", len(told))]


CHECKS = (
    Check(name="builds", doc="the small part is built on the CPU, and quickly", run=builds, depends_on=("references",)),
    Check(
        name="seed",
        doc="the same seed of torch's random numbers gives the same weights",
        run=seed,
        depends_on=("builds",),
    ),
    Check(
        name="repeats",
        doc="in evaluation mode the same inputs give the same outputs",
        run=repeats,
        depends_on=("builds", "shapes"),
    ),
    Check(
        name="state",
        doc="weights saved with safetensors and loaded into a part of another seed give the same outputs",
        run=state,
        depends_on=("builds", "shapes", "repeats"),
    ),
    Check(
        name="steps", doc="every step that trace shows is there", run=steps, declares="steps", depends_on=("builds",)
    ),
)

"""Conformance checks for PyTorch modules: built from config and seed, with an output that depends only on the weights.
Also helpers for the checks of single kinds: comparing tensors, streaming, training."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from muomni_cli.conformance.common import SEED, enliven
from muomni_cli.conformance.runner import HOMES
from muomni_cli.contract.checks import Check, Number, PartUnderTest, check_that
from muomni_cli.contract.speech import MelSettings
from muomni_cli.runs.checkpoint import load_model, model_tensors, read_checkpoint, write_checkpoint

TOLERANCE = 1e-4  # allowed difference of outputs of size 1; reordered float32 sums differ by about a tenth of it
CUTS = ([1, 1, 3, 2, 6, 4], [5, 0, 12], [17])  # chunk sizes; each list is repeated until the input ends
STEPS = 200  # training steps to overfit a batch
LEFT = 0.2  # maximum share of the initial loss after overfitting
Loss = Callable[[nn.Module], Tensor]  # loss of one batch, a scalar


def same(made: Sequence[Tensor], wanted: Sequence[Tensor], where: Sequence[str] = ()) -> Number:
    """The largest difference of actual and expected outputs, with the tolerance for outputs of this size. ``where``:
    the name of each."""
    worst, place = 0.0, ""
    size = 1e-3  # smaller outputs are treated as if they had this size
    for number, (one, other) in enumerate(zip(made, wanted, strict=True)):
        name = where[number] if where else ""
        check_that(one.shape == other.shape, f"{name or 'an output'} is {shape(one)} instead of {shape(other)}")
        if one.numel():
            size = max(size, float(other.double().square().mean().sqrt()))
            difference = float((one.double() - other.double()).abs().max())
            if not difference <= worst:  # also true for NaN
                worst, place = difference, name
    return Number("largest difference", worst, TOLERANCE * size, place)


def shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def require_shape(tensor: Tensor, wanted: Sequence[int], name: str) -> None:
    """Fail unless ``tensor`` has this shape and is finite."""
    expected = f"({', '.join(map(str, wanted))})"
    check_that(tuple(tensor.shape) == tuple(wanted), f"{name} are {shape(tensor)}, and {expected} is expected")
    check_that(not tensor.is_floating_point() or bool(tensor.isfinite().all()), f"{name} are not finite")


def log_mel(mel: MelSettings, frames: int, rows: int = 2, seed: int = SEED) -> Tensor:
    """(B,M,F) random log-mel with the smooth levels of speech, in nats."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, frames + 4, mel.n_mels + 4, generator=random)
    smooth = noise.unfold(1, 5, 1).mean(-1).unfold(2, 5, 1).mean(-1)
    return smooth * 10 - 4


def streamed(new_stream: Callable[[int], Any], whole: Tensor, wanted: Tensor) -> Number:
    """The largest difference of ``wanted`` from the joined output of a stream of B rows for (B,T,...) in chunks."""
    stream, made = new_stream(len(whole)), []
    for cut in CUTS:
        pieces, place, sizes = [], 0, itertools.cycle(cut)
        while place < whole.shape[1]:
            size = next(sizes)
            pieces.append(stream.push(whole[:, place : place + size]))
            place += size
        made.append(torch.cat([*pieces, stream.finish()], dim=1))
    return same(made, [wanted] * len(CUTS), [f"pieces of {cut}" for cut in CUTS])


def one_step(make: Callable[[], nn.Module], loss: Loss) -> Sequence[Number]:
    """One AdamW step: finite gradients reach the weights, and the loss stays finite."""
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
    infinite = [name for name, gradient in got.items() if not gradient.isfinite().all()]
    check_that(not infinite, f"the gradient of {infinite[0] if infinite else ''} is not finite")
    moved = [name for name, gradient in got.items() if gradient.abs().max() > 0]
    check_that(bool(moved), "every gradient is zero")
    torch.optim.AdamW(weights.values(), 1e-3).step()
    after = loss(module.eval()).item()
    check_that(math.isfinite(after), f"the loss is {after} after one step")
    return [Number("weights without a gradient", len(weights) - len(moved))]


def by_heart(make: Callable[[], nn.Module], loss: Loss) -> Sequence[Number]:
    """Overfit a batch; returns the share of the initial loss that is left."""
    best = math.inf
    for rate in (3e-3, 1e-2):
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
    """Outputs of ``module`` for the test inputs of its kind."""
    home = HOMES[subject.part.kind][-1]
    with torch.no_grad():
        made: list[Tensor] = import_module(f"{__package__}.{home}").outputs(subject, module)
    return [tensor.clone() for tensor in made]


def builds(subject: PartUnderTest) -> Sequence[Number]:
    subject.find("build")  # imports what it needs, which is no part of building
    begin = time.perf_counter()
    module = subject.fresh()
    seconds = time.perf_counter() - begin
    check_that(isinstance(module, nn.Module), f"build returns {type(module).__name__}, not an nn.Module")
    placed = {tensor.device.type for tensor in module.state_dict().values()}
    check_that(placed <= {"cpu"}, f"it is built on {' and '.join(sorted(placed))}")
    count = sum(parameter.numel() for parameter in module.parameters())
    return [Number("building", seconds, 10.0, unit="s"), Number("parameters", count)]  # the limit: on a busy machine


def seed(subject: PartUnderTest) -> Sequence[Number]:
    first, again, other = (model_tensors(subject.fresh(number)) for number in (SEED, SEED, SEED + 1))
    check_that(first.keys() == again.keys(), "building twice gives different weights")
    names = list(first)
    number = same([again[name] for name in names], [first[name] for name in names], names)
    differ = [name for name in names if not torch.equal(first[name], other[name])]
    return [Number("largest difference of weights", number.value, 0.0, number.where), Number("drawn", len(differ))]


def repeats(subject: PartUnderTest) -> Sequence[Number]:
    first = outputs(subject, subject.lively)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED + 1)
        return [same(outputs(subject, subject.lively), first)]


def state(subject: PartUnderTest) -> Sequence[Number]:
    kept = subject.lively
    path = subject.folder() / "part.safetensors"
    write_checkpoint(path, {}, {"model": model_tensors(kept)})
    opened = enliven(subject.fresh(SEED + 1))
    load_model(opened, read_checkpoint(path))
    number = same(outputs(subject, opened.eval()), outputs(subject, kept))
    return [Number(number.what, number.value, 0.0, number.where), Number("bytes", path.stat().st_size)]


def steps(subject: PartUnderTest) -> Sequence[Number]:
    expected = subject.find("steps")(subject.lively)
    for step in expected:
        found: Any = subject.lively
        for word in step.at.split("."):
            check_that(hasattr(found, word), f"steps names {step.at}, but there is no {word}")
            found = getattr(found, word)
        check_that(callable(found), f"steps names {step.at}, which is not callable")
    return [Number("steps", len(expected))]


CHECKS = (
    Check(name="builds", doc="a part with the test config is built on the CPU, and quickly", run=builds,
        depends_on=("references",)),
    Check(name="seed", doc="the same random seed of torch gives the same weights", run=seed, depends_on=("builds",)),
    Check(name="repeats", doc="in evaluation mode the same inputs give the same outputs", run=repeats,
        depends_on=("builds", "shapes")),
    Check(name="state", doc="weights saved as safetensors and loaded into a part of another seed give the same outputs",
        run=state, depends_on=("builds", "shapes", "repeats")),
    Check(name="steps", doc="every submodule or method that trace shows exists", run=steps, declares="steps",
        depends_on=("builds",)),
)  # fmt: skip

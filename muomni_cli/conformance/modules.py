"""Laws of every part that is of PyTorch: it is built small, of nothing but its seed, and is what its weights make of
it. Imports torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from muomni_cli.conformance.laws import HOMES
from muomni_cli.conformance.subject import SEED, enliven
from muomni_cli.conformance.tensors import same
from muomni_cli.contract.conformance import Law, Number, Subject, require
from muomni_cli.runs.checkpoint import load_model, model_tensors, read_checkpoint, write_checkpoint

SECONDS = 10.0
"""That building the small part may take, on a busy machine."""


def outputs(subject: Subject, module: Any) -> list[Tensor]:
    """What ``module`` makes of the inputs that all parts of its kind are tried with."""
    home = HOMES[subject.part.kind][-1]
    with torch.no_grad():
        made: list[Tensor] = import_module(f"{__package__}.{home}").outputs(subject, module)
    return [tensor.clone() for tensor in made]


def builds(subject: Subject) -> Sequence[Number]:
    """Of its small config."""
    begin = time.perf_counter()
    module = subject.fresh()
    seconds = time.perf_counter() - begin
    require(isinstance(module, nn.Module), f"build gives {type(module).__name__}, which is no nn.Module")
    placed = {tensor.device.type for tensor in module.state_dict().values()}
    require(placed <= {"cpu"}, f"it is built on {' and '.join(sorted(placed))}")
    count = sum(parameter.numel() for parameter in module.parameters())
    return [Number("building", seconds, SECONDS, unit="s"), Number("parameters", count)]


def seed(subject: Subject) -> Sequence[Number]:
    """Twice with one seed, and once with another."""
    first, again, other = (model_tensors(subject.fresh(number)) for number in (SEED, SEED, SEED + 1))
    require(first.keys() == again.keys(), "built twice, it has other weights each time")
    names = list(first)
    number = same([again[name] for name in names], [first[name] for name in names], names)
    differ = [name for name in names if not torch.equal(first[name], other[name])]
    return [Number("largest difference of weights", number.value, 0.0, number.where), Number("drawn", len(differ))]


def repeats(subject: Subject) -> Sequence[Number]:
    """In evaluation mode, with random numbers that have moved on."""
    first = outputs(subject, subject.lively)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED + 1)
        return [same(outputs(subject, subject.lively), first)]


def state(subject: Subject) -> Sequence[Number]:
    """Through a checkpoint, into a part that was built with another seed."""
    kept = subject.lively
    path = subject.folder() / "part.safetensors"
    write_checkpoint(path, {}, {"model": model_tensors(kept)})
    opened = enliven(subject.fresh(SEED + 1))
    load_model(opened, read_checkpoint(path))
    number = same(outputs(subject, opened.eval()), outputs(subject, kept))
    return [Number(number.what, number.value, 0.0, number.where), Number("bytes", path.stat().st_size)]


def steps(subject: Subject) -> Sequence[Number]:
    """Every path that ``steps`` gives."""
    told = subject.find("steps")(subject.lively)
    for step in told:
        found: Any = subject.lively
        for word in step.at.split("."):
            require(hasattr(found, word), f"steps names {step.at}, and there is no {word}")
            found = getattr(found, word)
        require(callable(found), f"steps names {step.at}, which is nothing that is called")
    return [Number("steps", len(told))]


LAWS = (
    Law(name="builds", doc="the small part is built on the CPU, and quickly", check=builds, after=("references",)),
    Law(
        name="seed", doc="the same seed of torch's random numbers gives the same weights", check=seed, after=("builds",)
    ),
    Law(
        name="repeats",
        doc="in evaluation mode the same inputs give the same outputs",
        check=repeats,
        after=("builds", "shapes"),
    ),
    Law(
        name="state",
        doc="weights saved with safetensors and loaded into a part of another seed give the same outputs",
        check=state,
        after=("builds", "shapes", "repeats"),
    ),
    Law(name="steps", doc="every step that trace shows is there", check=steps, declares="steps", after=("builds",)),
)

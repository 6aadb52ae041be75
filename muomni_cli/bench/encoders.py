"""Encoders against other people's: from an input as it is read to tokens, and whole training steps.

All are built with random weights from one recipe and do the same work in turn. Training goes through the engine's own
step on all sides, with a mean-square loss on the tokens that asks for nothing. Knows no encoder by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.bench.measure import Comparison, Work, alternate, long_enough
from muomni_cli.bench.report import Line
from muomni_cli.bench.workload import OURS, Workload, encoder_inputs
from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.training import Batch, Loss, Sample
from muomni_cli.core.errors import RequestError
from muomni_cli.layers.device import choose_device, set_threads
from muomni_cli.recipe import Chosen, Recipe, TrainSettings
from muomni_cli.registry.registry import resolve
from muomni_cli.training.step import Stepper


class Still:
    """An objective that draws all tokens of one batch of inputs towards nothing."""

    unit = "inputs"
    adam_only: frozenset[str] = frozenset()
    blocks: Sequence[nn.Module] = ()

    def __init__(self, module: nn.Module, inputs: Tensor) -> None:
        self.module = module
        self._batch = Batch({"inputs": inputs}, weight=float(len(inputs)), items=len(inputs))

    def batch(self, step: int, micro: int) -> Batch:  # noqa: ARG002
        """The batch."""
        return self._batch

    def loss(self, batch: Batch) -> Loss:
        """The mean square of the tokens, summed over the inputs."""
        tokens: Tensor = self.module(batch.tensors["inputs"]).tokens
        return Loss(tokens.float().square().mean() * len(tokens))

    def validate(self) -> dict[str, float]:
        """Nothing is held out."""
        return {"loss": 0.0}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """Nothing to look at."""
        return ()


def compare_encoders(recipe: Recipe, work: Workload, *, versus: bool, progress: Callable[[str], None]) -> list[Line]:
    """A line for each input of each encoder, and one for its training; inputs a second.

    Args:
        recipe: names the encoders.
        work: ``batch`` and ``count`` are rows and steps of training.
        versus: measure against every peer that an encoder declares.
        progress: told what is measured.

    Raises:
        RequestError: no encoder of the recipe says what to measure it with.
    """
    device = choose_device(work.device)
    set_threads(work.threads)
    lines = []
    for modality, chosen in recipe.encoders.items():
        part = chosen.registered.part
        assert isinstance(part, EncoderPart), "the registry gives what it is asked for"
        inputs = encoder_inputs(part, chosen.config)
        if inputs is None:
            progress(f"{modality}: the encoder {part.name} says nothing of what to measure it with (bench_inputs)")
            continue
        modules = _contestants(recipe, chosen, part.peers if versus else {})
        for name, array in inputs.items():
            progress(f"measuring {modality}: {name}")
            lines.append(Line(f"{modality}: {name}", _encoding(modules, array, device, work.rounds), "input"))
        progress(f"measuring {modality}: training")
        first = next(iter(inputs.values()))
        batch = torch.from_numpy(np.stack([first] * work.batch))
        setting = f"{modality}: training on {work.batch} x {next(iter(inputs))}"
        training = {
            name: _training(Still(m, batch), recipe.train_for(modality), device, work) for name, m in modules.items()
        }
        lines.append(Line(setting, alternate(training, rounds=work.rounds), "input"))
    if not lines:
        raise RequestError(f"recipe {recipe.name} has no encoder to measure", "name one with [encoders.<modality>]")
    return lines


def _contestants(recipe: Recipe, chosen: Chosen, peers: Mapping[str, str]) -> dict[str, nn.Module]:
    part = chosen.registered.part
    torch.manual_seed(recipe.seed)
    builds = {OURS: part.build, **peers}
    return {name: resolve(build, f"{name} {part.name}")(chosen.config) for name, build in builds.items()}


def _encoding(modules: Mapping[str, nn.Module], array: NDArray[Any], device: torch.device, rounds: int) -> Comparison:
    inputs = torch.from_numpy(array)[None].to(device)
    works = {name: _encoder(module.to(device).eval(), inputs) for name, module in modules.items()}
    return alternate(long_enough(works), rounds=rounds)


def _encoder(module: nn.Module, inputs: Tensor) -> Work:
    def work() -> int:
        with torch.inference_mode():
            tokens: Tensor = module(inputs).tokens
            tokens.sum().item()  # waits for the device
        return 1

    return work


def _training(objective: Still, settings: TrainSettings, device: torch.device, work: Workload) -> Work:
    stepper = Stepper(objective, settings, device)
    batch = objective.batch(0, 0)

    def train() -> int:
        for step in range(work.count):
            stepper.step(step, [batch])
        stepper.read_window()[1].tolist()  # waits for the device
        return batch.items * work.count

    return train

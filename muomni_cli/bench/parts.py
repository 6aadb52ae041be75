"""Training steps, cached generation and encoders of a recipe's parts, against the peers that the parts declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.bench.report import BenchRow, Comparison, Utilization, Work, alternate, long_enough
from muomni_cli.bench.workload import FIRST, OURS, Workload, encoder_inputs, generation
from muomni_cli.contract.declarations import EncoderPart, Part
from muomni_cli.contract.models import Peer
from muomni_cli.contract.training import Batch, Loss, Sample
from muomni_cli.core.errors import RequestError
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.nn.device import choose_device, set_threads
from muomni_cli.recipe.model import Recipe
from muomni_cli.registry.registry import resolve
from muomni_cli.training.mfu import peak_flops
from muomni_cli.training.objectives import summed_loss, to_batch
from muomni_cli.training.step import Stepper

VOCAB_SIZE = 5000  # of a recipe that does not define one


class Repeated:
    """An objective that trains on one batch again and again; ``loss`` is summed over its targets."""

    adamw_params: frozenset[str] = frozenset()
    blocks: Sequence[nn.Module] = ()

    def __init__(
        self, module: nn.Module, batch: Batch, loss: Callable[[dict[str, Tensor]], Tensor], unit: str = "tokens"
    ) -> None:
        self.module, self.unit, self._batch, self._loss = module, unit, batch, loss

    def batch(self, step: int, micro: int) -> Batch:  # noqa: ARG002
        return self._batch

    def loss(self, batch: Batch) -> Loss:
        return Loss(self._loss(batch.tensors))

    def validate(self) -> dict[str, float]:
        return {"loss": 0.0}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        return ()

    @classmethod
    def of_thinker(cls, thinker: Any, batch: Batch) -> Repeated:
        """Next tokens of a :func:`token_batch`."""
        return cls(thinker, batch, lambda tensors: summed_loss(thinker, tensors))


def token_batch(vocab_size: int, batch: int, length: int) -> tuple[Batch, Tensor]:
    """Random rows, all of whose tokens are targets, and the same as (B,T+1) ids."""
    tokens = torch.randint(FIRST, vocab_size, (batch, length + 1))
    return to_batch(tokens.numpy(), np.ones((batch, length), dtype=bool)), tokens


def compare_training(recipe: Recipe, work: Workload, peers: Sequence[str]) -> Comparison:
    """Whole training steps (forward, backward, clipping, optimizer), in tokens per second."""
    settings, device = recipe.train_for("thinker"), choose_device(work.device)
    set_threads(work.threads)
    _, thinker, others = random_thinkers(recipe, peers)
    batch, tokens = token_batch(thinker.vocab_size, work.batch, work.length)
    batch.tensors["tokens"] = tokens
    objectives = {OURS: Repeated.of_thinker(thinker, batch)}
    objectives |= {name: Repeated(peer.module, batch, _loss_of(peer)) for name, peer in others.items()}
    steppers = {name: Stepper(objective, settings, device) for name, objective in objectives.items()}
    steppers[OURS].counts_flops = True
    works = {name: _training(steppers[name], objective, work.count) for name, objective in objectives.items()}
    found = alternate(works, rounds=work.rounds)
    counted = steppers[OURS].flops
    if counted is None:  # compiled layers cannot be counted
        return found
    flops, items = counted
    return replace(found, utilization=Utilization(flops / items, *peak_flops(device, settings.precision)))


def _loss_of(peer: Peer) -> Callable[[dict[str, Tensor]], Tensor]:
    return lambda tensors: peer.loss(tensors["tokens"]) * tensors["targets"].numel()


def _training(stepper: Stepper, objective: Repeated, count: int) -> Work:
    batch = objective.batch(0, 0)

    def work() -> int:
        for step in range(count):
            stepper.step(step, [batch])
        stepper.read_window()[1].tolist()  # waits for the device
        return batch.items * count

    return work


def compare_generation(recipe: Recipe, work: Workload, peers: Sequence[str]) -> Comparison:
    """Greedy generation with a cache, prompt included, in new tokens per second."""
    device = choose_device(work.device)
    set_threads(work.threads)
    part, thinker, others = random_thinkers(recipe, peers)
    prompts = torch.randint(FIRST, thinker.vocab_size, (work.batch, work.length))
    backend = TorchBackend(thinker.to(device), part.capabilities, pack_weights=True)
    contestants = {OURS: generation(backend, thinker.vocab_size, prompts.tolist(), work.count)}
    for name, peer in others.items():
        peer.module.to(device).eval()
        contestants[name] = _generation_of(peer, prompts.to(device), work.count)
    return alternate(contestants, rounds=work.rounds, warmup=2)


def _generation_of(peer: Peer, prompts: Tensor, count: int) -> Work:
    return lambda: peer.generate(prompts, count).numel() - prompts.numel()


def random_thinkers(recipe: Recipe, peers: Sequence[str]) -> tuple[Part, Any, dict[str, Peer]]:
    """The Thinker that a recipe declares, with random weights, and those of its peers that are named."""
    chosen, tokenizer = recipe.thinker, recipe.tokenizer
    if chosen is None:
        raise RequestError(f"recipe {recipe.name} has no Thinker", "add a table [thinker], or name another recipe")
    part: Part = chosen.registered.part
    vocab_size = int(getattr(tokenizer.config, "vocab_size", VOCAB_SIZE)) if tokenizer else VOCAB_SIZE
    torch.manual_seed(recipe.seed)
    thinker = resolve(part.build, f"thinker {part.name}")(chosen.config, vocab_size)
    if unknown := [name for name in peers if name not in part.peers]:
        raise RequestError(
            f"the thinker {part.name} declares no peer {unknown[0]!r}", f"its peers: {', '.join(part.peers) or 'none'}"
        )
    others = {name: resolve(part.peers[name], f"peer {name}")(chosen.config, vocab_size) for name in peers}
    return part, thinker, others


def compare_encoders(
    recipe: Recipe, work: Workload, *, versus: bool, progress: Callable[[str], None]
) -> list[BenchRow]:
    """A row for each input of each encoder, and one for its training, in inputs per second. With ``versus``, peers that
    an encoder declares are measured, too. RequestError if no encoder of the recipe declares ``bench_inputs``."""
    device = choose_device(work.device)
    set_threads(work.threads)
    lines = []
    for modality, chosen in recipe.encoders.items():
        part = chosen.registered.part
        assert isinstance(part, EncoderPart), "the registry checks the kind"
        inputs = encoder_inputs(part, chosen.config)
        if inputs is None:
            progress(f"{modality}: the encoder {part.name} declares no bench_inputs to measure")
            continue
        builds = {OURS: part.build, **(part.peers if versus else {})}
        torch.manual_seed(recipe.seed)
        modules = {name: resolve(build, f"{name} {part.name}")(chosen.config) for name, build in builds.items()}
        for name, array in inputs.items():
            progress(f"measuring {modality}: {name}")
            lines.append(BenchRow(f"{modality}: {name}", _encoding(modules, array, device, work.rounds), "input"))
        progress(f"measuring {modality}: training")
        first, array = next(iter(inputs.items()))
        rows = torch.from_numpy(np.stack([array] * work.batch))
        batch = Batch({"inputs": rows}, weight=float(work.batch), items=work.batch)
        setting = f"{modality}: training on {work.batch} x {first}"
        settings = recipe.train_for(modality)
        training = {
            name: _training(Stepper(one, settings, device), one, work.count)
            for name, one in ((name, Repeated(m, batch, _mean_square(m), "inputs")) for name, m in modules.items())
        }
        lines.append(BenchRow(setting, alternate(training, rounds=work.rounds), "input"))
    if not lines:
        raise RequestError(f"recipe {recipe.name} has no encoder to measure", "name one with [encoders.<modality>]")
    return lines


def _mean_square(module: nn.Module) -> Callable[[dict[str, Tensor]], Tensor]:
    """The mean square of the tokens, summed over the inputs."""

    def loss(tensors: dict[str, Tensor]) -> Tensor:
        tokens: Tensor = module(tensors["inputs"]).tokens
        return tokens.float().square().mean() * len(tokens)

    return loss


def _encoding(modules: Mapping[str, nn.Module], array: NDArray[Any], device: torch.device, rounds: int) -> Comparison:
    inputs = torch.from_numpy(array)[None].to(device)

    def encoder(module: nn.Module) -> Work:
        def work() -> int:
            with torch.inference_mode():
                tokens: Tensor = module(inputs).tokens
                tokens.sum().item()  # waits for the device
            return 1

        return work

    works = {name: encoder(module.to(device).eval()) for name, module in modules.items()}
    return alternate(long_enough(works), rounds=rounds)

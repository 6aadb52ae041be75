"""The work of one round of a benchmark, the same for all contestants, and benchmarks of bundles. Imports torch only for
a PyTorch peer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.bench.report import BenchRow, Comparison, Work, alternate, long_enough, short_names
from muomni_cli.contract.declarations import EncoderPart, PartConfig
from muomni_cli.contract.engine import Engine
from muomni_cli.core.errors import RequestError
from muomni_cli.generation import Backend, Request, Sampling, generate
from muomni_cli.models.locate import model_named
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.registry.entries import build_arguments, open_entry
from muomni_cli.registry.registry import resolve

if TYPE_CHECKING:
    from muomni_cli.models.untrained_engine import UntrainedEngine

OURS = "muomni"
FIRST = 6  # lower ids are special tokens, which random text does not contain
OWN = ("batch", "length", "count", "threads")  # keys that change the workload; all others change the recipe
SPREAD = 8  # lengths of the rows of a bundle's batch, as a server has them
TORCH = "torch"  # value of ``--vs`` for the same parts in PyTorch


@dataclass(frozen=True, slots=True)
class Workload:
    """The work of one round."""

    batch: int
    length: int  # tokens of a training sequence, or of a prompt
    count: int  # training steps, or tokens to generate
    rounds: int  # measured rounds
    device: str = "auto"  # ``auto``, ``cpu`` or ``cuda``
    threads: int = 0  # CPU threads; 0 for the runtime's default
    prefill: int = 0  # prompt tokens of the prefill benchmark; 0 for none


class Numbers:
    """A tokenizer whose tokens have no text, so that only the model's work is measured."""

    specials: Mapping[str, int] = {"eos": -1}

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def token_bytes(self, token: int) -> bytes:  # noqa: ARG002
        return b""


def random_prompts(vocab_size: int, batch: int, length: int, spread: int = 1) -> list[list[int]]:
    """Rows of random ids, the same each time; of ``length`` and, with a ``spread``, up to so many tokens less one
    more."""
    rows: list[list[int]] = np.random.default_rng(0).integers(FIRST, vocab_size, (batch, length + spread - 1)).tolist()
    return [row[: length + number % spread] for number, row in enumerate(rows)]


def generation(backend: Backend[Any], vocab_size: int, prompts: Sequence[Sequence[int]], count: int) -> Work:
    """``count`` greedy tokens after each prompt, with the loop of ``muomni chat``; counts new tokens."""
    tokenizer: Any = Numbers(vocab_size)
    requests = [Request(row, Sampling(temperature=0), max_tokens=count, loop_guard=False) for row in prompts]
    return lambda: sum(1 for _ in generate(backend, tokenizer, requests))


def encoder_inputs(part: EncoderPart, config: PartConfig) -> Mapping[str, NDArray[Any]] | None:
    """The encoder's ``bench_inputs`` by name; None if it declares none."""
    if part.bench_inputs is None:
        return None
    inputs: Mapping[str, NDArray[Any]] = resolve(part.bench_inputs, f"encoder {part.name}")(config)
    return inputs


@dataclass(frozen=True, slots=True)
class Setting:
    """A named workload; ``words`` change the recipe."""

    name: str
    work: Workload
    words: Sequence[str]


def planned(work: Workload, variations: Sequence[str]) -> list[Setting]:
    """The base setting, then one for each of ``variations`` (``"length=128 batch=2"``). RequestError for an invalid
    value."""
    threads = f" threads={work.threads}" if work.threads else ""
    found = [Setting(f"batch={work.batch} length={work.length} count={work.count}{threads}", work, ())]
    for variation in variations:
        own: dict[str, Any] = {}
        rest = []
        for word in variation.split():
            key, _, value = word.partition("=")
            if key not in OWN:
                rest.append(word)
            elif value.isdecimal() and int(value) > 0:
                own[key] = int(value)
            else:
                raise RequestError(f"invalid setting {word!r}", f"write {key}=NUMBER")
        found.append(Setting(variation.strip() or found[0].name, replace(work, **own), rest))
    return found


def measure(
    compare: Callable[[Recipe, Workload, Sequence[str]], Comparison],
    recipe: str,
    overrides: Sequence[str],
    work: Workload,
    variations: Sequence[str],
    peers: Sequence[str],
    progress: Callable[[str], None],
) -> list[BenchRow]:
    """Compare at every planned setting. RequestError for an invalid setting."""
    lines = []
    for setting in planned(work, variations):
        loaded = load_recipe(recipe, [*overrides, *setting.words])
        progress(f"measuring {setting.name}")
        lines.append(BenchRow(setting.name, compare(loaded, setting.work, peers)))
    return lines


def measure_generation(
    model: str, versus: Sequence[str], work: Workload, variations: Sequence[str], progress: Callable[[str], None]
) -> list[BenchRow]:
    """Greedy generation in new tokens per second, and prefill in prompts per second, at every setting. The prompts of a
    batch have :data:`SPREAD` lengths.

    Args:
        model: bundle to measure.
        versus: bundles to compare with, or :data:`TORCH`.
        work: base setting; ``prefill`` is limited by the context.
        variations: see :func:`planned`.
        progress: receives progress messages.

    Raises:
        RequestError: no such bundle, it has no Thinker, or an invalid setting.
    """
    settings = planned(work, variations)
    if words := [word for setting in settings for word in setting.words]:
        raise RequestError(f"{words[0]!r} is not a setting of a bundle", f"settings of bundles: {', '.join(OWN)}")
    lines: list[BenchRow] = []
    for setting in settings:
        work, rounds = setting.work, setting.work.rounds
        bundles = open_folders([model, *(name for name in versus if name != TORCH)], work)
        backends = {name: one.backend() for name, one in bundles.items()}
        if TORCH in versus:
            from muomni_cli.generation.torch_backend import TorchBackend

            first = next(iter(bundles.values()))
            peer = in_torch(first, work)  # as in training, without packed weights
            backends[TORCH] = TorchBackend(peer.omni().thinker, peer.declaration("thinker").capabilities)
            backends[f"{TORCH}, laid out"] = in_torch(first, work).backend()
        vocab_size = min(int(build_arguments(one.parts["thinker"])["vocab_size"]) for one in bundles.values())
        progress(f"measuring {setting.name}")
        prompts = random_prompts(vocab_size, work.batch, work.length, SPREAD)
        writing = {name: generation(backend, vocab_size, prompts, work.count) for name, backend in backends.items()}
        lines.append(BenchRow(setting.name, alternate(writing, rounds=rounds, warmup=2)))
        if work.prefill:
            length = min(work.prefill, *(backend.context for backend in backends.values()))
            text = random_prompts(vocab_size, work.batch, length)
            reading = {name: _prefill(backend, text) for name, backend in backends.items()}
            comparison = alternate(long_enough(reading), rounds=rounds)
            lines.append(BenchRow(f"reading {length} tokens: {setting.name}", comparison, "prompt"))
    return lines


def _prefill(backend: Backend[Any], prompts: Sequence[Sequence[int]]) -> Work:
    """Prefill of the prompts, up to the logits of the first new token; counts prompts."""

    def work() -> int:
        backend.begin(prompts, len(prompts[0]))
        return len(prompts)

    return work


def measure_encoding(
    model: str, versus: Sequence[str], work: Workload, progress: Callable[[str], None]
) -> list[BenchRow]:
    """Encoding, from the input as ``read`` returns it to tokens for the Thinker, in inputs per second: a row for each
    input of each encoder. RequestError if there is no such bundle, or no encoder declares ``bench_inputs``."""
    contestants = open_folders([model, *(name for name in versus if name != TORCH)], work)
    first = next(iter(contestants.values()))
    if TORCH in versus:
        contestants[TORCH] = in_torch(first, work)
    lines = []
    for modality in first.modalities:
        registered, config = open_entry(first.parts[modality])
        assert isinstance(registered.part, EncoderPart), "modalities have encoders"
        inputs = encoder_inputs(registered.part, config)
        if inputs is None:
            progress(f"{modality}: the encoder {registered.use} declares no bench_inputs to measure")
            continue
        for name, array in inputs.items():
            progress(f"measuring {modality}: {name}")
            lines.append(BenchRow(f"{modality}: {name}", _encoding(contestants, modality, array, work.rounds), "input"))
    if not lines:
        raise RequestError(f"{first.label} has no encoder to measure", "name another model with -m")
    return lines


def _encoding(contestants: Mapping[str, Engine], modality: str, array: NDArray[Any], rounds: int) -> Comparison:
    def encoder(contestant: Engine) -> Work:
        def work() -> int:
            contestant.encode(modality, array)
            return 1

        return work

    works = {name: encoder(contestant) for name, contestant in contestants.items()}
    return alternate(long_enough(works), rounds=rounds)


def open_folders(folders: Sequence[str], work: Workload) -> dict[str, Engine]:
    """Open bundles, by the names of :func:`short_names`. RequestError for what is not a bundle, or a damaged one."""
    opened = {}
    for name, folder in short_names(folders).items():
        found = model_named(folder).bundle
        if found is None:
            raise RequestError(f"{folder} is not an exported bundle", "create one: muomni export --onnx -o FOLDER")
        opened[name] = found.open(work.device, work.threads or None)
    return opened


def in_torch(engine: Engine, work: Workload) -> UntrainedEngine:
    """The parts of a model in PyTorch, with random weights."""
    from muomni_cli.models.untrained_engine import UntrainedEngine

    return UntrainedEngine(engine.parts, engine.modalities, TORCH, device=work.device, threads=work.threads or None)

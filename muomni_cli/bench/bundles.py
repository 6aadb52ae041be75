"""Generation and encoding of bundles, against PyTorch and against each other. Imports torch only for a PyTorch peer.

The peer has the same parts with random weights: the tokens themselves do not affect speed, and their number is fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from muomni_cli.bench.report import BenchRow, Comparison, Work, alternate, long_enough, short_names
from muomni_cli.bench.workload import (
    OWN,
    Setting,
    Workload,
    encoder_inputs,
    generation,
    planned,
    prefill,
    random_prompts,
)
from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.engine import Engine
from muomni_cli.core.errors import RequestError
from muomni_cli.generation import Backend
from muomni_cli.models.locate import model_named
from muomni_cli.runs.run import build_arguments, open_entry

if TYPE_CHECKING:
    from muomni_cli.models.untrained_engine import UntrainedEngine

TORCH = "torch"
"""Value of ``--vs`` for the same parts in PyTorch."""


def measure_generation(
    model: str, versus: Sequence[str], work: Workload, variations: Sequence[str], progress: Callable[[str], None]
) -> list[BenchRow]:
    """Greedy generation in new tokens per second, and prefill in prompts per second, at every setting.

    Args:
        model: bundle to measure.
        versus: bundles to compare with, or :data:`TORCH`.
        work: base setting; ``prefill`` is limited by the context.
        variations: see :func:`muomni_cli.bench.workload.planned`.
        progress: receives progress messages.

    Raises:
        RequestError: no such bundle, it has no Thinker, or an invalid setting.
    """
    lines: list[BenchRow] = []
    for setting in _checked(planned(work, variations)):
        bundle = open_folders([model, *(name for name in versus if name != TORCH)], setting.work)
        first = next(iter(bundle.values()))
        backends = {name: one.backend() for name, one in bundle.items()}
        if TORCH in versus:
            backends |= {
                TORCH: _eager(first, setting.work),
                f"{TORCH}, laid out": in_torch(first, setting.work).backend(),
            }
        vocab_size = min(int(build_arguments(one.parts["thinker"])["vocab_size"]) for one in bundle.values())
        progress(f"measuring {setting.name}")
        lines += _generating(backends, vocab_size, setting)
    return lines


def _generating(backends: Mapping[str, Backend[Any]], vocab_size: int, setting: Setting) -> list[BenchRow]:
    """One row for generation, and one for prefill."""
    work = setting.work
    prompts = random_prompts(vocab_size, work.batch, work.length)
    writing = {name: generation(backend, vocab_size, prompts, work.count) for name, backend in backends.items()}
    lines = [BenchRow(setting.name, alternate(writing, rounds=work.rounds, warmup=2))]
    if work.prefill:
        length = min(work.prefill, *(backend.context for backend in backends.values()))
        text = random_prompts(vocab_size, work.batch, length)
        reading = {name: prefill(backend, text) for name, backend in backends.items()}
        name = f"reading {length} tokens: {setting.name}"
        lines.append(BenchRow(name, alternate(long_enough(reading), rounds=work.rounds), "prompt"))
    return lines


def measure_encoding(
    model: str, versus: Sequence[str], work: Workload, progress: Callable[[str], None]
) -> list[BenchRow]:
    """Encoding, from the input as ``read`` returns it to tokens for the Thinker, in inputs per second: a row for each
    input of
    each encoder.

    Raises:
        RequestError: no such bundle, or no encoder declares ``bench_inputs``.
    """
    bundle = open_folders([model, *(name for name in versus if name != TORCH)], work)
    first = next(iter(bundle.values()))
    contestants: dict[str, Engine] = {**bundle}
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
    """Open bundles, by the names of :func:`short_names`.

    Raises:
        RequestError: not a bundle, or a damaged one.
    """
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


def _eager(engine: Engine, work: Workload) -> Backend[Any]:
    """The Thinker as in training, without packed weights."""
    from muomni_cli.generation.torch_backend import TorchBackend

    peer = in_torch(engine, work)
    return TorchBackend(peer.omni().thinker, peer.declaration("thinker").capabilities)


def _checked(settings: Sequence[Setting]) -> Sequence[Setting]:
    """Reject settings that only apply to recipes."""
    for setting in settings:
        if setting.words:
            raise RequestError(
                f"{setting.words[0]!r} is not a setting of a bundle", f"settings of bundles: {', '.join(OWN)}"
            )
    return settings

"""The work of one round of a benchmark, the same for all contestants, at one or several settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.bench.report import BenchRow, Comparison, Work
from muomni_cli.contract.declarations import EncoderPart, PartConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.generation import Backend, Request, Sampling, generate
from muomni_cli.recipe import Recipe, load_recipe
from muomni_cli.registry.registry import resolve

OURS = "muomni"

FIRST = 6
"""Lower ids are special tokens, which random text does not contain."""

OWN = ("batch", "length", "count", "threads")
"""Keys that change the workload; all others change the recipe."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The work of one round.

    Args:
        batch: batch size.
        length: tokens of a training sequence, or of a prompt.
        count: training steps, or tokens to generate.
        rounds: measured rounds.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads; 0 for the runtime's default.
        prefill: prompt tokens of the prefill benchmark; 0 for none.
    """

    batch: int
    length: int
    count: int
    rounds: int
    device: str = "auto"
    threads: int = 0
    prefill: int = 0


class Numbers:
    """A tokenizer whose tokens have no text, so that only the model's work is measured."""

    specials: Mapping[str, int] = {"eos": -1}

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def token_bytes(self, token: int) -> bytes:  # noqa: ARG002
        return b""


def random_prompts(vocab_size: int, batch: int, length: int) -> list[list[int]]:
    """Rows of random ids, the same each time."""
    rows: list[list[int]] = np.random.default_rng(0).integers(FIRST, vocab_size, (batch, length)).tolist()
    return rows


def generation(backend: Backend[Any], vocab_size: int, prompts: Sequence[Sequence[int]], count: int) -> Work:
    """``count`` greedy tokens after each prompt, with the loop of ``muomni chat``; counts new tokens."""
    tokenizer: Any = Numbers(vocab_size)
    requests = [Request(row, Sampling(temperature=0), max_tokens=count, loop_guard=False) for row in prompts]
    return lambda: sum(1 for _ in generate(backend, tokenizer, requests))


def prefill(backend: Backend[Any], prompts: Sequence[Sequence[int]]) -> Work:
    """Prefill of the prompts, up to the logits of the first new token; counts prompts."""

    def work() -> int:
        backend.begin(prompts, len(prompts[0]))
        return len(prompts)

    return work


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
    """The base setting, then one for each of ``variations`` (``"length=128 batch=2"``).

    Raises:
        RequestError: an invalid value.
    """
    return [
        Setting(variation.strip() or _describe(work), *_changed(work, variation.split()))
        for variation in ("", *variations)
    ]


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


def _changed(work: Workload, words: Sequence[str]) -> tuple[Workload, list[str]]:
    own: dict[str, Any] = {}
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key not in OWN:
            rest.append(word)
        elif value.isdecimal() and int(value) > 0:
            own[key] = int(value)
        else:
            raise RequestError(f"invalid setting {word!r}", f"write {key}=NUMBER")
    return replace(work, **own), rest


def _describe(work: Workload) -> str:
    threads = f" threads={work.threads}" if work.threads else ""
    return f"batch={work.batch} length={work.length} count={work.count}{threads}"

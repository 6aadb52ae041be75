"""What one round of a benchmark does, the same for all that take part. Knows numpy, protocols and no framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.bench.measure import Work
from muomni_cli.contract.declarations import EncoderPart, PartConfig
from muomni_cli.generation import Backend, Request, Sampling, generate
from muomni_cli.registry.registry import resolve

OURS = "muomni"

FIRST = 6
"""Tokens below are special; random text has none."""


@dataclass(frozen=True, slots=True)
class Workload:
    """How much one round does.

    Args:
        batch: rows.
        length: tokens of a training sequence, or of a prompt.
        count: training steps, or tokens to generate.
        rounds: counted rounds.
        device: ``auto``, ``cpu`` or ``cuda``.
        threads: CPU threads; 0 leaves the choice to what runs.
        prefill: tokens of the prompt that is only read; 0 for none.
    """

    batch: int
    length: int
    count: int
    rounds: int
    device: str = "auto"
    threads: int = 0
    prefill: int = 0


class Numbers:
    """A tokenizer of tokens without text, so that only the model's work is measured."""

    specials: Mapping[str, int] = {"eos": -1}

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def token_bytes(self, token: int) -> bytes:  # noqa: ARG002
        """Nothing."""
        return b""


def random_prompts(vocab_size: int, batch: int, length: int) -> list[list[int]]:
    """Rows of random text, the same each time."""
    rows: list[list[int]] = np.random.default_rng(0).integers(FIRST, vocab_size, (batch, length)).tolist()
    return rows


def generation(backend: Backend[Any], vocab_size: int, prompts: Sequence[Sequence[int]], count: int) -> Work:
    """``count`` greedy tokens after each prompt, by the loop of ``muomni chat``; counts new tokens."""
    tokenizer: Any = Numbers(vocab_size)
    requests = [Request(row, Sampling(temperature=0), max_tokens=count, loop_guard=False) for row in prompts]
    return lambda: sum(1 for _ in generate(backend, tokenizer, requests))


def prefill(backend: Backend[Any], prompts: Sequence[Sequence[int]]) -> Work:
    """The prompts read, up to the logits of the first new token; counts prompts."""

    def work() -> int:
        backend.begin(prompts, len(prompts[0]))
        return len(prompts)

    return work


def encoder_inputs(part: EncoderPart, config: PartConfig) -> Mapping[str, NDArray[Any]] | None:
    """What the encoder says that its speed is measured with, by name; None if it says nothing."""
    if part.bench_inputs is None:
        return None
    inputs: Mapping[str, NDArray[Any]] = resolve(part.bench_inputs, f"encoder {part.name}")(config)
    return inputs

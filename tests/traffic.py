"""Requests that come and go at random, decoded together, and what each gets alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from muomni_cli import Form
from muomni_cli.contract.models import Backend, Tokenizer
from muomni_cli.generation import Event, Request, Sampling, generate
from muomni_cli.generation.batch import ContinuousBatch


def some_requests(random: np.random.Generator, count: int, vocabulary: int, context: int) -> list[Request]:
    """Prompts of many lengths and settings of every kind; some answers fill the context."""
    lengths = [int(random.choice([1, 3, 10, context])) for _ in range(count)]
    return [
        Request(
            random.integers(3, vocabulary, random.integers(1, context // 2)).tolist(),
            Sampling(
                temperature=float(random.choice([0, 0.7, 1.5])),
                top_k=int(random.choice([0, 5])),
                top_p=float(random.choice([1, 0.9])),
                repetition_penalty=float(random.choice([1, 1.2])),
            ),
            seed=int(random.integers(2**32)),
            max_tokens=length,
            stop=[] if random.random() < 0.5 else ["a", "bc"],
            loop_guard=bool(random.random() < 0.7),
            form=Form("regex", "[a-q]{3,9}") if length > 3 and random.random() < 0.3 else None,
        )
        for length in lengths
    ]


def said_alone(make: Callable[[], Backend[Any]], tokenizer: Tokenizer, requests: Sequence[Request]) -> list[list[Any]]:
    """Token, text and end of every event of each request."""
    return [shown(generate(make(), tokenizer, [request])) for request in requests]


def shown(events: Iterator[Event]) -> list[Any]:
    return [(event.token, event.text, event.finish) for event in events]


def said_together(
    make: Callable[[], Backend[Any]], tokenizer: Tokenizer, requests: Sequence[Request], random: np.random.Generator
) -> tuple[list[list[Any]], set[int], ContinuousBatch]:
    """The same where the requests begin at random and a third is abandoned at random; which were abandoned."""
    batch = ContinuousBatch(make(), tokenizer, most=5)
    said: list[list[Any]] = [[] for _ in requests]
    abandoned: set[int] = set()
    waiting, running = list(range(len(requests))), dict[int, Iterator[Event]]()
    leaving = {number for number in waiting if random.random() < 1 / 3}
    while waiting or running:
        if waiting and (not running or random.random() < 0.3):
            number = waiting.pop(0)
            running[number] = batch.generate(requests[number], make())
        number = int(random.choice(list(running)))
        event = next(running[number], None)
        if event is None:
            del running[number]
            continue
        said[number].append((event.token, event.text, event.finish))
        if number in leaving and random.random() < 0.3:
            running.pop(number).close()  # type: ignore[attr-defined]
            abandoned.add(number)
    return said, abandoned, batch

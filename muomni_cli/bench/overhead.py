"""What Python adds to the graphs of a bundle: a token of text, and a code frame of speech."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from muomni_cli.bench.report import Work, machine
from muomni_cli.bench.speech import SENTENCES
from muomni_cli.bench.workload import Workload, generation, open_folders, random_prompts
from muomni_cli.contract.engine import Engine
from muomni_cli.contract.speech import TextChunk, VoiceSettings
from muomni_cli.core.errors import RequestError
from muomni_cli.generation.loop import Sampling, draw
from muomni_cli.registry.entries import build_arguments

HEADINGS = ("MEASURED", "US", "IN GRAPHS", "ABOVE", "RATIO")
SPOKEN = SENTENCES[10:14]


@dataclass(frozen=True, slots=True)
class Overhead:
    """Microseconds of one item, and those of them in graphs: medians of the rounds."""

    what: str
    whole: float
    graphs: float

    @property
    def above(self) -> float:
        """Microseconds outside of the graphs."""
        return self.whole - self.graphs

    @property
    def row(self) -> tuple[str, ...]:
        """Of a table with :data:`HEADINGS`."""
        times = (f"{value:.0f}" for value in (self.whole, self.graphs, self.above))
        return (self.what, *times, f"{self.whole / self.graphs:.2f}")


def measure_overhead(model: str, work: Workload, progress: Callable[[str], None]) -> list[Overhead]:
    """A token of greedy text, with its share of the prompt, and a code frame of the Talker, with its share of the text.

    Args:
        model: bundle to measure.
        work: prompt and new tokens, rounds, device and threads.
        progress: receives progress messages.

    Raises:
        RequestError: there is no such bundle, or it neither writes nor speaks.
    """
    (engine,) = open_folders([model], work).values()
    works: dict[str, Work] = {}
    if "thinker" in engine.parts:
        works["a token of text"] = _text(engine, work)
    if "talker" in engine.parts:
        works["a code frame"] = partial(_frames, engine)
    if not works:
        raise RequestError(f"{engine.label} neither writes nor speaks", "name another model with -m")
    found = []
    for what, one in works.items():
        progress(f"measuring {what}")
        one()
        rounds = [_round(engine, one) for _ in range(work.rounds)]
        whole, graphs = (statistics.median(times) for times in zip(*rounds, strict=True))
        found.append(Overhead(what, whole, graphs))
    return found


def _round(engine: Engine, work: Work) -> tuple[float, float]:
    """Microseconds of an item, and those in graphs."""
    before, begin = engine.graph_seconds, time.perf_counter()
    items = work()
    seconds = time.perf_counter() - begin
    return 1e6 * seconds / items, 1e6 * (engine.graph_seconds - before) / items


def _text(engine: Engine, work: Workload) -> Work:
    vocabulary = int(build_arguments(engine.parts["thinker"])["vocab_size"])
    return generation(engine.backend(), vocabulary, random_prompts(vocabulary, 1, work.length), work.count)


def _frames(engine: Engine) -> int:
    talker = engine.talker()
    sampler = partial(draw, sampling=Sampling(temperature=0), rng=np.random.default_rng(0))
    pieces = [TextChunk(sentence) for sentence in SPOKEN]
    return sum(len(codes) for codes in talker.speak(pieces, VoiceSettings(), sampler))


def as_json(found: Sequence[Overhead]) -> dict[str, Any]:
    """In microseconds, with the machine."""
    return {"machine": machine(), "overheads": [asdict(one) | {"above": one.above} for one in found]}

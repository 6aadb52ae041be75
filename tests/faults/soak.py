"""One open model, used by two threads for an hour: the same answers at the end, and no more memory than after five
minutes. Beside the resident memory stands what malloc has given out: a leak raises both, fragmentation only the first.

python -m tests.faults.soak --minutes 60 --seed 0
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from muomni_cli import Model, MuomniError, load
from tests.faults.small import tones

MEGABYTE = 1e6
MALLINFO = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


@dataclass(slots=True)
class Report:
    """What was asked, and the memory of the process."""

    calls: int = 0
    memory: list[tuple[float, float, float]] = field(default_factory=list)  # minutes, resident and allocated megabytes
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return {
            "calls": self.calls,
            "minutes, resident MB, allocated MB": self.memory,
            "faults": self.faults[:50],
        }


class MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and later: bytes of all arenas (mallinfo(3))."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO)


def allocated() -> float:
    """Megabytes that malloc has given out and not got back; NaN without glibc."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return math.nan
    ask.restype = MallInfo
    found = ask()
    return float(found.uordblks + found.hblkhd) / MEGABYTE


def requests(model: Model) -> list[Callable[[], object]]:
    """Calls of every method, with arguments of many sizes, and some that are refused."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (side, side + 7, 3), np.uint8) for side in (9, 64, 200, 640)]
    waves = [np.tile(tones("abc"), times).astype(np.float32) for times in (1, 3, 12)]
    found: list[Callable[[], object]] = []
    for number, picture in enumerate(pictures):
        found.append(lambda picture=picture, number=number: model.chat("What do you see?", image=picture, seed=number))
    for number, wave in enumerate(waves):
        found.append(lambda wave=wave: model.transcribe((wave, 16000)))
        found.append(lambda wave=wave: model.encode("audio", (wave[:16000], 16000)).tobytes())
        found.append(lambda number=number: model.chat("Tell me a story " * (number + 1), seed=number, max_tokens=40))
    texts = ("hello", "The fox ran over the hill, and the old wolf slept.", "one two three " * 8)
    found += [lambda words=words: model.speak(words, seed=1)[0].tobytes() for words in texts]
    found.append(lambda: model.chat("", max_tokens=-1))
    found.append(lambda: model.chat("what?", image=b"no picture"))
    return found


def answer(request: Callable[[], object]) -> object:
    try:
        return request()
    except MuomniError as error:
        return error.what


def soak(model: Model, seconds: float, seed: int, threads: int = 2) -> Report:
    """Random calls from several threads until the time is over; every answer must be that of the first time."""
    asked = requests(model)
    expected = [answer(request) for request in asked]
    report, lock = Report(), threading.Lock()
    begun = time.monotonic()

    def ask(number: int) -> None:
        draw = random.Random(f"{seed} {number}")
        while time.monotonic() - begun < seconds:
            chosen = draw.randrange(len(asked))
            try:
                found = answer(asked[chosen])
            except Exception as error:
                found = error
            with lock:
                report.calls += 1
                if isinstance(found, Exception) or found != expected[chosen]:
                    report.faults.append(f"request {chosen}: {str(found)[:200]!r}")

    workers = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(threads)]
    for worker in workers:
        worker.start()
    process = psutil.Process()
    while any(worker.is_alive() for worker in workers):
        minutes, resident = (time.monotonic() - begun) / 60, process.memory_info().rss / MEGABYTE
        report.memory.append((round(minutes, 2), round(resident, 1), round(allocated(), 1)))
        print(f"{report.memory[-1]}, {report.calls} calls, {len(report.faults)} faults", file=sys.stderr)
        for worker in workers:
            worker.join(max(seconds / 120, 1) / threads)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description="use one model for long, from two threads")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-m", "--model", type=Path, default=Path("nano"))
    chosen = parser.parse_args()
    with load(chosen.model, device="cpu", threads=1) as model:
        report = soak(model, chosen.minutes * 60, chosen.seed)
    print(json.dumps(report.as_dict(), indent=2))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())

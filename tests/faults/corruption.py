"""Damage a file of a run, a bundle or the cache: what is opened then is refused by name, or answers as before.

    python -m tests.faults.corruption --count 300 --seed 0

A trial copies a model, changes one of its files (a bit, a block, its end, all of it, its name), and asks what it asked
the whole model. It fails if the answers differ in anything, or if an error is not the two lines of an error of muomni.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from muomni_cli import MuomniError, load
from tests.faults.small import make_world, run
from tests.tiny_model import Whole, make_whole


@dataclass(slots=True)
class Report:
    """What became of the damages."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return {
            "corruptions": sum(self.counts.values()),
            "by kind": dict(sorted(self.counts.items())),
            "faults": self.faults,
        }


def flip_bit(content: bytearray, draw: random.Random) -> None:
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def zero_block(content: bytearray, draw: random.Random) -> None:
    at, size = draw.randrange(len(content) + 1), draw.choice([1, 16, 512, 4096])
    content[at : at + size] = bytes(len(content[at : at + size]))


def random_block(content: bytearray, draw: random.Random) -> None:
    at, size = draw.randrange(len(content) + 1), draw.choice([1, 16, 512, 4096])
    content[at : at + size] = draw.randbytes(len(content[at : at + size]))


def cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content) + 1) :]


def lengthen(content: bytearray, draw: random.Random) -> None:
    content += draw.randbytes(draw.choice([1, 100, 10_000]))


def drop_block(content: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(content) + 1)
    del content[at : at + draw.choice([1, 2, 64])]


def empty(content: bytearray, draw: random.Random) -> None:  # noqa: ARG001
    content.clear()


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip_bit, flip_bit, zero_block, random_block, cut, lengthen, drop_block, empty,
)  # fmt: skip


def damage(folder: Path, draw: random.Random) -> tuple[str, str]:
    """Change one file in ``folder``; its path there, and how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = draw.choice(files)
    name = chosen.relative_to(folder).as_posix()
    way = draw.choice([*DAMAGES, "remove", "exchange"])
    if way == "remove":
        chosen.unlink()
    elif way == "exchange":
        other = draw.choice([path for path in files if path.suffix == chosen.suffix])
        held = chosen.read_bytes()
        chosen.write_bytes(other.read_bytes())
        other.write_bytes(held)
    elif callable(way):
        content = bytearray(chosen.read_bytes())
        way(content, draw)
        chosen.write_bytes(content)
    return name, getattr(way, "__name__", str(way))


def same_tensors(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same weights; their headers tell the seconds that training took."""
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def answers(folder: Path, whole: Whole) -> list[bytes]:
    """What the model in ``folder`` says, hears, sees and speaks."""
    with load(folder, device="cpu", threads=1) as model:
        said = model.chat("What is it?", image=whole.picture, audio=whole.sound, max_tokens=8, seed=1)
        samples, rate = model.speak("hello", seed=1)
        return [
            said.encode(),
            model.transcribe(whole.sound).encode(),
            model.encode("image", whole.picture).tobytes(),
            np.asarray(samples).tobytes(),
            str(rate).encode(),
        ]


class Trials:
    """Damages of one model, in its forms, and of the cache of a training."""

    def __init__(self, whole: Whole, folder: Path) -> None:
        self.whole, self.folder, self.report = whole, folder, Report()
        self.world = make_world(folder / "world")
        done = run(self.world, "train", "all", "small.toml")
        assert done.returncode == 0, done.stderr
        self.expected = {form: answers(path, self.whole) for form, path in self._forms().items()}

    def _forms(self) -> dict[str, Path]:
        """``run``: parts alone; ``trained``: all that a training leaves."""
        return {"run": self.whole.run, "bundle": self.whole.bundle, "trained": self.world / "runs" / "small"}

    def run(self, count: int, seed: int, only: list[str] | None = None) -> Iterator[Report]:
        """Each form in turn, or ``only`` these; the report after every trial."""
        kinds = only or [*self._forms(), *self._forms(), "cache"]
        for number in range(count):
            kind, trial = kinds[number % len(kinds)], f"seed {seed}, trial {number}"
            draw = random.Random(f"{seed} {number}")
            self._cache(trial, draw) if kind == "cache" else self._model(kind, trial, draw)
            yield self.report

    def _model(self, form: str, trial: str, draw: random.Random) -> None:
        copy = self.folder / "copy"
        shutil.copytree(self._forms()[form], copy)
        name, way = damage(copy, draw)
        trial = f"{trial}: {form}, {way}, {name}"
        try:
            found = answers(copy, self.whole)
        except MuomniError as error:
            self._refused(form, trial, error.what, error.fix)
        except Exception as error:
            self._count(form, "fault", f"{trial}: {type(error).__name__}: {str(error)[:300]}")
        else:
            self._count(
                form, *(("same answers", "") if found == self.expected[form] else ("fault", f"{trial}: other answers"))
            )
        shutil.rmtree(copy)

    def _cache(self, trial: str, draw: random.Random) -> None:
        """A training from damaged prepared data: it says so, or it ends with the weights of the whole ones."""
        copy = self.folder / "copy"
        shutil.copytree(self.world, copy, ignore=shutil.ignore_patterns("runs"))
        name, way = damage(copy / "cache", draw)
        trial = f"{trial}: cache, {way}, {name}"
        stage = "thinker" if name.startswith("shards") else "all"
        done = run(copy, "train", stage, "small.toml")
        same = all(
            same_tensors(path, self.world / path.relative_to(copy))
            for path in (copy / "runs").rglob("best.safetensors")
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith(("error: ", "  fix: ", "Traceback"))]
            self._refused("cache", trial, "\n".join(lines[:-1]).removeprefix("error: "), "".join(lines[-1:]))
        elif not same:
            self._count("cache", "fault", f"{trial}: other weights, exit code 0")
        else:
            self._count("cache", "same answers", "")
        shutil.rmtree(copy)

    def _refused(self, form: str, trial: str, what: str, fix: str) -> None:
        wrong = not what or not fix or "\n" in what + fix or "a bug of muomni" in what or "Traceback" in what
        self._count(form, "fault" if wrong else "refused", f"{trial}: {what!r} {fix!r}" if wrong else "")

    def _count(self, form: str, outcome: str, fault: str) -> None:
        self.report.counts[f"{form}, {outcome}"] += 1
        if fault:
            self.report.faults.append(fault)


def main() -> int:
    parser = argparse.ArgumentParser(description="damage files of models and prepared data")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND", help="run, bundle, trained or cache")
    chosen = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        (whole := Path(folder) / "whole").mkdir()
        with redirect_stdout(sys.stderr):  # stdout has the report alone
            trials = Trials(make_whole(whole), Path(folder))
        for report in trials.run(chosen.count, chosen.seed, [chosen.only] if chosen.only else None):
            print(f"{sum(report.counts.values())} corruptions, {len(report.faults)} faults", file=sys.stderr)
    print(json.dumps(report.as_dict(), indent=2))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())

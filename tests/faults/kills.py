"""Kill a training at any moment, go on, and compare with one that was never stopped.

    python -m tests.faults.kills --count 100 --seed 0

A trial trains every stage of :mod:`tests.faults.small`, one after the other or two at a time, is stopped by a signal
once or several times at random moments, and resumed to its end. It fails if a stopped process prints a traceback, exits
with another code, leaves a process or an unfinished folder behind, or if any weight differs in one bit from those of
the training that was never stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from safetensors.numpy import load_file

from tests.faults.small import environment, make_world, muomni, run

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
GRACE = 3.0
"""Seconds within which a stopped command is to be gone."""
PATIENCE = 60.0
TRAIN = ("train", "all", "small.toml")
WAYS = {"one by one": (), "two at a time": ("--jobs", "2")}


@dataclass(slots=True)
class Report:
    """What happened, by kind, and what should not have."""

    kills: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def fault(self, trial: str, text: str) -> None:
        self.faults.append(f"{trial}: {text}")

    def as_dict(self) -> dict[str, object]:
        return {
            "kills": self.kills,
            "by kind": dict(sorted(self.counts.items())),
            "slowest stop, seconds": round(self.slowest, 2),
            "faults": self.faults,
        }


def processes_of(session: int) -> list[int]:
    """Processes that belong to the session of that number and still run, from /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def handles_signals(pid: int) -> bool:
    """Whether that process handles SIGTERM, from /proc. Before Python has loaded the program, the system ends it."""
    try:
        caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    except (OSError, IndexError):  # it has ended
        return True
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def weights(folder: Path) -> dict[str, bytes]:
    """Every tensor of every last checkpoint, as bytes."""
    return {
        f"{path.parent.name}/{name}": tensor.tobytes()
        for path in sorted((folder / "runs" / "small").glob("*/last.safetensors"))
        for name, tensor in load_file(path).items()
    }


def unfinished(folder: Path) -> list[str]:
    """What was written under a temporary name and never finished."""
    return [
        str(path.relative_to(folder)) for path in sorted((folder / "cache").rglob(".*")) if path.name != ".lock"
    ] + [str(path.relative_to(folder)) for path in sorted((folder / "runs").rglob(".*tmp*"))]


class Trial:
    """One training that is stopped and resumed."""

    def __init__(
        self, report: Report, draw: random.Random, name: str, folder: Path, whole: Path, seconds: float
    ) -> None:
        self.report, self.draw, self.name, self.folder = report, draw, name, folder
        self.seconds = seconds
        shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("runs", "cache", "config"))
        if draw.random() < 0.5:  # else the data are prepared, too
            shutil.copytree(whole / "cache", folder / "cache")
        self.way = draw.choice(list(WAYS))

    def words(self) -> tuple[str, ...]:
        """The command that begins or, once there is a run, goes on."""
        resumed = ("--resume",) if (self.folder / "runs" / "small" / "recipe.toml").exists() else ()
        return (*TRAIN, *WAYS[self.way], *resumed)

    def stop(self) -> None:
        """Begin or go on, and be stopped at a random moment."""
        number = self.draw.choice(SIGNALS)
        moment = self.draw.uniform(0.0, self.seconds)
        log = self.folder / "log.txt"
        with log.open("w+") as told:
            process = subprocess.Popen(
                muomni(*self.words()),
                cwd=self.folder,
                env=environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                start_new_session=True,
            )
            with_children = number == signal.SIGKILL or (number == signal.SIGINT and self.draw.random() < 0.5)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                self._signal(process, number, with_children=with_children)
            told.flush()
        self._look(process, number, log.read_text())

    def _signal(self, process: subprocess.Popen[bytes], number: signal.Signals, *, with_children: bool) -> None:
        """To the process alone, as a supervisor does, or to all of its session, as a terminal does."""
        while number != signal.SIGKILL and process.poll() is None and not handles_signals(process.pid):
            time.sleep(0.005)
        if process.returncode is not None:  # it has ended meanwhile
            return
        sent = time.monotonic()
        (os.killpg if with_children else os.kill)(process.pid, number)
        self.report.kills += 1
        self.report.counts[f"{number.name}, {self.way}"] += 1
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.report.fault(self.name, f"{number.name} did not end it within {PATIENCE:.0f} s")
        while processes_of(process.pid) and time.monotonic() - sent < PATIENCE:
            time.sleep(0.02)
        if number != signal.SIGKILL:
            self.report.slowest = max(self.report.slowest, time.monotonic() - sent)
        for orphan in processes_of(process.pid):
            self.report.fault(self.name, f"{number.name} left a process behind")
            os.kill(orphan, signal.SIGKILL)
        process.wait()

    def _look(self, process: subprocess.Popen[bytes], number: signal.Signals, told: str) -> None:
        code = process.returncode
        if code not in (0, -signal.SIGKILL if number == signal.SIGKILL else 128 + number):
            self.report.fault(self.name, f"{number.name}: exit code {code}\n{told[-1500:]}")
        if "Traceback" in told or "a bug of muomni" in told:
            self.report.fault(self.name, f"{number.name}: a traceback\n{told[-1500:]}")
        if number != signal.SIGKILL and (left := unfinished(self.folder)):
            self.report.fault(self.name, f"{number.name}: left {', '.join(left)}")

    def finish(self, expected: dict[str, bytes]) -> None:
        """Go on to the end, and compare."""
        done = run(self.folder, *self.words())
        if done.returncode:
            self.report.fault(self.name, f"it does not go on: {done.returncode}\n{done.stderr[-1500:]}")
            return
        found = weights(self.folder)
        if different := [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]:
            self.report.fault(self.name, f"other weights: {', '.join(sorted(different)[:5])} ({len(different)} in all)")
        if left := unfinished(self.folder):
            self.report.fault(self.name, f"a finished training has left {', '.join(left)}")


def trials(count: int, seed: int, folder: Path) -> Iterator[Report]:
    """Trials until ``count`` kills; the report after each."""
    whole = make_world(folder / "whole")
    begun = time.monotonic()
    done = run(whole, *TRAIN)
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - begun
    expected = weights(whole)
    report, number = Report(), 0
    while report.kills < count:
        draw = random.Random(f"{seed} {number}")
        name = f"seed {seed}, trial {number}"
        trial = Trial(report, draw, name, folder / "trial", whole, seconds)
        for _ in range(min(draw.choice([1, 1, 2, 3]), count - report.kills)):
            trial.stop()
        trial.finish(expected)
        shutil.rmtree(folder / "trial")
        number += 1
        yield report


def main() -> int:
    parser = argparse.ArgumentParser(description="kill trainings at random moments and resume them")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup would have it ignored by all that is started
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        for report in trials(chosen.count, chosen.seed, Path(folder)):
            print(f"{report.kills} kills, {len(report.faults)} faults", file=sys.stderr)
    print(json.dumps(report.as_dict(), indent=2))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())

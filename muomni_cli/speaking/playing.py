"""Samples to the loudspeaker, through whatever player the system has. Knows programs, not who speaks."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray

from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.speaking.writing import Write, streamed, writing

PLAYERS: dict[str, Callable[[int], list[str]]] = {
    "aplay": lambda rate: ["aplay", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", f"{rate}", "-"],
    "paplay": lambda rate: ["paplay", "--raw", "--format=s16le", "--channels=1", f"--rate={rate}"],
    "pw-play": lambda rate: ["pw-play", "--format=s16", "--channels=1", f"--rate={rate}", "-"],
    "ffplay": lambda rate: [
        "ffplay",
        "-v",
        "error",
        "-nodisp",
        "-autoexit",
        "-f",
        "s16le",
        "-ar",
        f"{rate}",
        "-i",
        "-",
    ],
    "play": lambda rate: ["play", "-q", "-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", f"{rate}", "-"],
}
"""Programs that play 16-bit samples from their stdin, in the order in which they are looked for."""

FILES = "afplay"
"""What macOS has; it plays files only."""


def find_player() -> str:
    """The first player that is installed. RequestError if there is none."""
    names = [*PLAYERS, FILES]
    found = next((name for name in names if shutil.which(name)), None)
    if found is None:
        raise RequestError(
            "there is no program that plays sound", f"install one of: {', '.join(names)}; or write a file with -o"
        )
    return found


@contextmanager
def playing(player: str, rate: int) -> Iterator[Write]:
    """What plays samples as they come; at the end it waits until all has been heard.

    Raises:
        MuomniError: the player failed; says what it said.
    """
    if player == FILES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            with writing(path, rate) as write:
                yield write
            _finished(subprocess.Popen([player, str(path)], stderr=subprocess.PIPE), player)
        return
    process = subprocess.Popen(
        PLAYERS[player](rate), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    feeder = _Feeder(process, player, rate)
    try:
        yield feeder.take
        feeder.finish()
        _finished(process, player)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        feeder.finish()
        if process.stderr is not None:
            process.stderr.close()


class _Feeder:
    """Hands samples to a player at the pace at which it plays, while more are made."""

    def __init__(self, process: subprocess.Popen[bytes], player: str, rate: int) -> None:
        assert process.stdin is not None
        self._process, self._player, self._pipe = process, player, process.stdin
        self._write = streamed(self._pipe, rate, raw=True)
        self._queue: SimpleQueue[NDArray[np.float32] | None] = SimpleQueue()
        self._gone = Event()
        self._thread = Thread(target=self._feed, daemon=True)
        self._thread.start()

    def take(self, samples: NDArray[np.float32]) -> None:
        """Play these after those before. MuomniError if the player has gone."""
        if self._gone.is_set():
            _finished(self._process, self._player)
            raise MuomniError(f"{self._player} stopped before the end", "write a file instead")
        self._queue.put(samples)

    def finish(self) -> None:
        """Wait until the player has taken all."""
        self._queue.put(None)
        self._thread.join()

    def _feed(self) -> None:
        with suppress(OSError):  # what the player says of it comes with its end
            while (samples := self._queue.get()) is not None:
                self._write(samples)
        self._gone.set()
        with suppress(OSError):
            self._pipe.close()


def _finished(process: subprocess.Popen[bytes], player: str) -> None:
    """Wait until all is played. MuomniError if it was not."""
    assert process.stderr is not None
    with process.stderr as pipe:
        told = pipe.read()
    if process.wait():
        lines = told.decode(errors="replace").strip().splitlines()
        raise MuomniError(
            f"{player} could not play: {lines[-1] if lines else f'exit code {process.returncode}'}",
            "look at the sound system, or write a file with -o instead",
        )

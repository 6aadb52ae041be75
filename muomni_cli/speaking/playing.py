"""Samples to the loudspeaker, through whatever player the system has. Knows programs, not who speaks."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muomni_cli.errors import MuomniError, RequestError
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
    assert process.stdin is not None
    write = streamed(process.stdin, rate, raw=True)

    def play(samples: NDArray[np.float32]) -> None:
        try:
            write(samples)
        except BrokenPipeError as error:
            _finished(process, player)
            raise MuomniError(f"{player} stopped before the end", "write a file with -o instead") from error

    try:
        yield play
        _finished(process, player)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _finished(process: subprocess.Popen[bytes], player: str) -> None:
    """Wait until all is played. MuomniError if it was not."""
    _, told = process.communicate()
    if process.returncode:
        lines = told.decode(errors="replace").strip().splitlines()
        raise MuomniError(
            f"{player} could not play: {lines[-1] if lines else f'exit code {process.returncode}'}",
            "look at the sound system, or write a file with -o instead",
        )

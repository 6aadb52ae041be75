"""Samples to everywhere they shall go at once, and what is told of it meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.speaking.playing import find_player, playing
from muomni_cli.speaking.speech import Speech
from muomni_cli.speaking.writing import STDOUT, Write, check_output, writing

EVERY = 0.25
"""Seconds between two changes of what the terminal shows."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Where samples go: to a file or stdout, to the loudspeaker, or both.

    Raises:
        RequestError: nowhere, or there is no such way.
    """

    output: Path | None = None
    raw: bool = False
    play: bool = False

    def __post_init__(self) -> None:
        if self.output is None and not self.play:
            raise RequestError("the speech would go nowhere", "write it with -o out.wav, or hear it with --play")
        if self.output is not None:
            check_output(self.output, raw=self.raw)
        if self.play:
            find_player()

    @classmethod
    def beside_text(cls, output: Path | None, play: bool) -> Ways | None:
        """Where the speech goes of a command whose stdout is text; None for a silent one. RequestError as above."""
        if output is None and not play:
            return None
        if output == STDOUT:
            raise RequestError("text and speech both want stdout", "write the speech to a file: --speak out.wav")
        return cls(output, play=play)

    @property
    def named(self) -> str | None:
        """The file that is written; None where there is none."""
        return None if self.output in (None, STDOUT) else str(self.output)

    @contextmanager
    def open(self, rate: int) -> Iterator[Write]:
        """What takes samples to all of them. Errors as of :func:`writing` and :func:`playing`."""
        with ExitStack() as stack:
            ways: list[Write] = []
            if self.output is not None:
                ways.append(stack.enter_context(writing(self.output, rate, raw=self.raw)))
            if self.play:
                ways.append(stack.enter_context(playing(find_player(), rate)))

            def write(samples: NDArray[np.float32]) -> None:
                for way in ways:
                    way(samples)

            yield write


def send(samples: Iterable[NDArray[np.float32]], write: Write, speech: Speech) -> None:
    """Take all of ``samples`` where they shall go, telling on a terminal how far they are.

    Raises:
        RequestError: there are none.
    """
    shown = sys.stderr is not None and sys.stderr.isatty()
    told = time.perf_counter()
    try:
        for piece in samples:
            write(piece)
            if shown and time.perf_counter() - told > EVERY:
                told = time.perf_counter()
                print(f"\r{progress(speech)}\x1b[K", end="", file=sys.stderr, flush=True)
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    speech.require()


def progress(speech: Speech) -> str:
    """How much has been spoken, and how fast."""
    rate = 1 / speech.factor if speech.factor else 0.0
    return f"{speech.seconds:.1f} s of speech, {rate:.1f} times as fast as it is heard"


def stats_line(speech: Speech) -> str:
    """The figures of ``--stats``."""
    first = f"first audio after {1000 * speech.first:.0f} ms" if speech.first is not None else "no audio"
    return f"real-time factor {speech.factor:.3f}, {first}, {speech.frames} code frames"


def tell(speech: Speech, ways: Ways, max_seconds: float) -> None:
    """What was spoken, on stderr, and whether it was cut."""
    if speech.cut:
        say(f"stopped after {max_seconds:g} seconds, before the end of the text; --max-seconds allows more")
    say(f"wrote {ways.named}: {progress(speech)}" if ways.named else f"spoke {progress(speech)}")

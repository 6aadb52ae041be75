"""Answers spoken while they are still being thought. Knows voices and streams, no model and no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from muomni_cli.contract.speech import Manner, Said
from muomni_cli.core.console import say
from muomni_cli.speaking.aloud import Ways, stats_line
from muomni_cli.speaking.speech import Drawing, Speech

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from muomni_cli.speaking.voice import Voice
    from muomni_cli.speaking.writing import Write


@dataclass(slots=True)
class Mouth:
    """What speaks answers, one after the other.

    Args:
        voice: who speaks.
        manner: how.
        ways: where to: a file gets all answers of its :meth:`session`, the loudspeaker each as it comes.
    """

    voice: Voice
    manner: Manner
    ways: Ways
    _file: Write | None = field(default=None, init=False)

    @contextmanager
    def session(self) -> Iterator[None]:
        """While the file is written, which is there at the end."""
        if self.ways.output is None:
            yield
            return
        with replace(self.ways, play=False).open(self.voice.sample_rate) as self._file:
            yield
        self._file = None
        say(f"wrote {self.ways.output}")

    def speak(self, pieces: Iterable[Said], *, seed: int, stats: bool) -> None:
        """Speak ``pieces`` as they come. They are all taken, also what cannot be spoken any more."""
        taken = iter(pieces)
        speech = Speech(self.voice.sample_rate)
        samples = self.voice.say(taken, self.manner, Drawing(seed), speech)
        if self.ways.play:
            with replace(self.ways, output=None).open(self.voice.sample_rate) as play:
                for piece in samples:
                    self._write(piece, play)
        else:
            for piece in samples:
                self._write(piece)
        for _ in taken:
            pass
        if not speech.samples:
            say("(nothing of this answer can be spoken)")
        elif stats:
            say(f"({stats_line(speech)})")

    def _write(self, piece: NDArray[np.float32], play: Write | None = None) -> None:
        for way in (self._file, play):
            if way is not None:
                way(piece)


REPEATED = "(the answer was ended before it repeated itself; --no-loop-guard lets it go on)"
"""Said of an answer that the loop guard ended."""


def shown(pieces: Iterable[Said], show: Callable[[str], None]) -> Iterator[Said]:
    """``pieces`` as they come, each shown before it is given out."""
    for piece in pieces:
        show(piece.text)
        yield piece


def deliver(
    pieces: Iterable[Said], show: Callable[[str], None], mouth: Mouth | None, *, seed: int, stats: bool
) -> None:
    """Show an answer as it comes and, with a ``mouth``, speak it meanwhile."""
    if mouth is not None:
        mouth.speak(shown(pieces, show), seed=seed, stats=stats)
        return
    for _ in shown(pieces, show):
        pass

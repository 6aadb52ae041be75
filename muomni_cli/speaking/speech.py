"""How a text shall be spoken, and what has been spoken so far: all that can be checked before a model is opened."""

from __future__ import annotations

from dataclasses import dataclass

from muomni_cli.contract.speech import Manner
from muomni_cli.core.errors import RequestError


@dataclass(frozen=True, slots=True)
class Drawing:
    """How code frames are drawn.

    Args:
        seed: of the random numbers.
        temperature: 0 takes the most likely code; None is what the Talker's own config says, else 0.
        max_seconds: longest speech.
    """

    seed: int = 0
    temperature: float | None = None
    max_seconds: float = float("inf")

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise RequestError(f"seed is {self.seed}", "seed must be 0 or more")
        if self.temperature is not None and not 0 <= self.temperature < float("inf"):
            raise RequestError(f"temperature is {self.temperature:g}", "temperature must be 0 or more")
        if not self.max_seconds > 0:
            raise RequestError(f"max_seconds is {self.max_seconds:g}", "max_seconds must be more than 0")


@dataclass(slots=True)
class Speech:
    """What has been spoken so far.

    ``first``: seconds until the first samples were there; None before. ``busy``: seconds that making them took, without
    what others did with them. ``cut``: it was longer than allowed.
    """

    rate: int
    samples: int = 0
    frames: int = 0
    first: float | None = None
    busy: float = 0.0
    cut: bool = False

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.samples / self.rate

    @property
    def factor(self) -> float:
        """Real-time factor: seconds of work for a second of sound; 0 before there is any."""
        return self.busy / self.seconds if self.samples else 0.0

    def require(self) -> None:
        """Raises RequestError if nothing was spoken."""
        if not self.samples:
            raise RequestError(
                "nothing in the text can be spoken", "write words in Latin letters, numbers or common signs"
            )


def checked_speed(speed: float) -> float:
    """``speed``. RequestError if it is out of range."""
    Manner(speed=speed).require_speed()
    return speed

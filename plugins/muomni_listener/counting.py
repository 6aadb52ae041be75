"""How many tokens a sound makes, from its length alone. Knows no torch."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from muomni_listener.config import ListenerConfig


def count(config: ListenerConfig, inputs: NDArray[Any]) -> int:
    """Tokens of one sound, (N,) samples."""
    return config.heard(len(inputs))

"""Examples for a person to see and hear: which of them, and their inputs as files again. Knows arrays, no model."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from muomni_cli.evaluation.subject import Subject

SPREAD, WRONG = 4, 4
"""Samples from all over, and of those that went wrong, in a card."""
RGB = 3
LOUDEST = 32767


def worth_showing(right: Sequence[bool]) -> list[int]:
    """Places of a few examples from all over, and of a few more that are wrong, in order."""
    spread = np.linspace(0, len(right) - 1, min(SPREAD, len(right))).astype(int).tolist() if right else []
    wrong = [place for place, one in enumerate(right) if not one and place not in spread]
    return sorted({*spread, *wrong[:WRONG]})


def as_seen(subject: Subject, modality: str, inputs: NDArray[Any]) -> dict[str, bytes]:
    """What an encoder read, as ``picture`` or ``sound``; nothing where it is neither."""
    if inputs.ndim == RGB and inputs.shape[0] == RGB and inputs.dtype == np.uint8:
        return {"picture": picture(inputs)}
    chosen = subject.recipe.encoders.get(modality)
    rate = getattr(chosen.config, "sample_rate", None) if chosen else None
    if inputs.ndim == 1 and isinstance(rate, int):
        return {"sound": sound(inputs, rate)}
    return {}


def picture(pixels: NDArray[np.uint8]) -> bytes:
    """(3,H,W) -> PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG")
    return file.getvalue()


def sound(samples: NDArray[Any], rate: int) -> bytes:
    """(N,) samples from -1 to 1 -> WAV, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(samples, -1, 1) * LOUDEST).round().astype("<i2").tobytes())
    return file.getvalue()

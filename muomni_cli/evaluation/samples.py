"""Samples for the report: which examples are shown, and their inputs as PNG and WAV files."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe

EVENLY_SPACED, WRONG = 4, 4
"""Samples taken evenly from all examples of a metric, and further ones from the wrong answers."""
RGB = 3
FULL_SCALE = 32767


def select_samples(right: Sequence[bool]) -> list[int]:
    """Indices of the examples to show, in order, given which answers are right."""
    spread = np.linspace(0, len(right) - 1, min(EVENLY_SPACED, len(right))).astype(int).tolist() if right else []
    wrong = [index for index, one in enumerate(right) if not one and index not in spread]
    return sorted({*spread, *wrong[:WRONG]})


def media_of(recipe: Recipe, modality: str, inputs: NDArray[Any]) -> dict[str, bytes]:
    """The input of an encoder as ``picture`` (PNG) or ``sound`` (WAV); empty if it is neither."""
    if inputs.ndim == RGB and inputs.shape[0] == RGB and inputs.dtype == np.uint8:
        return {"picture": png(inputs)}
    chosen = recipe.encoders.get(modality)
    rate = getattr(chosen.config, "sample_rate", None) if chosen else None
    if inputs.ndim == 1 and isinstance(rate, int):
        return {"sound": wav(inputs, rate)}
    return {}


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(3,H,W) -> PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(file, "PNG")
    return file.getvalue()


def wav(samples: NDArray[Any], rate: int) -> bytes:
    """(N,) samples between -1 and 1 -> WAV file, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(samples, -1, 1) * FULL_SCALE).round().astype("<i2").tobytes())
    return file.getvalue()

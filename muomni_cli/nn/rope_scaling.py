"""Rotary frequencies (arXiv:2104.09864), plain or stretched to longer contexts. Imports no torch: configs use it.

Three ways to stretch are in use: dividing all frequencies (``linear``, arXiv:2306.15595), Llama 3.1's, which divides
only the low ones (``llama3``), and YaRN (``yarn``, arXiv:2309.00071), which also scales the attention scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from muomni_cli.contract.declarations import Factor, PartConfig

Context = Annotated[int, Field(gt=0, le=1 << 24)]


class RopeScaling(PartConfig):
    """How a model's rotary frequencies differ from those of its first training, a table of a part's config."""

    kind: Literal["linear", "llama3", "yarn"] = Field("linear", description="which frequencies are divided")
    factor: Factor = Field(1.0, description="how many times longer the context became")
    original_ctx_len: Context = Field(2048, description="context of the first training (llama3, yarn)")
    low_freq_factor: Factor = Field(
        1.0, description="llama3: waves longer than original_ctx_len over this are stretched by the whole factor"
    )
    high_freq_factor: Factor = Field(
        4.0, description="llama3: waves shorter than original_ctx_len over this stay as they were"
    )
    beta_fast: Factor = Field(
        32.0, description="yarn: waves that turn more often in original_ctx_len stay as they were"
    )
    beta_slow: Factor = Field(1.0, description="yarn: waves that turn less often are stretched by the whole factor")
    truncate: bool = Field(True, description="yarn: round the range between the two to whole dimensions")
    attention_factor: Factor | None = Field(
        None, description="yarn: factor of rotated queries and of keys (unset: 0.1 ln(factor) + 1)"
    )

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        if self.kind == "llama3" and self.low_freq_factor >= self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor {self.low_freq_factor:g} must be below high_freq_factor {self.high_freq_factor:g}"
            )
        return self

    @property
    def amplitude(self) -> float:
        """Factor of the cosines and sines."""
        if self.kind != "yarn":
            return 1.0
        if self.attention_factor is not None:
            return self.attention_factor
        return 0.1 * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0


def rotary_frequencies(head_dim: int, theta: float, scaling: RopeScaling | None = None) -> list[float]:
    """The ``head_dim / 2`` angles per position in radians, the fastest first."""
    half = head_dim // 2
    plain = [theta ** (-index / half) for index in range(half)]
    if scaling is None:
        return plain
    if scaling.kind == "linear":
        return [frequency / scaling.factor for frequency in plain]
    if scaling.kind == "llama3":
        return [_llama3(frequency, scaling) for frequency in plain]
    return _yarn(plain, head_dim, theta, scaling)


def _llama3(frequency: float, scaling: RopeScaling) -> float:
    turns = scaling.original_ctx_len * frequency / (2 * math.pi)  # in the first training's context
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = min(max((turns - low) / (high - low), 0.0), 1.0)
    return (1 - kept) * frequency / scaling.factor + kept * frequency


def _yarn(plain: Sequence[float], head_dim: int, theta: float, scaling: RopeScaling) -> list[float]:
    def dimension(turns: float) -> float:
        """The dimension that turns so often in the first training's context."""
        return head_dim * math.log(scaling.original_ctx_len / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    if low == high:
        high += 0.001  # no width is a step
    stretched = [min(max((index - low) / (high - low), 0.0), 1.0) for index in range(len(plain))]
    return [f / scaling.factor * part + f * (1 - part) for f, part in zip(plain, stretched, strict=True)]

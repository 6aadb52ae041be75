"""What parts agree on about sound: the settings of a mel spectrogram, and what a file is read into. No torch, no numpy.

A codec carries its mel settings with it and a vocoder is built with the codec's, so neither ever guesses them.
"""

from __future__ import annotations

from typing import Protocol, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from muomni_cli.contract.declarations import PartConfig


class MelSettings(Protocol):
    """What a log-mel spectrogram is made with; see :class:`MelConfig` for the meanings."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def n_fft(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def hop(self) -> int: ...
    @property
    def n_mels(self) -> int: ...
    @property
    def f_min(self) -> float: ...
    @property
    def top(self) -> float: ...
    @property
    def mel_floor(self) -> float: ...


class ReadSettings(Protocol):
    """What a sound file is read into: ``sample_rate``, from ``shortest`` samples to ``max_seconds``."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def max_seconds(self) -> float: ...
    @property
    def shortest(self) -> int: ...


class MelConfig(PartConfig):
    """A table of a part's config that makes or takes log-mel spectrograms."""

    sample_rate: int = Field(16000, ge=4000, le=48000, description="samples a second")
    n_fft: PositiveInt = Field(1024, description="length of the Fourier transform, in samples")
    window: PositiveInt = Field(640, description="length of the Hann window inside n_fft, in samples (even)")
    hop: PositiveInt = Field(160, description="samples from one mel frame to the next")
    n_mels: PositiveInt = Field(128, description="mel bins F")
    f_min: NonNegativeFloat = Field(0.0, description="where the lowest mel bin begins, in Hz")
    f_max: PositiveFloat | None = Field(
        None, description="where the highest mel bin ends, in Hz (unset: half of sample_rate)"
    )
    mel_floor: PositiveFloat = Field(
        1e-5, description="added to the power before the logarithm: what is quieter counts as silence"
    )

    @property
    def top(self) -> float:
        """Where the highest mel bin ends, in Hz."""
        return self.sample_rate / 2 if self.f_max is None else self.f_max

    @model_validator(mode="after")
    def _mel_fits(self) -> Self:
        if mistake := MelConfig.mistake_in(self):
            raise ValueError(mistake)
        return self

    @staticmethod
    def mistake_in(settings: MelSettings) -> str:
        """Why the settings do not go together; empty if they do."""
        if settings.window % 2:
            return f"window {settings.window} must be even, so that a frame has a sample at its centre"
        if not settings.hop <= settings.window <= settings.n_fft:
            return (
                f"hop {settings.hop}, window {settings.window} and n_fft {settings.n_fft} must not be smaller than the "
                "one before"
            )
        if not settings.f_min < settings.top <= settings.sample_rate / 2:
            return (
                f"f_min {settings.f_min:g} and f_max {settings.top:g} must rise and stay within half of sample_rate, "
                f"{settings.sample_rate / 2:g} Hz"
            )
        return ""

"""Codecs of waveforms, and what all codecs have in common: those of log-mel are in :mod:`muomni_cli.contract.speech`.

Shapes: B batch, N samples, T code frames, Q codebooks, K codebook size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from muomni_cli.contract.speech import CodeShape

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from muomni_cli.contract.speech import ArrayStream


class WaveCodec(Protocol):
    """Samples to codes and back, without a log-mel or a vocoder (``CodecPart.waveform``). Also an ``nn.Module``."""

    config: Any

    @property
    def sample_rate(self) -> int: ...
    @property
    def frame(self) -> int: ...  # samples per code frame
    @property
    def codebooks(self) -> int: ...  # Q
    @property
    def codebook_size(self) -> int: ...  # K, the same for all codebooks

    def encode(self, waves: Tensor) -> Tensor:
        """(B, frame*T) samples, full scale 1 -> (B,T,Q) int64 codes. What follows a code frame does not change it, but
        that the first 8 may depend on each other; silence after T frames changes nothing."""

    def decode(self, codes: Tensor) -> Tensor:
        """(B,T,Q) codes -> (B, frame*T) samples. What follows a code frame does not change its samples, but that the
        first 8 may depend on each other: streams decode so many at once."""


class WaveCodecRunner(Protocol):
    """A :class:`WaveCodec`'s graphs, run without PyTorch (``CodecPart.runner``)."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def frame(self) -> int: ...  # samples per code frame
    @property
    def codebook_size(self) -> int: ...  # K, the same for all codebooks

    def encode(self, wave: NDArray[Any]) -> NDArray[Any]:
        """(N,) samples -> (T,Q) int64 codes; the last frame is padded with silence."""

    def stream(self) -> ArrayStream:
        """Chunks of (T,Q) codes -> (N,) samples."""


def is_waveform(codec: Any) -> bool:
    """Whether a codec, or what runs it, is one of waveforms."""
    return not hasattr(codec, "mel")


def sample_rate_of(codec: Any) -> int:
    """Samples a second of any codec, or of what runs it."""
    return int(codec.sample_rate if is_waveform(codec) else codec.mel.sample_rate)


def samples_per_frame(codec: Any) -> int:
    """Samples of a code frame of any codec, or of what runs it."""
    return int(codec.frame if is_waveform(codec) else codec.frame * codec.mel.hop)


def code_shape(codec: Any) -> CodeShape:
    """The sizes of any codec that a Talker is built for."""
    return CodeShape(codec.codebooks, codec.codebook_size, samples_per_frame(codec) / sample_rate_of(codec))

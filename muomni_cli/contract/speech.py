"""Protocols of audio parts (codecs, vocoders, Talkers, aligners) and their common log-mel settings.

A codec owns its mel settings and a vocoder is built with those of the codec, so both always agree. Shapes: B batch,
T code frames, M mel frames, N samples, F mel bins, Q codebooks, K codebook size, L characters, D Thinker width.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import Field, model_validator

from muomni_cli.contract.declarations import Depth, Factor, PartConfig, Width
from muomni_cli.contract.models import Word
from muomni_cli.core.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Sampler = Callable[["NDArray[Any]"], int]
"""Draws one code from (K,) logits: greedily, or by temperature with the host's random generator."""
SPEEDS = (0.5, 2.0)  # slowest and fastest speech, relative to the voice's own
VOICE_SPEEDS = (0.9, 1.1)  # asked of a Talker; the rest of slower speech and all of faster is stretched
FEWEST, MOST, EACH = 50, 1000, 30  # limits on the code frames of a text: 30 per token, but at least 50 and at most 1000
EACH_LETTER = 6  # code frames, where that is more than by tokens


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a Talker may say: (T,Q) codes of ``text`` in the ``voice`` of that name; empty for its first one."""

    text: str
    voice: str
    codes: NDArray[np.int64]


class MelSettings(Protocol):
    """Settings of a log-mel spectrogram; see :class:`MelConfig`."""

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
    @property
    def mel_clip(self) -> bool: ...
    @property
    def spectrum(self) -> str: ...
    @property
    def filters(self) -> str: ...
    @property
    def log(self) -> str: ...
    @property
    def padding(self) -> str: ...


class ReadSettings(Protocol):
    """How audio is read: at ``sample_rate``, from ``shortest`` samples to ``max_seconds``."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def max_seconds(self) -> float: ...
    @property
    def shortest(self) -> int: ...


class MelConfig(PartConfig):
    """Log-mel settings, a table of a part's config."""

    sample_rate: int = Field(16000, ge=4000, le=48000, description="samples a second")
    n_fft: Width = Field(1024, description="length of the Fourier transform, in samples")
    window: Width = Field(640, description="length of the Hann window inside n_fft, in samples (even)")
    hop: Width = Field(160, description="samples from one mel frame to the next")
    n_mels: Depth = Field(128, description="mel bins F")
    f_min: float = Field(0.0, ge=0, le=24_000, description="where the lowest mel bin begins, in Hz")
    f_max: float | None = Field(
        None, gt=0, le=24_000, description="where the highest mel bin ends, in Hz (unset: half of sample_rate)"
    )
    mel_floor: Factor = Field(
        1e-5, description="added to the power before the logarithm: what is quieter counts as silence"
    )
    mel_clip: bool = Field(
        False, description="whether mel_floor is the least value before the logarithm, and is not added to others"
    )
    spectrum: Literal["power", "magnitude"] = Field("power", description="what the mel filters add up")
    filters: Literal["htk", "slaney"] = Field(
        "htk", description="mel filters: on the HTK mel scale with peak 1, or on Slaney's with equal areas"
    )
    log: Literal["ln", "log10"] = Field("ln", description="logarithm: natural, or to the base 10")
    padding: Literal["zeros", "reflect"] = Field("zeros", description="what lies beyond both ends of a sound")

    @property
    def silent_level(self) -> float:
        """The log-mel of digital silence."""
        return math.log10(self.mel_floor) if self.log == "log10" else math.log(self.mel_floor)

    def unlike(self, other: MelConfig) -> list[str]:
        """Names of the settings in which two log-mels differ."""
        differ = [name for name in MelConfig.model_fields if getattr(self, name) != getattr(other, name)]
        return [name for name in differ if name != "f_max" or self.top != other.top]

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
        """Why the settings are inconsistent; empty if they are consistent."""
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


def require_mel(vocoder: str, own: MelConfig, given: MelConfig) -> None:
    """RequestError if a vocoder that was trained on the log-mel ``own`` is to be used with another one."""
    if mistake := mel_mistake(vocoder, own, given):
        raise RequestError(*mistake)


def mel_mistake(vocoder: str, own: MelConfig, given: MelConfig) -> tuple[str, str] | None:
    """What is wrong with a codec's log-mel ``given`` for a vocoder that was trained on ``own``, and what to do; None if
    nothing is."""
    if not (names := own.unlike(given)):
        return None
    differ = ", ".join(f"{name} {getattr(given, name)} instead of {getattr(own, name)}" for name in names)
    wanted = ", ".join(f"{name} = {json.dumps(own.top if name == 'f_max' else getattr(own, name))}" for name in names)
    return f"the vocoder {vocoder} was trained on another log-mel than the codec's: {differ}", (
        f"set in the codec's table mel: {wanted}"
    )


def most_frames(tokens: int, letters: int = 0, speed: float = 1.0) -> int:
    """Upper limit on the code frames of a text: 30 per token or 6 per letter, whichever is more, but at least 50 and at
    most 1000; for another speed, as many as last equally long. Talkers that count words pass the number of words."""
    return round(max(FEWEST, min(MOST, max(EACH * tokens, EACH_LETTER * letters))) / speed)


class TensorStream(Protocol):
    """Streaming through a module: the concatenated outputs equal the output for the whole input."""

    def push(self, piece: Tensor) -> Tensor:
        """Feed a chunk (B,T,F) and return the output that is now final; may be empty."""

    def finish(self) -> Tensor:
        """Return the rest of the output after the last chunk."""


class ArrayStream(Protocol):
    """:class:`TensorStream` without PyTorch, for a single sequence; reusable after :meth:`finish`."""

    def push(self, piece: NDArray[Any]) -> NDArray[Any]:
        """Feed a chunk (T, ...) and return the output that is now final; may be empty."""

    def finish(self) -> NDArray[Any]:
        """Return the rest of the output after the last chunk."""


class CodecRunner(Protocol):
    """A codec's graphs, run without PyTorch (``CodecPart.runner``)."""

    @property
    def mel(self) -> MelConfig: ...  # log-mel settings of its output
    @property
    def frame(self) -> int: ...  # mel frames per code frame
    @property
    def codebook_size(self) -> int: ...  # K, the same for all codebooks

    def encode(self, wave: NDArray[Any]) -> NDArray[Any]:
        """(N,) samples -> (T,Q) int64 codes; the last frame is padded with silence."""

    def stream(self) -> ArrayStream:
        """Chunks of (T,Q) codes -> (M,F) log-mel."""


class VocoderRunner(Protocol):
    """A vocoder's graphs, run without PyTorch (``VocoderPart.runner``)."""

    def stream(self) -> ArrayStream:
        """Chunks of (M,F) log-mel -> (N,) samples."""


class Codec(Protocol):
    """Mel spectrograms to codes and back. Also an ``nn.Module``."""

    config: Any

    @property
    def mel(self) -> MelConfig:
        """Log-mel settings of its input and output; see :class:`muomni_cli.audio.mel.LogMel`."""

    @property
    def frame(self) -> int: ...  # mel frames per code frame
    @property
    def codebooks(self) -> int: ...  # Q
    @property
    def codebook_size(self) -> int: ...  # K, the same for all codebooks

    def windows(self, mel: Tensor) -> Tensor:
        """(B, frame*T, F) log-mel -> (B,T,F): the mel frames of each code frame as one vector."""

    def encode(self, frames: Tensor) -> Tensor:
        """(B,T,F) -> (B,T,Q) int64 codes."""

    def decode(self, codes: Tensor) -> Tensor:
        """(B,T,Q) codes -> (B,T,F)."""

    def expand(self, frames: Tensor) -> Tensor:
        """(B,T,F) -> (B, frame*T, F) log-mel."""

    def stream(self, batch: int = 1) -> TensorStream:
        """Streaming :meth:`expand`: chunks of (B,T,F)."""


class Vocoder(Protocol):
    """Log-mel to samples. Also an ``nn.Module``. Built for a codec's mel settings; ``hop`` samples per mel frame."""

    def __call__(self, mel: Tensor) -> Tensor:
        """(B,M,F) log-mel -> (B, hop*M) samples, full scale 1."""

    def stream(self, batch: int = 1) -> TensorStream:
        """The same for chunks of (B,M,F)."""


@dataclass(frozen=True, slots=True)
class CodeShape:
    """A codec's output as a Talker sees it: Q codebooks of size K, and the seconds per frame."""

    codebooks: int
    size: int
    seconds: float

    @staticmethod
    def most_frames(tokens: int, letters: int = 0, speed: float = 1.0) -> int:
        """See :func:`most_frames`."""
        return most_frames(tokens, letters, speed)


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A chunk of the text to speak. ``hidden``: (D,) Thinker state that produced it, if any."""

    text: str
    hidden: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """A word as it is written, and when it is spoken, in code frames since the start of the speech: from the beginning
    of its first sound to the end of its last one. Fractions of a frame are allowed."""

    text: str
    start: float
    end: float


@dataclass(slots=True)
class SpeechReport:
    """How a text is spoken.

    ``skipped``: pieces of the text that have no spoken form, each once, in order. ``cut``: a sentence ended at the
    limit on code frames. ``limits``: those of the complete sentences, if the Talker reports them. ``spans``: the
    written words that are spoken, in order, each once all frames of it have been yielded; a Talker that does not
    know its times leaves it empty. The host derives ``words`` from it: the same words in seconds of the audio, each
    once the audio is there.
    """

    skipped: dict[str, None] = field(default_factory=dict)
    cut: bool = False
    limits: list[int] = field(default_factory=list)
    spans: list[FrameSpan] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """A voice by name (the first if None), a speed relative to the voice's own, and where the Talker reports what it
    leaves out. ``together``: its frames may be decoded in one batch with those of other speeches, in any threads, as
    far as that does not change the codes of any."""

    voice: str | None = None
    speed: float = 1.0
    together: bool = False
    report: SpeechReport = field(default_factory=SpeechReport, compare=False, repr=False)

    def require_speed(self) -> None:
        """Raise RequestError if the speed is outside of :data:`SPEEDS`."""
        if not SPEEDS[0] <= self.speed <= SPEEDS[1]:
            raise RequestError(f"speed is {self.speed:g}", f"speed must be from {SPEEDS[0]:g} to {SPEEDS[1]:g}")


class SpeechGenerator(Protocol):
    """Text to code frames, in PyTorch or from exported graphs."""

    @property
    def voices(self) -> Sequence[str]: ...  # names of the voices that it was trained with

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
    ) -> Iterator[NDArray[Any]]:
        """Yield int64 code frames (n,Q) as early as possible; ``text`` is read lazily. Chunk boundaries of the text do
        not change the result. Raises RequestError: unknown voice."""


class Talker(SpeechGenerator, Protocol):
    """:class:`SpeechGenerator` in PyTorch. Also an ``nn.Module``."""

    config: Any

    def __call__(self, codes: Tensor) -> tuple[Tensor, ...]:
        """(B,T,Q) codes of the previous frames -> logits of each codebook's next code, Q times (B,T,K), without any
        text (unconditional)."""


@dataclass(frozen=True, slots=True)
class CharSpan:
    """Characters ``start_char`` to ``end_char`` (exclusive) of a text, and when they are spoken, in seconds."""

    start_char: int
    end_char: int
    start: float
    end: float


class Aligner(Protocol):
    """An encoder with the head that its own stage trains, which aligns text with its audio. From ``EncoderPart.align``
    it is also an ``nn.Module``, in evaluation mode; from ``EncoderPart.runner`` it needs no PyTorch."""

    def align(self, inputs: Sequence[NDArray[Any]], texts: Sequence[str]) -> list[list[CharSpan] | None]:
        """Inputs, as ``EncoderPart.read`` returns them, and their transcripts -> times of all characters that it can
        spell, in order and without a gap between the first and the last. None for a text that does not fit its audio.
        """

    def fit(self, inputs: NDArray[Any], texts: Sequence[str]) -> list[float]:
        """How well each text fits one input: log-probability per character, relative to what is heard best, at most
        about 0. ``-inf`` for a text that the input is too short for, or of which no character can be spelled."""


class SpokenExamples(Protocol):
    """Speech data of one side of the split, for training Talkers; row i is one utterance."""

    @property
    def codes(self) -> Sequence[NDArray[Any]]: ...  # (T,Q) each, memory-mapped

    @property
    def char_times(self) -> Sequence[NDArray[Any]]:
        """(L+1,) each: start time of every character in seconds, and the end of the last."""

    @property
    def texts(self) -> Sequence[str]: ...  # spoken form of the texts, L characters each
    @property
    def written(self) -> Sequence[str]: ...  # the original texts
    @property
    def voices(self) -> Sequence[str]: ...  # speakers
    def __len__(self) -> int: ...

    def batch(self, step: int, batch_size: int) -> list[int]:
        """Indices of batch ``step``, of similar lengths: a pure function of the seed and both arguments."""

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        """All indices once, in order of length."""


class SpokenData(Protocol):
    """Speech data, split."""

    @property
    def train(self) -> SpokenExamples: ...
    @property
    def val(self) -> SpokenExamples: ...


class SpeechProgram(Protocol):
    """A program that speaks text in one of several voices, for training data (see
    :class:`muomni_cli.contract.declarations.SpeechProgramPart`). Works in several processes at once."""

    @property
    def file(self) -> Path | None:
        """The file that decides what it says, for fingerprints; None if it is not installed."""

    def require(self, voices: Collection[str]) -> None:
        """RequestError with the way to install it: it is not installed, or lacks one of the voices."""

    def say(self, text: str, voice: str, stretch: float, pitch: float) -> tuple[NDArray[np.float32], int]:
        """Speak printable English: samples (N,), full scale 1, and their rate in Hz. The same arguments give the same
        samples. ``stretch`` and ``pitch`` are duration and pitch, relative to the voice's own. Raises RequestError: the
        text cannot be spoken."""


class Synthesizer(Protocol):
    """A TTS system that generates training data (``DatasetPart.synthesizer``)."""

    @property
    def voice(self) -> str: ...  # name of the voice

    def say(self, text: str) -> bytes:
        """Audio file of the text. Thread-safe. Raises RequestError: the text cannot be spoken."""

"""Protocols of audio parts (codecs, vocoders, Talkers, aligners) and the settings of the log-mel spectrogram that they
share.

A codec carries its mel settings with it and a vocoder is built with those of the codec, so both always agree.

Shapes: B batch, T code frames, M mel frames, N samples, F mel bins, Q codebooks, K codebook size, L characters, D
width of a Thinker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from muomni_cli.contract.declarations import PartConfig
from muomni_cli.core.errors import RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Sampler = Callable[["NDArray[Any]"], int]
"""Draws one code from (K,) logits: greedily, or by temperature from the host's own random numbers."""

SPEEDS = (0.5, 2.0)
"""Slowest and fastest speech, relative to the voice's own."""

FEWEST, MOST, EACH = 50, 1000, 30
"""The bound on code frames of a text: 30 a token, but from 50 to 1000."""


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


def most_frames(tokens: int) -> int:
    """The specification's estimate of the code frames of a text, which is a bound: 30 a token, but from 50 to 1000.
    Where a Talker counts words, they are what a token is."""
    return max(FEWEST, min(MOST, EACH * tokens))


class TensorStream(Protocol):
    """Something on its way through a module, piece by piece. All pieces that come out, joined, are what the module
    makes of the whole."""

    def push(self, piece: Tensor) -> Tensor:
        """Take (B,T,F), give what is sure with it; may be of length 0."""
        ...

    def finish(self) -> Tensor:
        """What is left when no more comes."""
        ...


class ArrayStream(Protocol):
    """:class:`TensorStream` without PyTorch, for one sound at a time; after its end another begins."""

    def push(self, piece: NDArray[Any]) -> NDArray[Any]:
        """Take (T, ...), give what is sure with it; may be of length 0."""
        ...

    def finish(self) -> NDArray[Any]:
        """What is left when no more comes."""
        ...


class CodecRunner(Protocol):
    """A codec's graphs, run without PyTorch (``CodecPart.runner``)."""

    @property
    def mel(self) -> MelConfig:
        """The log-mel that it gives."""
        ...

    @property
    def frame(self) -> int:
        """Mel frames of a code frame."""
        ...

    @property
    def codebook_size(self) -> int:
        """K, the same for each."""
        ...

    def encode(self, wave: NDArray[Any]) -> NDArray[Any]:
        """(N,) samples -> (T,Q) codes, int64; the last frame is filled up with silence."""
        ...

    def stream(self) -> ArrayStream:
        """(T,Q) codes that come in pieces -> (M,F) log-mel."""
        ...


class VocoderRunner(Protocol):
    """A vocoder's graphs, run without PyTorch (``VocoderPart.runner``)."""

    def stream(self) -> ArrayStream:
        """(M,F) log-mel that comes in pieces -> (N,) samples."""
        ...


class Codec(Protocol):
    """Mel spectrograms to codes and back. Also an ``nn.Module``. ``frame`` mel frames are one code frame."""

    config: Any

    @property
    def mel(self) -> MelConfig:
        """The log-mel that it takes and gives; see :class:`muomni_cli.audio.mel.LogMel`."""
        ...

    @property
    def frame(self) -> int:
        """Mel frames of a code frame."""
        ...

    @property
    def codebooks(self) -> int:
        """Q."""
        ...

    @property
    def codebook_size(self) -> int:
        """K, the same for each."""
        ...

    def windows(self, mel: Tensor) -> Tensor:
        """(B, frame*T, F) log-mel -> (B,T,F): each code frame's window as one vector."""
        ...

    def encode(self, frames: Tensor) -> Tensor:
        """(B,T,F) -> (B,T,Q) codes, int64."""
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """(B,T,Q) codes -> (B,T,F)."""
        ...

    def expand(self, frames: Tensor) -> Tensor:
        """(B,T,F) -> (B, frame*T, F) log-mel."""
        ...

    def stream(self, batch: int = 1) -> TensorStream:
        """:meth:`expand` of (B,T,F) that comes in pieces."""
        ...


class Vocoder(Protocol):
    """Log-mel to samples. Also an ``nn.Module``. Built for the mel settings of a codec; ``hop`` samples a mel frame."""

    def __call__(self, mel: Tensor) -> Tensor:
        """(B,M,F) log-mel -> (B, hop*M) samples, full scale 1."""
        ...

    def stream(self, batch: int = 1) -> TensorStream:
        """The same of (B,M,F) that comes in pieces."""
        ...


@dataclass(frozen=True, slots=True)
class CodeShape:
    """What a Talker must know of a codec: Q codebooks of K codes each, so many seconds a frame."""

    codebooks: int
    size: int
    seconds: float

    @staticmethod
    def most_frames(tokens: int) -> int:
        """The most code frames of a text of so many tokens; see :func:`most_frames`."""
        return most_frames(tokens)


@dataclass(frozen=True, slots=True)
class TextChunk:
    """A piece of the text to be spoken, as it comes: the characters, and what the Thinker thought of them.

    ``hidden``: (D,) state that chose this piece, if a Thinker did.
    """

    text: str
    hidden: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """How to speak: a voice by name (the first if None), and how fast, relative to the voice's own speed."""

    voice: str | None = None
    speed: float = 1.0

    def require_speed(self) -> None:
        """Raises RequestError if the speed is out of :data:`SPEEDS`."""
        if not SPEEDS[0] <= self.speed <= SPEEDS[1]:
            raise RequestError(f"speed is {self.speed:g}", f"speed must be from {SPEEDS[0]:g} to {SPEEDS[1]:g}")


class SpeechGenerator(Protocol):
    """Text to code frames, whatever runs it."""

    @property
    def voices(self) -> Sequence[str]:
        """Names of the voices that it was trained with."""
        ...

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
    ) -> Iterator[NDArray[Any]]:
        """Code frames (n,Q), int64, as soon as they can be made; ``text`` is asked for more only when more is needed.
        How the text is cut into pieces changes nothing.

        Raises:
            RequestError: there is no such voice.
        """
        ...


class Talker(SpeechGenerator, Protocol):
    """A :class:`SpeechGenerator` of PyTorch. Also an ``nn.Module``."""

    config: Any

    def __call__(self, codes: Tensor) -> tuple[Tensor, ...]:
        """(B,T,Q) codes of the frames before -> logits of each codebook's next code, Q times (B,T,K). Without any
        text: what it would babble."""
        ...


@dataclass(frozen=True, slots=True)
class CharSpan:
    """When characters ``start_char`` to ``end_char`` (not included) of a text were said: seconds from the start of its
    sound."""

    start_char: int
    end_char: int
    start: float
    end: float


class Aligner(Protocol):
    """An encoder with the head that its own stage trains, which finds where in a sound its text was said
    (``EncoderPart.align``). Also an ``nn.Module``, in evaluation mode."""

    def align(self, inputs: Sequence[NDArray[Any]], texts: Sequence[str]) -> list[list[CharSpan] | None]:
        """When each character that it can spell was said; spans of one sound are in order, do not overlap and leave no
        time out between the first and the last. None where a text cannot be said in its sound.

        Args:
            inputs: as ``EncoderPart.read`` gives them.
            texts: what is said in each.
        """
        ...


class SpokenExamples(Protocol):
    """One side of the split of speech as a Talker learns it; row i is one utterance."""

    @property
    def codes(self) -> Sequence[NDArray[Any]]:
        """(T,Q) of each, memory-mapped."""
        ...

    @property
    def char_times(self) -> Sequence[NDArray[Any]]:
        """(L+1,) of each: seconds at which each character of its text begins, and at which the last one ends."""
        ...

    @property
    def texts(self) -> Sequence[str]:
        """What is spoken, L characters each."""
        ...

    @property
    def written(self) -> Sequence[str]:
        """The texts that it was made of."""
        ...

    @property
    def voices(self) -> Sequence[str]:
        """Who speaks."""
        ...

    def __len__(self) -> int: ...

    def batch(self, step: int, batch_size: int) -> list[int]:
        """Indices of batch number ``step``, of about equal length: a pure function of the seed and both numbers."""
        ...

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        """All indices once, from the shortest to the longest."""
        ...


class SpokenData(Protocol):
    """Both sides."""

    @property
    def train(self) -> SpokenExamples: ...

    @property
    def val(self) -> SpokenExamples: ...


class Synthesizer(Protocol):
    """Somebody to learn to speak from (``DatasetPart.synthesizer``): any text, said as it is written."""

    @property
    def voice(self) -> str:
        """Its name."""
        ...

    def say(self, text: str) -> bytes:
        """A sound file of the text. May be called by several threads at once.

        Raises:
            RequestError: it cannot say that.
        """
        ...

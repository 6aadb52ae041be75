"""What evaluation asks of a trained model, whatever runs it: a run with PyTorch, or what a runtime opened without.

Shapes: N samples, T tokens or code frames, D width, M mel frames, F mel bins, Q codebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from muomni_cli.contract.models import Answers, Tokenizer
from muomni_cli.contract.sound import MelConfig
from muomni_cli.data.shares import Sense
from muomni_cli.generation import Backend

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from muomni_cli.speaking.voice import Voice

Aloud = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]
"""A vocoder: (M,F) log-mel -> (N,) samples."""


class Joint(Protocol):
    """The Thinker with its encoders, as the omni stage left them."""

    @property
    def context(self) -> int:
        """Most tokens in one sequence."""
        ...

    def backend(self) -> Backend[Any]:
        """A new one, which knows of no pictures and sounds yet."""
        ...

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """One input, as ``EncoderPart.read`` gives it -> (T,D) tokens as wide as the Thinker's embeddings."""
        ...


class Sizes(Protocol):
    """Of a codec: what its cards are measured in."""

    @property
    def mel(self) -> MelConfig:
        """The log-mel that it takes and gives."""
        ...

    @property
    def frame(self) -> int:
        """Mel frames of a code frame."""
        ...

    @property
    def codebook_size(self) -> int:
        """K."""
        ...


class Coder(Protocol):
    """A trained codec, one sound at a time."""

    def encode(self, wave: NDArray[Any]) -> NDArray[Any]:
        """(N,) samples -> (T,Q) codes, the last frame filled up with silence."""
        ...

    def decode(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """(T,Q) codes -> (M,F) log-mel."""
        ...


class Examined(Protocol):
    """A trained model. Parts are opened when they are asked for; what :meth:`missing` names is not asked for."""

    @property
    def label(self) -> str:
        """What to call it."""
        ...

    def missing(self, stage: str) -> str:
        """Why a stage of the recipe cannot be asked, after its name: ``is not trained``; empty if it can."""
        ...

    def tokenizer(self) -> Tokenizer:
        """The Thinker's."""
        ...

    def text(self, stage: str, batches: int, task: str) -> Mapping[str, float]:
        """What the Thinker measures on held-out text.

        Args:
            stage: whose weights: ``thinker`` or ``omni``.
            batches: of windows, as many as its stage trains at a time; 0 for all.
            task: the source that the text is of.
        """
        ...

    def answers(self, stage: str) -> Answers:
        """The encoder with the head that its own stage trained."""
        ...

    @property
    def senses(self) -> Mapping[str, Sense]:
        """What the omni stage tuned the Thinker to take, in the order in which it stands before the text."""
        ...

    def joint(self) -> Joint:
        """What the omni stage tuned."""
        ...

    def sizes(self) -> Sizes:
        """Of the codec, trained or not."""
        ...

    def codec(self) -> Coder:
        """The codec."""
        ...

    def vocoder(self) -> Aloud | None:
        """Its own, if it is trained or needs no training."""
        ...

    def any_vocoder(self) -> Aloud | None:
        """Its own, or else one that needs no training, if there is one."""
        ...

    def voice(self) -> Voice:
        """What speaks."""
        ...

"""What a sentence needs of a model to be spoken: four functions of plain arrays, whoever computes them.

Knows no torch: the same sentences are spoken by the PyTorch model (:mod:`muomni_talker.torch_engine`) and by its
exported graphs (:mod:`muomni_talker.graph_engine`).

Shapes: S symbols, U slots, T frames, W width of features, D width of frames, Dh of a Thinker, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from muomni_cli.api import Choose, CodeShape
from muomni_talker.config import SpeakerConfig


class Engine(Protocol):
    """A Talker that is ready to speak. States and memories are the engine's own: they may lie on a device."""

    @property
    def config(self) -> SpeakerConfig: ...
    @property
    def codes(self) -> CodeShape: ...
    @property
    def voices(self) -> Sequence[str]: ...
    @property
    def thinker_width(self) -> int:
        """Dh; 0 if it hears no Thinker."""
        ...

    @property
    def causal(self) -> bool:
        """Whether frames are told one after the other (:meth:`step`) or all at once (:meth:`whole`)."""
        ...

    def read(
        self, ids: NDArray[Any], voice: int, thoughts: NDArray[Any] | None, kept: slice
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """(S,) symbols and (S,Dh) thoughts -> (n,W) features and (n,) expected slots of the symbols ``kept``."""
        ...

    def plan(self, features: NDArray[Any], pointer: NDArray[Any]) -> NDArray[Any]:
        """(S,W) features and (U,3) symbol, elapsed and left of each slot -> (T,D) what each frame is to say."""
        ...

    def begin(self) -> Any:
        """The memory of a sentence of which nothing was told."""
        ...

    def step(self, before: NDArray[Any], plan: NDArray[Any], memory: Any) -> Any:
        """(Q,) codes of the frame before, (D,) plan and the memory, which is kept up -> the frame's state."""
        ...

    def whole(self, plan: NDArray[Any]) -> Sequence[Any]:
        """(T,D) plan of a sentence -> the state of each frame."""
        ...

    def draw(self, state: Any, choose: Choose) -> NDArray[Any]:
        """A frame's state -> (Q,) int64 codes, each chosen given those before it."""
        ...

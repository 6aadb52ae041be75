"""What the generation loop asks of whatever runs the model. Knows numpy, no framework."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IDLE = -1
"""In place of a token: this row is finished and takes nothing."""

State = TypeVar("State")


class Backend(Protocol[State]):
    """Runs a Thinker one token at a time for a batch of B rows. ``State`` is its own: what it remembers of the rows."""

    @property
    def context(self) -> int:
        """Most tokens a row can hold."""
        ...

    def remember(self, rows: NDArray[np.float32]) -> list[int]:
        """Take (T,D) embeddings of a picture or a sound; gives the negative ids that stand for them in prompts."""
        ...

    def begin(self, prompts: Sequence[Sequence[int]], capacity: int) -> tuple[State, NDArray[np.float32]]:
        """Read the prompts, with room for ``capacity`` tokens a row.

        Returns:
            The state, and logits (B,V) for the first new token of each row.
        """
        ...

    def step(self, state: State, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Add (B,) ``tokens`` to the rows and give logits (B,V) for the next; rows given :data:`IDLE` stay as they are
        and their logits mean nothing."""
        ...

    def hidden(self, state: State) -> NDArray[np.float32]:
        """(B,D) states behind the logits that were given last: what the Thinker thought as it chose the next tokens.
        Those of rows that were :data:`IDLE` mean nothing. Only where the backend was told to keep them."""
        ...

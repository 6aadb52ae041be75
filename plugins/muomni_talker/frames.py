"""The inference interface of a Talker, and the frames of several sentences decoded together. Needs numpy only.

Shapes: B rows, S symbols, U slots, T frames, W width of features, D width of frames, Dh of a Thinker, Q codebooks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import CodeShape, Lockstep, LockstepRow, Sampler
from muomni_talker.plugin import TalkerBaseConfig

MOST_ROWS = 16  # in one step; those that have the fewest frames in store come first
AHEAD = 4  # frames that are decoded for a row, at most, before its consumer takes one


class Engine(Protocol):
    """Inference interface of a Talker. States and memories are opaque and may live on a device."""

    config: TalkerBaseConfig
    codes: CodeShape
    voices: Sequence[str]
    thinker_width: int  # Dh; 0 without a Thinker
    causal: bool  # whether frames are decoded one by one (:meth:`step`) or all at once (:meth:`whole`)

    def read(
        self, ids: NDArray[Any], voice: int, hidden_states: NDArray[Any], kept: slice
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """(S,) symbols and (S,Dh) Thinker states -> (n,W) features and (n,) mean durations of the symbols ``kept``."""

    def plan(self, features: NDArray[Any], alignment: NDArray[Any]) -> NDArray[Any]:
        """(S,W) features and (U,3) symbol, elapsed and left of each slot -> (T,D) conditioning of each frame."""

    def begin(self) -> Any:
        """An empty KV cache for a new sentence."""

    def step(self, before: NDArray[Any], plan: NDArray[Any], memories: Sequence[Any]) -> Any:
        """(B,Q) previous codes, (B,D) plan and the KV caches (updated in place), which may hold any numbers of frames
        -> the states of B frames."""

    def whole(self, plan: NDArray[Any]) -> Any:
        """(T,D) plan of a sentence -> the states of its T frames."""

    def draw(self, states: Any, samplers: Sequence[Sampler]) -> NDArray[Any]:
        """The states of B frames -> (B,Q) int64 codes, each drawn by the sampler of its row given those before it."""

    @property
    def rows(self) -> int:
        """How many rows a step may have without changing the codes of any."""

    @property
    def batch(self) -> FrameBatch:
        """The one in which the frames of all speeches meet that are decoded together."""


class FrameRow(LockstepRow[NDArray[Any]]):
    """A sentence in a :class:`FrameBatch`. Its events are the (Q,) codes of frames."""

    def __init__(self, memory: Any, codebooks: int, sampler: Sampler) -> None:
        super().__init__()
        self.memory, self.sampler = memory, sampler
        self.before = np.zeros(codebooks, np.int64)
        self.plans: deque[NDArray[Any]] = deque()  # of the frames to decode, (D,) each


class FrameBatch(Lockstep[FrameRow, NDArray[Any]]):
    """Decodes the frames of sentences together; each joins and leaves at any frame. A row whose next frame is not
    planned yet, since its text is still being written, takes part in no step.

    Args:
        engine: computes them.
        most: rows in one step.
    """

    def __init__(self, engine: Engine, most: int = 1) -> None:
        super().__init__()
        self._engine, self._most = engine, most
        self._rows: list[FrameRow] = []
        self._stepped: list[FrameRow] = []  # in this step, or the last one

    def join(self, sampler: Sampler) -> FrameRow:
        """A row for a new sentence."""
        row = FrameRow(self._engine.begin(), self._engine.codes.codebooks, sampler)
        with self._turn:
            self._rows = [*self._rows, row]
        return row

    def leave(self, row: FrameRow) -> None:
        """The row takes part in no further step."""
        with self._turn:
            row.abandoned = True
            self._rows = [one for one in self._rows if one is not row]

    def decode(self, row: FrameRow, plan: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """(T,D) plan of the next frames of a row -> the (Q,) codes of each."""
        row.plans.extend(plan)
        for _ in plan:
            yield self.next_event(row)

    def _members(self) -> list[FrameRow]:
        return self._rows

    def _fail(self, error: BaseException) -> None:
        for row in self._stepped:
            row.error = error

    def _ready(self) -> list[FrameRow]:
        """The rows of the next step. The list of rows is never changed, only replaced, so it needs no lock here."""
        ready = [row for row in self._rows if row.plans and len(row.events) < AHEAD and not row.over]
        return ready if len(ready) <= self._most else sorted(ready, key=lambda row: len(row.events))[: self._most]

    def _step(self) -> None:
        rows = self._stepped = self._ready()
        before, plan = np.array([row.before for row in rows]), np.array([row.plans[0] for row in rows])
        states = self._engine.step(before, plan, [row.memory for row in rows])
        drawn = self._engine.draw(states, [row.sampler for row in rows])
        for row, codes in zip(rows, drawn, strict=True):
            row.plans.popleft()
            row.before = codes
            row.events.append(codes)

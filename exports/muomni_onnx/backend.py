"""The generation loop's backend over onnxruntime. Knows graphs and numpy, no PyTorch.

Rows run one by one, each with a cache of its own, so rows of any lengths give what each gives alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.generation.backend import IDLE
from muomni_onnx.sessions import Session

FIRST_SOFT = -2
"""The first id that stands for an embedding; -1 is IDLE."""
PAST = "past"
"""The axis along which a cache of keys and values grows."""


@dataclass(slots=True)
class Row:
    """The tokens a row holds, what the graph remembers of them, and what it gave last."""

    ids: list[int] = field(default_factory=list)
    states: dict[str, NDArray[Any]] = field(default_factory=dict)
    logits: NDArray[np.float32] | None = None
    hidden: NDArray[np.float32] | None = None


class OnnxBackend:
    """A :class:`muomni_cli.generation.backend.Backend` over the graphs ``embed`` and ``thinker``.

    Args:
        embed: ``input_ids`` -> ``inputs_embeds``.
        thinker: ``inputs_embeds`` and states -> ``logits``, ``hidden`` and states.
        entry: what the manifest says of ``thinker``.
        context: most tokens a row can hold.
        keep: remember the rows after a request, so that a prompt that begins alike runs only what is new.
        hidden: keep the states behind the last logits, for :meth:`hidden`.
    """

    def __init__(
        self,
        embed: Session,
        thinker: Session,
        entry: Mapping[str, Any],
        context: int,
        *,
        keep: bool = False,
        hidden: bool = False,
    ) -> None:
        self._embed, self._thinker, self._context = embed, thinker, context
        self._states: Mapping[str, str] = entry["states"]
        self._axes: Mapping[str, list[int | str]] = entry["inputs"]
        self._wanted = ["logits", *(["hidden"] if hidden else []), *self._states.values()]
        self._keep = keep and all(PAST in self._axes[name] for name in self._states)
        self._kept: list[Row] = []
        self._soft: list[NDArray[np.float32]] = []

    @property
    def context(self) -> int:
        """Most tokens a row can hold."""
        return self._context

    def remember(self, rows: NDArray[np.float32]) -> list[int]:
        """See :class:`muomni_cli.generation.backend.Backend`."""
        first = FIRST_SOFT - len(self._soft)
        self._soft += list(rows)
        return list(range(first, first - len(rows), -1))

    def begin(
        self,
        prompts: Sequence[Sequence[int]],
        capacity: int,  # noqa: ARG002 - caches grow
    ) -> tuple[list[Row], NDArray[np.float32]]:
        """See :class:`muomni_cli.generation.backend.Backend`."""
        rows = self._kept if len(self._kept) == len(prompts) else [Row() for _ in prompts]
        self._kept = []
        for row, prompt in zip(rows, prompts, strict=True):
            self._cut(row, _shared(row.ids, prompt))
            self._add(row, prompt[len(row.ids) :])
        self._kept = rows if self._keep else []
        return rows, _logits(rows)

    def step(self, state: list[Row], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.generation.backend.Backend`."""
        for row, token in zip(state, tokens.tolist(), strict=True):
            if token != IDLE:
                self._add(row, [token])
        return _logits(state)

    def hidden(self, state: list[Row]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.generation.backend.Backend`."""
        rows = [row.hidden for row in state if row.hidden is not None]
        assert len(rows) == len(state), "only where they are kept"
        return np.stack(rows)

    def _cut(self, row: Row, count: int) -> None:
        """Forget all but the row's first ``count`` tokens."""
        row.ids = row.ids[:count]
        if not row.states:
            row.states = {name: np.zeros(self._empty(name), np.float32) for name in self._states}
            return
        for name, held in row.states.items():
            axis = self._axes[name].index(PAST)
            row.states[name] = held[(slice(None),) * axis + (slice(count),)]

    def _empty(self, name: str) -> list[int]:
        """The shape of a state of one row that holds nothing."""
        return [axis if isinstance(axis, int) else 0 if axis == PAST else 1 for axis in self._axes[name]]

    def _add(self, row: Row, new: Sequence[int]) -> None:
        """Run ``new`` tokens of one row."""
        made = self._thinker({"inputs_embeds": self._embeds(new), **row.states}, self._wanted)
        row.ids = [*row.ids, *new]
        row.states = {past: made[present] for past, present in self._states.items()}
        row.logits = made["logits"][0, -1]
        row.hidden = made["hidden"][0, -1] if "hidden" in made else None

    def _embeds(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Ids, some of them soft -> (1,T,D)."""
        array = np.array([ids], np.int64)
        embeds: NDArray[np.float32] = self._embed({"input_ids": array.clip(min=0)})["inputs_embeds"]
        for place in np.flatnonzero(array[0] < 0).tolist():
            embeds[0, place] = self._soft[FIRST_SOFT - ids[place]]
        return embeds


def _logits(rows: Sequence[Row]) -> NDArray[np.float32]:
    """(B,V) of what each row gave last."""
    return np.stack([row.logits for row in rows if row.logits is not None])


def _shared(held: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens of ``prompt`` need not be run again: all that begin alike, but never its last."""
    limit = min(len(held), len(prompt) - 1)
    return next((place for place in range(limit) if held[place] != prompt[place]), limit)

"""Rows that run together: what each holds, and what the graph remembers of all of them. Knows numpy.

Shapes: B rows of a group, S tokens that its states hold, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from muomni_onnx.sessions import Session, Value, fetch

BATCH = "batch"
"""The axis of rows."""
PAST = "past"
"""The axis along which a cache of keys and values grows."""
CARRIED = 0.25
"""Largest share of a group's rows that may rest before they are left behind: that copies the states of the others."""


@dataclass(slots=True, eq=False)
class Row:
    """The tokens a row holds, what the graph gave after the last of them, and where in a group its states lie."""

    ids: list[int] = field(default_factory=list)
    logits: NDArray[np.float32] | None = None  # (V,)
    hidden: NDArray[np.float32] | None = None  # (D,)
    group: Group | None = None
    place: int = 0


@dataclass(slots=True, eq=False)
class Group:
    """States of B rows at once, each of ``length`` tokens as :meth:`States.held` counts them; the last of a row that
    rests mean nothing."""

    rows: list[Row]
    states: dict[str, Value]
    length: int

    def __post_init__(self) -> None:
        for place, row in enumerate(self.rows):
            row.group, row.place = self, place


class States:
    """Makes groups of rows, for the states of one graph.

    Args:
        session: the graph.
        axes: input -> its axes, some of them names.
        names: the inputs that are states.
    """

    def __init__(self, session: Session, axes: Mapping[str, Sequence[int | str]], names: Sequence[str]) -> None:
        self._session, self._axes, self._names = session, axes, list(names)
        self.batched = all(BATCH in axes[name] for name in names)
        """Whether rows can run together."""
        self.cuttable = all(PAST in axes[name] for name in names)
        """Whether the last tokens of a row can be forgotten."""
        self.grows = any(PAST in axes[name] for name in names)
        """Whether rows that run together must hold equally many tokens."""

    def held(self, row: Row) -> int:
        """What must be alike in rows that run together: the tokens they hold, or whether they hold any where states
        are of one size."""
        return len(row.ids) if self.grows else min(len(row.ids), 1)

    def regroup(self, parts: Sequence[Sequence[Row]]) -> list[Group]:
        """A group for each of these parts, whose rows hold equally many tokens: the one they are already, or a new one.

        Rows that were in a group with some of them, and are in none of the parts, may lose their group.
        """
        before = {id(row.group): row.group for rows in parts for row in rows if row.group is not None}
        groups = [self._group(rows) for rows in parts]
        for group in groups:
            before.pop(id(group), None)
        for left in before.values():
            for row in left.rows:
                if row.group is left:
                    row.group = None
        return groups

    def _group(self, rows: Sequence[Row]) -> Group:
        held, length = rows[0].group, self.held(rows[0])
        if held is not None and held.length == length and self._serves(held, rows):
            return held
        states = {name: self._session.put(self._gather(name, rows, length)) for name in self._names}
        return Group(list(rows), states, length)

    def _serves(self, held: Group, rows: Sequence[Row]) -> bool:
        """Whether a group can run as it is: it is made of these rows, but for a few that rest and are carried along."""
        if any(row.group is not held for row in rows):
            return False
        resting = len(held.rows) - len(rows)
        return not resting or (self.cuttable and resting < CARRIED * len(held.rows))

    def _gather(self, name: str, rows: Sequence[Row], length: int) -> NDArray[np.generic]:
        """One state of the first ``length`` tokens of ``rows``, wherever they lie."""
        axes = self._axes[name]
        if length == 0:
            fresh = {BATCH: len(rows), PAST: 0}
            shape = [axis if isinstance(axis, int) else fresh.get(axis, 1) for axis in axes]
            return np.zeros(shape, self._session.type(name))
        batch = axes.index(BATCH) if self.batched else None
        arrays: dict[int, NDArray[np.generic]] = {}  # each group's once, for it may lie on a device
        pieces = []
        for row in rows:
            assert row.group is not None, "a row that holds tokens has them in a group"
            if id(row.group) not in arrays:
                arrays[id(row.group)] = fetch(row.group.states[name])
            array = arrays[id(row.group)]
            part = [slice(None)] * len(axes)
            if self.cuttable:
                part[axes.index(PAST)] = slice(length)
            if batch is not None:
                part[batch] = slice(row.place, row.place + 1)
            pieces.append(array[tuple(part)])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, batch)

"""The generation loop's backend over onnxruntime, and the batching of its rows.

Rows with as many new tokens run in one call, if the graph takes ``padding`` or its states have a fixed size; otherwise
they must also hold as many. Batching changes a row's logits by up to 1e-5: a larger matrix product sums in another
order.

Shapes: B rows, T tokens, S places of a cache, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import PADDED_ROW
from muomni_onnx.sessions import GraphSession, Value, fetch

BATCH = "batch"  # the axis of rows
PAST = "past"  # the axis along which a key/value cache grows
PADDING = "padding"  # the input that says how many of a row's places in the cache are empty
CARRIED = 0.25  # largest share of padded rows, or of empty places, in a group; with more, the states are gathered anew
FIRST_MEDIA_ID = -2  # the first id of a media embedding; -1 is PADDED_ROW
LOGITS = 2**24  # most per call, 64 MiB: graphs return those of every token, so long prompts run in chunks


@dataclass(slots=True, eq=False)
class RowGroup:
    """The states of B rows, which end at the same place. The last entries of a padded row are meaningless."""

    rows: list[Row]
    states: dict[str, Value]
    length: int  # places of the cache, S; for states of fixed size, whether there are tokens

    def __post_init__(self) -> None:
        for place, row in enumerate(self.rows):
            row.group, row.place = self, place

    @property
    def padding(self) -> NDArray[np.int64]:
        """(B,) how many places before each row's states are empty."""
        return np.array([row.begin for row in self.rows], np.int64)


@dataclass(slots=True, eq=False)
class Row:
    """A row's tokens, the outputs after the last of them, and the place of its states in a group."""

    ids: list[int] = field(default_factory=list)
    logits: NDArray[np.float32] | None = None  # (V,)
    hidden: NDArray[np.float32] | None = None  # (D,)
    group: RowGroup | None = None
    place: int = 0
    begin: int = 0  # where its states begin among the places of the group


class States:
    """Groups rows, and gathers their states. ``axes``: of each input of ``session``, as sizes or names; ``names``: the
    inputs that are states."""

    def __init__(self, session: GraphSession, axes: Mapping[str, Sequence[int | str]], names: Sequence[str]) -> None:
        self._session, self._axes, self._names = session, axes, list(names)
        # whether rows can run together; be cut to fewer tokens; must hold equally many tokens to run together
        self.batched = all(BATCH in axes[name] for name in names)
        self.cuttable = all(PAST in axes[name] for name in names)
        self.grows = any(PAST in axes[name] for name in names)
        self.padded = self.batched and self.cuttable and PADDING in axes

    def held(self, row: Row) -> int:
        """The length of a group of this row alone."""
        return len(row.ids) if self.grows else min(len(row.ids), 1)

    def key(self, row: Row) -> int:
        """What must be equal in rows that run together."""
        return 0 if self.padded else self.held(row)

    def regroup(self, parts: Sequence[Sequence[Row]]) -> list[RowGroup]:
        """A group for each list of rows of equal :meth:`key`: their present one, or a new one.

        Other rows of a group that is left may lose their states.
        """
        before = {id(row.group): row.group for rows in parts for row in rows if row.group is not None}
        groups = [self._group(rows) for rows in parts]
        for left in (group for key, group in before.items() if key not in {id(group) for group in groups}):
            for row in left.rows:
                if row.group is left:
                    row.group = None
        return groups

    def _group(self, rows: Sequence[Row]) -> RowGroup:
        held, length = rows[0].group, max(map(self.held, rows))
        if held is not None and all(row.group is held and self._ends(row) == held.length for row in rows):
            padded = len(held.rows) - len(rows)
            few = not padded or (self.cuttable and padded < CARRIED * len(held.rows))
            # once the longest rows have left, places are empty in all others
            if few and held.length - length <= CARRIED * held.length:
                return held
        begins = [length - self.held(row) for row in rows]
        states = {name: self._session.put(self._gather(name, rows, begins, length)) for name in self._names}
        for row, begin in zip(rows, begins, strict=True):
            row.begin = begin
        return RowGroup(list(rows), states, length)

    def _ends(self, row: Row) -> int:
        return row.begin + self.held(row)

    def _gather(self, name: str, rows: Sequence[Row], begins: Sequence[int], length: int) -> NDArray[np.generic]:
        """One state of ``rows``, each with its first token at the place ``begins`` of ``length``, from whichever groups
        hold it."""
        axes = self._axes[name]
        if length == 0:
            return empty_state(axes, self._session.type(name), len(rows))
        batch = axes.index(BATCH) if self.batched else None
        sizes: dict[int | str, int] = {BATCH: len(rows), **({PAST: length} if self.cuttable else {})}
        gathered: NDArray[np.generic] | None = None
        arrays: dict[int, NDArray[np.generic]] = {}  # one copy per group, which may be on a device
        for number, (row, begin) in enumerate(zip(rows, begins, strict=True)):
            if not row.ids:
                continue
            assert row.group is not None, "a row that holds tokens has them in a group"
            if id(row.group) not in arrays:
                arrays[id(row.group)] = fetch(row.group.states[name])
            source, target = [slice(None)] * len(axes), [slice(None)] * len(axes)
            if self.cuttable:
                source[axes.index(PAST)] = slice(row.begin, row.begin + len(row.ids))
                target[axes.index(PAST)] = slice(begin, length)
            if batch is not None:
                source[batch] = slice(row.place, row.place + 1)
                target[batch] = slice(number, number + 1)
            held = arrays[id(row.group)]
            if gathered is None:
                shape = [sizes.get(axis, size) for axis, size in zip(axes, held.shape, strict=True)]
                gathered = np.zeros(shape, held.dtype)
            gathered[tuple(target)] = held[tuple(source)]
        assert gathered is not None, "the longest row holds tokens"
        return gathered


def empty_state(axes: Sequence[int | str], dtype: np.dtype[Any], rows: int = 1) -> NDArray[Any]:
    """A state of rows that hold no tokens."""
    sizes = {BATCH: rows, PAST: 0}
    return np.zeros([axis if isinstance(axis, int) else sizes.get(axis, 1) for axis in axes], dtype)


class OnnxBackend:
    """A :class:`muomni_cli.contract.models.Backend` over the graphs ``embed`` and ``thinker``.

    Args:
        embed: ``input_ids`` -> ``inputs_embeds``.
        thinker: ``inputs_embeds`` and states -> ``logits``, ``hidden`` and states.
        entry: the manifest's entry for ``thinker``.
        context: most tokens per row.
        prefix_cache: keep the rows after a request, so that a prompt with the same beginning runs only its new tokens.
            States that cannot be cut serve only a prompt that continues the whole row.
        hidden: keep the hidden states behind the last logits, for :meth:`hidden`.
    """

    def __init__(
        self,
        embed: GraphSession,
        thinker: GraphSession,
        entry: Mapping[str, Any],
        context: int,
        *,
        prefix_cache: bool = False,
        hidden: bool = False,
    ) -> None:
        self._embed, self._thinker, self._context = embed, thinker, context
        embed.keep("inputs_embeds")
        thinker.keep(*entry["states"].values())
        self._names: Mapping[str, str] = entry["states"]
        self._states = States(thinker, entry["inputs"], list(self._names))
        self._last = ["logits", *(["hidden"] if hidden else [])]
        self._vocabulary = int(thinker.shape("logits")[-1])
        self._prefix_cache = prefix_cache
        self._kept: list[Row] = []
        self._soft: list[NDArray[np.float32]] = []

    @property
    def context(self) -> int:
        return self._context

    @property
    def alignments(self) -> tuple[int, ...]:
        """What the places of rows may have to be equal modulo for their sums not to change: the places of a vector of
        floats, by CPU, and a multiple."""
        return (4, 8, 16, 32) if self._states.padded else (1,)

    def add_embeddings(self, rows: NDArray[np.float32]) -> list[int]:
        first = FIRST_MEDIA_ID - len(self._soft)
        self._soft += list(rows)
        return list(range(first, first - len(rows), -1))

    def begin(self, prompts: Sequence[Sequence[int]], capacity: int) -> tuple[list[Row], NDArray[np.float32]]:  # noqa: ARG002
        rows = self._kept if len(self._kept) == len(prompts) else [Row() for _ in prompts]
        for row, prompt in zip(rows, prompts, strict=True):
            limit = min(len(row.ids), len(prompt) - 1)  # the last token runs again, for its logits
            shared = next((place for place in range(limit) if row.ids[place] != prompt[place]), limit)
            if row.group is None or (shared < len(row.ids) and not self._states.cuttable):
                row.ids, row.group = [], None
            else:
                row.ids = row.ids[:shared]
        return rows, self._add(rows, [prompt[len(row.ids) :] for row, prompt in zip(rows, prompts, strict=True)])

    def step(self, state: list[Row], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._add(state, [[] if token == PADDED_ROW else [token] for token in tokens.tolist()])

    def select(self, state: list[Row], rows: Sequence[int]) -> list[Row]:
        return [state[row] for row in rows]

    def merge(self, states: Sequence[list[Row]]) -> list[Row]:
        return [row for state in states for row in state]

    def hidden(self, state: list[Row]) -> NDArray[np.float32]:
        rows = [row.hidden for row in state if row.hidden is not None]
        assert len(rows) == len(state), "only where they are kept"
        return np.stack(rows)

    def _add(self, rows: list[Row], new: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Run the new tokens of each row, possibly none; (B,V) logits after each row's last."""
        self._kept = []  # an interrupt may leave states that do not match their rows
        together: dict[tuple[int, ...], list[tuple[Row, Sequence[int]]]] = {}
        for number, row in enumerate(rows):
            tokens = new[number]
            if tokens and row.group is None:  # its states were dropped, so what it held runs again
                tokens, row.ids = [*row.ids, *tokens], []
            if tokens:
                key = (self._states.key(row), len(tokens), 0 if self._states.batched else number)
                together.setdefault(key, []).append((row, tokens))
        parts = list(together.values())
        groups = self._states.regroup([[row for row, _ in pairs] for pairs in parts])
        for group, pairs in zip(groups, parts, strict=True):
            ids = np.zeros((len(group.rows), len(pairs[0][1])), np.int64)  # other rows of the group are padding
            for row, tokens in pairs:
                ids[row.place] = tokens
            made = self._read(group, ids)
            for row, tokens in pairs:
                row.ids += tokens
                row.logits = made["logits"][row.place]
                row.hidden = made["hidden"][row.place] if "hidden" in made else None
            group.length = pairs[0][0].begin + self._states.held(pairs[0][0])
        self._kept = rows if self._prefix_cache else []
        return np.stack([row.logits for row in rows if row.logits is not None])

    def _read(self, group: RowGroup, ids: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """(B,T) ids after the group's tokens -> the last ``logits`` (B,V), and ``hidden`` (B,D) where it is kept."""
        piece = max(1, LOGITS // (len(ids) * self._vocabulary))
        empty = group.padding
        padding = {PADDING: empty} if empty.any() else {}
        made: dict[str, Value] = {}
        for start in range(0, ids.shape[1], piece):
            wanted = [*(self._last if start + piece >= ids.shape[1] else []), *self._names.values()]
            feeds = {"inputs_embeds": self._embeds(ids[:, start : start + piece]), **padding, **group.states}
            made = self._thinker(feeds, wanted)
            group.states = {past: made[present] for past, present in self._names.items()}
        return {name: np.array(made[name][:, -1], np.float32) for name in self._last}

    def _embeds(self, ids: NDArray[np.int64]) -> Value:
        """(B,T) ids, some of them of media embeddings -> (B,T,D)."""
        if ids.min() >= 0:
            return self._embed({"input_ids": ids})["inputs_embeds"]
        embeds = fetch(self._embed({"input_ids": ids.clip(min=0)})["inputs_embeds"])
        for row, place in np.argwhere(ids < 0):
            embeds[row, place] = self._soft[FIRST_MEDIA_ID - ids[row, place]]
        return embeds

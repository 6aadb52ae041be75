"""The generation loop's backend over a graph whose cache is written in place (:mod:`muomni_onnx.in_place_graph`).

Rows have places of their own in buffers with room for all their tokens, so a step copies no cache, allocates nothing,
and serves rows of any lengths. A row that rests in a step gets a meaningless entry after its last one, which its next
token overwrites.

Shapes: B rows, T tokens, C places of a buffer, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import PADDED_ROW
from muomni_onnx.backend import CARRIED, FIRST_MEDIA_ID
from muomni_onnx.sessions import Arrays, GraphSession

PIECE = 512  # tokens of a prompt in one call, which bounds the memory of attention
SHORT = 64  # entries of a row for which there is room at first; more are made by doubling
SPARE = 1  # places of a buffer for the entry of a full row that rests


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What the buffers of a graph are: ``states`` input -> output, with their heads and width."""

    states: Mapping[str, str]
    heads: int
    width: int

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> CacheShape:
        """Of the manifest's entry for the standard graph."""
        _, heads, _, width = entry["inputs"][next(iter(entry["states"]))]
        return cls(entry["states"], heads, width)

    def buffers(self, rows: int, capacity: int) -> dict[str, NDArray[np.float32]]:
        """Empty ones; memory is used where entries are written."""
        shape = (rows, self.heads, capacity, self.width)
        return {name: np.zeros(shape, np.float32) for name in self.states}


@dataclass(slots=True, eq=False, weakref_slot=True)
class BufferRow:
    """A row's place in a group, and how many entries it has there."""

    group: BufferGroup | None = None
    place: int = 0
    length: int = 0


@dataclass(slots=True, eq=False)
class CachedRow(BufferRow):
    """A row of the Thinker: its tokens, as many as entries."""

    ids: list[int] = field(default_factory=list)
    hidden: NDArray[np.float32] | None = None  # (D,), after the last token


class BufferGroup:
    """B places for rows of at most C entries, and the call that makes a step of all of them. Rows keep their group in
    memory, and not the other way round: the place of a row without references is free.

    Args:
        session: the graph.
        shape: of its cache.
        arrays: (B,1,...) inputs and outputs of a step by name, read and written by every call.
        rows: B.
        capacity: C.
    """

    def __init__(
        self, session: GraphSession, shape: CacheShape, arrays: Mapping[str, NDArray[Any]], rows: int, capacity: int
    ) -> None:
        self.session, self._shape, self.arrays, self.capacity = session, shape, arrays, capacity
        self._rows: list[ref[BufferRow] | None] = [None] * rows
        self.buffers = shape.buffers(rows, capacity + SPARE)
        self._last, self._most = np.zeros(rows, np.int32), np.zeros(1, np.int32)
        self._run = session.bind({**arrays, "last": self._last, "most": self._most, **self._caches(slice(0, rows))})

    @property
    def size(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> list[BufferRow | None]:
        """The row at each place; None where it is free."""
        return [None if one is None else one() for one in self._rows]

    def free(self, row: BufferRow) -> None:
        """A row gives up its place, and its entries."""
        self._rows[row.place], row.group = None, None

    def _caches(self, rows: slice) -> dict[str, NDArray[np.float32]]:
        """The buffers of rows, as inputs and as outputs."""
        held = {name: buffer[rows] for name, buffer in self.buffers.items()}
        return {**held, **{present: held[past] for past, present in self._shape.states.items()}}

    def put(self, row: BufferRow, place: int) -> None:
        """Move a row here, with its entries."""
        if row.group is not None:
            count = row.length
            for name, buffer in self.buffers.items():
                buffer[place, :, :count] = row.group.buffers[name][row.place, :, :count]
            row.group.free(row)
        row.group, row.place, self._rows[place] = self, place, ref(row)

    def holds(self, rows: Sequence[BufferRow]) -> bool:
        """Whether ``rows`` have all the places, and room for an entry, so that a step needs no change of the group."""
        here = all(row.group is self and row.length < self.capacity for row in rows)
        return here and len(rows) == len(self._rows)

    def takes(self, rows: Sequence[BufferRow], room: int) -> bool:
        """Whether there is a place for each of ``rows``, with room for so many tokens, and are few places besides."""
        newcomers = sum(row.group is not self for row in rows)
        few = self.size - len(rows) <= CARRIED * self.size
        return few and self.capacity >= room and newcomers <= self.rows.count(None)

    def admit(self, rows: Sequence[BufferRow]) -> None:
        """Move those of ``rows`` that are elsewhere to free places."""
        free = [place for place, row in enumerate(self.rows) if row is None]
        for row, place in zip([row for row in rows if row.group is not self], free, strict=False):
            self.put(row, place)

    def run(self, rows: Sequence[BufferRow]) -> None:
        """Append an entry to each of ``rows``, which are here, from :attr:`arrays`."""
        there = rows
        if len(rows) < len(self._rows):  # others rest, or have left
            there = [row for row in self.rows if row is not None]
            self._last.fill(0)
        for row in there:
            self._last[row.place] = row.length
        self._most[0] = 1 + max([row.length for row in there])
        self._run()
        for row in rows:
            row.length += 1

    @staticmethod
    def taken(array: NDArray[Any], rows: Sequence[BufferRow]) -> NDArray[Any]:
        """Those rows of a (B,...) ``array`` of :attr:`arrays`, copied."""
        places = [row.place for row in rows]
        # a list as an index takes several times as long
        return array[places] if len(places) > 1 else array[places[0] : places[0] + 1].copy()


class InPlaceGroup(BufferGroup):
    """Rows of the Thinker. ``media``: embeddings where the token of a step is negative."""

    def __init__(self, session: GraphSession, shape: CacheShape, rows: int, capacity: int) -> None:
        vocabulary, width = (int(session.shape(name)[-1]) for name in ("logits", "hidden"))
        self._ids, self.media = np.zeros((rows, 1), np.int64), np.zeros((rows, 1, width), np.float32)
        self.logits, self.hidden = (np.zeros((rows, 1, size), np.float32) for size in (vocabulary, width))
        arrays: dict[str, NDArray[Any]] = {
            "input_ids": self._ids,
            "media": self.media,
            "logits": self.logits,
            "hidden": self.hidden,
        }
        super().__init__(session, shape, arrays, rows, capacity)

    def read(self, row: CachedRow, ids: Sequence[int], media: Sequence[NDArray[np.float32]]) -> None:
        """Append tokens to a row, whose outputs are then at its place."""
        place = slice(row.place, row.place + 1)
        for start in range(0, len(ids), PIECE):
            piece = np.array([ids[start : start + PIECE]], np.int64)
            end = row.length + piece.size
            self.session.bind(
                {
                    "input_ids": piece,
                    "media": self._embeds(piece, media),
                    "last": np.array([end - 1], np.int32),
                    "most": np.array([end], np.int32),
                    "logits": self.logits[place],
                    "hidden": self.hidden[place],
                    **self._caches(place),
                }
            )()
            row.ids += ids[start : start + PIECE]
            row.length = end

    def _embeds(self, ids: NDArray[np.int64], media: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        width = self.media.shape[-1]
        if ids.min() >= 0:
            return np.zeros((1, 1, width), np.float32)
        embeds = np.zeros((*ids.shape, width), np.float32)
        for row, place in np.argwhere(ids < 0):
            embeds[row, place] = media[FIRST_MEDIA_ID - ids[row, place]]
        return embeds

    def step(self, rows: Sequence[CachedRow], tokens: Sequence[int]) -> None:
        """Append a token to each of ``rows``, which are here."""
        for row, token in zip(rows, tokens, strict=True):
            self._ids[row.place, 0] = token
        self.run(rows)
        for row, token in zip(rows, tokens, strict=True):
            row.ids.append(token)


class InPlaceRows:
    """A :class:`muomni_cli.contract.bundle.RowsGraph` over such a graph with inputs and outputs of any names.

    Args:
        session: the graph, on the CPU.
        entry: the manifest's entry for the standard graph.
        context: most entries per row.
    """

    def __init__(self, session: GraphSession, entry: Mapping[str, Any], context: int) -> None:
        self._session, self._context, self._shape = session, context, CacheShape.of(entry)
        cached = {*entry["states"], *entry["states"].values()}
        self._outputs = [name for name in entry["outputs"] if name not in cached]

    def begin(self) -> BufferRow:
        return BufferRow()

    def __call__(self, rows: Sequence[BufferRow], feeds: Arrays) -> dict[str, NDArray[Any]]:
        group = self.group_of(rows, feeds)
        for name, array in feeds.items():
            for row, given in zip(rows, array, strict=True):
                group.arrays[name][row.place] = given
        group.run(rows)
        return {name: group.taken(group.arrays[name], rows) for name in self._outputs}

    def group_of(self, rows: Sequence[BufferRow], feeds: Arrays) -> BufferGroup:
        """The group of these rows, if it has few places that are free; else a new one. A row that rests keeps its place
        there, since it goes on soon."""
        first = rows[0].group
        if first is not None and first.holds(rows):
            return first
        held = max((row.group for row in rows if row.group is not None), key=lambda one: one.size, default=None)
        room = max(row.length for row in rows) + 1
        if held is not None and held.capacity >= room:
            newcomers = sum(row.group is not held for row in rows)
            left = held.rows.count(None) - newcomers
            if 0 <= left <= CARRIED * held.size:
                held.admit(rows)
                return held
        arrays = {name: np.zeros((len(rows), *array.shape[1:]), array.dtype) for name, array in feeds.items()}
        for name in self._outputs:
            arrays[name] = np.zeros((len(rows), 1, int(self._session.shape(name)[-1])), np.float32)
        capacity = min(self._context, max(SHORT, 1 << room.bit_length()))
        made = BufferGroup(self._session, self._shape, arrays, len(rows), capacity)
        made.admit(rows)
        return made


class InPlaceBackend:
    """A :class:`muomni_cli.contract.models.Backend` over such a graph.

    Args:
        session: the graph, on the CPU.
        entry: the manifest's entry for the standard graph ``thinker``.
        context: most tokens per row.
        prefix_cache: keep the rows after a request, so that a prompt with the same beginning runs only its new tokens.
        hidden: keep the hidden states behind the last logits, for :meth:`hidden`.
    """

    alignments = (1, 4, 8, 16, 32)  # see muomni_onnx.alignment: a row's sums may depend on the number of rows

    def __init__(
        self,
        session: GraphSession,
        entry: Mapping[str, Any],
        context: int,
        *,
        prefix_cache: bool = False,
        hidden: bool = False,
    ) -> None:
        self._shape, self._vocabulary = CacheShape.of(entry), int(session.shape("logits")[-1])
        self._session, self._context = session, context
        self._prefix_cache, self._keeps_hidden = prefix_cache, hidden
        self._kept: list[CachedRow] = []
        self.media: list[NDArray[np.float32]] = []
        self.new_group = partial(InPlaceGroup, session, self._shape)

    @property
    def context(self) -> int:
        return self._context

    def add_embeddings(self, rows: NDArray[np.float32]) -> list[int]:
        first = FIRST_MEDIA_ID - len(self.media)
        self.media += list(rows)
        return list(range(first, first - len(rows), -1))

    def begin(self, prompts: Sequence[Sequence[int]], capacity: int) -> tuple[list[CachedRow], NDArray[np.float32]]:
        """Run ``prompts`` (B of ids), for ``capacity`` tokens a row; the rows, and logits (B, V) after the last id."""
        rows = self._kept if len(self._kept) == len(prompts) else [CachedRow() for _ in prompts]
        self._kept = []  # an interrupt may leave rows that do not match their entries
        room = self._context if self._prefix_cache else min(self._context, max(capacity, *map(len, prompts)))
        logits = []
        for row, prompt in zip(rows, prompts, strict=True):
            limit = min(len(row.ids), len(prompt) - 1)  # the last token runs again, for its logits
            row.ids = row.ids[: next((place for place in range(limit) if row.ids[place] != prompt[place]), limit)]
            row.length = len(row.ids)
            if row.group is None:
                row.ids, row.length = [], 0
                self.new_group(1, room).put(row, 0)
            logits.append(self.read_row(row, prompt[len(row.ids) :]))
        self._kept = rows if self._prefix_cache else []
        return rows, np.stack(logits)

    def read_row(self, row: CachedRow, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens to one row; its (V,) logits."""
        group = row.group
        assert isinstance(group, InPlaceGroup), "a row that reads has a place"
        group.read(row, ids, self.media)
        row.hidden = group.hidden[row.place, 0].copy() if self._keeps_hidden else None
        return np.array(group.logits[row.place, 0])

    def step(self, state: list[CachedRow], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Append ``tokens`` (B,) to the rows, except ``PADDED_ROW``; logits (B, V), zeros for rows without a token."""
        self._kept = []
        rows, new = state, tokens.tolist()
        if PADDED_ROW in new:
            rows = [row for row, token in zip(state, new, strict=True) if token != PADDED_ROW]
            if not rows:
                return np.zeros((len(state), self._vocabulary), np.float32)
            new = [token for token in new if token != PADDED_ROW]
        group = self.group_of(rows)
        group.step(rows, new)
        if self._keeps_hidden:
            for row in rows:
                row.hidden = group.hidden[row.place, 0].copy()
        self._kept = state if self._prefix_cache else []
        made: NDArray[np.float32] = group.taken(group.logits, rows)[:, 0]
        if rows is state:
            return made
        logits = np.zeros((len(state), self._vocabulary), np.float32)
        logits[tokens != PADDED_ROW] = made
        return logits

    def group_of(self, rows: Sequence[CachedRow]) -> InPlaceGroup:
        """A group with a place for each of ``rows`` and room for one more token: one of theirs, or a new one."""
        first = rows[0].group
        if isinstance(first, InPlaceGroup) and first.session is self._session and first.holds(rows):
            return first
        room = max(len(row.ids) for row in rows) + 1
        there = [row.group for row in rows if isinstance(row.group, InPlaceGroup)]
        own = [group for group in there if group.session is self._session]  # others are those of a reader
        held = max(own, key=lambda one: one.size, default=None)
        if held is None or not held.takes(rows, room):
            capacity = max(group.capacity for group in there)
            if capacity < room:  # more than was asked for at the beginning
                capacity = max(room, min(self._context, room + room // 2))
            held = self.new_group(len(rows), capacity)
        held.admit(rows)
        return held

    def select(self, state: list[CachedRow], rows: Sequence[int]) -> list[CachedRow]:
        kept = [state[row] for row in rows]
        for row in state:
            if row not in kept and row.group is not None:
                row.group.free(row)
        return kept

    def merge(self, states: Sequence[list[CachedRow]]) -> list[CachedRow]:
        return [row for state in states for row in state]

    def hidden(self, state: list[CachedRow]) -> NDArray[np.float32]:
        rows = [row.hidden for row in state if row.hidden is not None]
        assert len(rows) == len(state), "only where they are kept"
        return np.stack(rows)


class StandardCalls:
    """Such a graph with the inputs and outputs of the standard one, but for ``logits`` (B,1,V) and ``hidden`` (B,1,D)
    of the last token, to be checked like it.

    Args:
        session: the graph.
        entry: the manifest's entry for the standard graph ``thinker``.
    """

    def __init__(self, session: GraphSession, entry: Mapping[str, Any]) -> None:
        self._backend = InPlaceBackend(session, entry, 1 << 24, hidden=True)
        self._states: Mapping[str, str] = entry["states"]

    def __call__(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """As of :class:`muomni_onnx.sessions.GraphSession`. All embeddings are given as those of media."""
        embeds = feeds["inputs_embeds"]
        batch, time, _ = embeds.shape
        held = feeds[next(iter(self._states))].shape[2]
        empty = np.minimum(np.broadcast_to(feeds.get("padding", np.zeros(1, np.int64)), batch), held).tolist()
        rows = [self._filled(feeds, row, begin, held + time) for row, begin in enumerate(empty)]
        if batch > 1 and time == 1:
            logits = self._together(rows, embeds)
        else:
            logits = np.stack([self._one(row, media) for row, media in zip(rows, embeds, strict=True)])
        made = {"logits": logits[:, None], "hidden": self._backend.hidden(rows)[:, None]}
        for past, present in self._states.items():
            made[present] = np.stack([self._present(feeds[past][n], row, past, empty[n]) for n, row in enumerate(rows)])
        return made

    def _filled(self, feeds: Arrays, row: int, begin: int, capacity: int) -> CachedRow:
        held = feeds[next(iter(self._states))].shape[2] - begin
        filled = CachedRow(ids=[0] * held, length=held)
        group = self._backend.new_group(1, capacity)
        group.put(filled, 0)
        for name in self._states:
            group.buffers[name][0, :, : len(filled.ids)] = feeds[name][row, :, begin:]
        return filled

    def _one(self, row: CachedRow, media: NDArray[np.float32]) -> NDArray[np.float32]:
        self._backend.media = list(media)
        return self._backend.read_row(row, list(range(FIRST_MEDIA_ID, FIRST_MEDIA_ID - len(media), -1)))

    def _together(self, rows: list[CachedRow], embeds: NDArray[np.float32]) -> NDArray[np.float32]:
        group = self._backend.group_of(rows)
        for row, media in zip(rows, embeds, strict=True):
            group.media[row.place] = media
        return self._backend.step(rows, np.full(len(rows), FIRST_MEDIA_ID))

    def _present(self, past: NDArray[Any], row: CachedRow, name: str, begin: int) -> NDArray[Any]:
        assert row.group is not None
        return np.concatenate([past[:, :begin], row.group.buffers[name][row.place, :, : len(row.ids)]], axis=1)


class StandardSteps:
    """A graph of :class:`InPlaceRows` with the inputs and outputs of the standard one, for one place at a time.

    Args:
        session: the graph.
        entry: the manifest's entry for the standard graph.
    """

    def __init__(self, session: GraphSession, entry: Mapping[str, Any]) -> None:
        self._session, self._entry = session, entry
        self._states: Mapping[str, str] = entry["states"]

    def __call__(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """As of :class:`muomni_onnx.sessions.GraphSession`."""
        batch, _, held, _ = feeds[next(iter(self._states))].shape
        graph = InPlaceRows(self._session, self._entry, held + 1)
        given = {name: array for name, array in feeds.items() if name not in self._states}
        rows = [BufferRow(length=held) for _ in range(batch)]
        group = graph.group_of(rows, given)  # in this order
        for name in self._states:
            group.buffers[name][:, :, :held] = feeds[name]
        made = graph(rows, given)
        return made | {present: group.buffers[past][:, :, : held + 1] for past, present in self._states.items()}

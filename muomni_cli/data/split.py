"""Which keys and items are held out for validation.

If the recipe sets ``data.val_fraction``, a key is held out if its hash is below that fraction. Otherwise the fraction
depends on the number of keys, and classes are stratified. Both are pure functions of the set of keys and labels,
independent of the order of items. If there are too few long documents, their ends are held out.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

from muomni_cli.contract.data import Conversation, Dataset, Document, Example, Item
from muomni_cli.core.errors import RequestError

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")
SMALLEST, LARGEST = 0.01, 0.2  # bounds of the default held-out fraction
ROOTS = 3.0  # between these bounds, ``ROOTS`` times the square root of the number of keys are held out
# From this number of keys, the default fraction is the smallest one, and each key is split by its hash alone.
MANY = round((ROOTS / SMALLEST) ** 2)
SURE = 0.2  # a 95 % interval of a share that is wider than this causes a warning
FEW = 20  # up to this many documents may be cut, if holding out whole ones would hold out too much or too little text
FAIR = (0.02, 0.4)  # least and most fraction of the characters of few documents that may be held out
WORTH_CUTTING = 2_000  # few documents with less text (in characters) are not cut, unless there is a single one
TAIL = 0.1  # held-out fraction of each document that is cut, unless the recipe sets one
AT_A_TIME = 1_000  # items to read from one source before the next has its turn


def hash_of(key: str) -> int:
    """A uniform 64-bit hash of a key."""
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest(), "big")


def share_of(count: int) -> float:
    """Default held-out fraction of ``count`` keys."""
    return min(LARGEST, max(SMALLEST, ROOTS / math.sqrt(max(count, 1))))


def held_out_of(count: int, share: float) -> int:
    """Number of held-out keys: at least one, never all."""
    return max(0, min(count - 1, max(1, round(share * count))))


def uncertainty(count: int) -> float:
    """Half the width of the widest 95 % interval of a share of ``count`` examples (that of a share of one half)."""
    return min(0.5, 0.98 / math.sqrt(count)) if count else 0.5


@dataclass(frozen=True, slots=True)
class KeySplit:
    """Keys with a hash below ``threshold`` are held out, except those in ``moved``."""

    threshold: float = 0.0
    moved: Mapping[int, Split] = field(default_factory=dict)

    def __call__(self, key: int) -> Split:
        return self.moved.get(key) or ("val" if key < self.threshold else "train")


def threshold_of(share: float) -> float:
    """The hash below which this share of all hashes lies."""
    return share * 2**64


class Pool:
    """Keys to be split, with the labels of their items. From ``MANY`` keys on, only the extremes of labels are kept."""

    def __init__(self) -> None:
        self.keys: dict[int, set[str]] = {}  # hash of each key -> labels; empty from ``MANY`` keys on
        self._extremes: dict[str, tuple[int, int]] = {}  # label -> its lowest and highest hash
        self.many = False

    def add(self, key: int, label: str | None = None) -> None:
        """Add a key's hash and the label of one of its items."""
        if label is not None:
            low, high = self._extremes.get(label, (key, key))
            self._extremes[label] = min(low, key), max(high, key)
        if self.many:
            return
        labels = self.keys.setdefault(key, set())
        if label is not None:
            labels.add(label)
        if len(self.keys) >= MANY:
            self.many = True
            self.keys.clear()

    def __len__(self) -> int:
        return MANY if self.many else len(self.keys)

    def without(self, keys: Container[int]) -> Pool:
        """The pool without ``keys``, unless there are ``MANY``."""
        if self.many or not any(key in keys for key in self.keys):
            return self
        left = Pool()
        left.keys = {key: labels for key, labels in self.keys.items() if key not in keys}
        return left

    def default_sides(self) -> KeySplit:
        """The default split for this number of keys and their labels."""
        if not self.many:
            return chosen(self.keys, held_out_of(len(self), share_of(len(self))))
        threshold = threshold_of(SMALLEST)
        moved: dict[int, Split] = {}
        for low, high in self._extremes.values():
            if low != high and high < threshold:
                moved[high] = "train"
            elif low != high and low >= threshold:
                moved[low] = "val"
        return KeySplit(threshold, moved)


def chosen(keys: Mapping[int, Set[str]], count: int) -> KeySplit:
    """Hold out ``count`` keys, or fewer if a class would have no training keys left.

    First, every class of two or more keys gives one, largest classes first; then keys are added such that each class
    gives about the same fraction. Within a class, lower hashes go first.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for key in sorted(keys):
        for label in keys[key]:
            members[label].append(key)
    sizes = {label: len(own) for label, own in members.items()}
    left = Counter(sizes)  # number of training keys of each class
    taken: dict[int, Split] = {}

    def may_go(key: int) -> bool:
        """Whether training keeps a key of each of its classes; a class with a single key does not count."""
        return all(left[label] > 1 or sizes[label] == 1 for label in keys[key])

    def take(key: int) -> None:
        taken[key] = "val"
        left.subtract(keys[key])

    for label in sorted(members, key=lambda one: (-sizes[one], one)):
        if len(taken) < count and sizes[label] > 1 and left[label] == sizes[label]:
            first = next((key for key in members[label] if may_go(key)), None)
            if first is not None:
                take(first)
    for key in _in_proportion(keys, sizes):
        if len(taken) >= min(count, len(keys) - 1):
            break
        if key not in taken and may_go(key):
            take(key)
    return KeySplit(0.0, taken)


def _in_proportion(keys: Mapping[int, Set[str]], sizes: Mapping[str, int]) -> list[int]:
    """All keys in an order whose every prefix has about the same fraction of each class, given the number of keys of
    each; single keys of a class come last."""
    groups: dict[int, str] = {}  # key -> "c" and the rarest of its classes that have other keys, or ""
    for key, labels in keys.items():
        found = [(sizes[label], label) for label in labels if sizes[label] > 1]
        groups[key] = f"c{min(found)[1]}" if found else ""
    totals, ranks = Counter(groups.values()), Counter[str]()
    order: list[tuple[bool, float, int]] = []
    for key in sorted(keys):
        group = groups[key]
        only = any(sizes[label] == 1 for label in keys[key])
        order.append((only, (ranks[group] + 0.5) / totals[group], key))
        ranks[group] += 1
    return [key for _, _, key in sorted(order)]


def split_of_key(key: str, val_fraction: float) -> Split:
    """Side of a key that no source assigns, by its hash alone."""
    return "val" if hash_of(key) < threshold_of(val_fraction) else "train"


def splits_of_items(items: Iterable[tuple[str, str | None]], val_fraction: float) -> dict[str, Split]:
    """Side of every key of ``items`` (key and label of each), as :func:`split_of_key`. If all were on one side, the
    keys nearest to the threshold, class by class, change sides."""
    pool = Pool()
    hashes: dict[str, int] = {}
    for key, label in items:
        hashes[key] = hash_of(key)
        pool.add(hashes[key], label)
    splits = KeySplit(threshold_of(val_fraction))
    if len({splits(key) for key in hashes.values()}) == 1 and not pool.many:
        splits = chosen(pool.keys, held_out_of(len(pool), val_fraction))
    return {key: splits(number) for key, number in hashes.items()}


@dataclass(slots=True)
class Seen:
    """Contents of one source: keys to be split, and items that the source assigns itself."""

    pool: Pool = field(default_factory=Pool)
    assigned: dict[int, Split] = field(default_factory=dict)
    splits: set[Split] = field(default_factory=set)
    sizes: Counter[int] = field(default_factory=Counter)  # characters of the first few documents
    only_documents: bool = True


@dataclass(frozen=True, slots=True)
class SplitDecision:
    """The split of one table. ``cut``: hash of a document's key -> number of its characters that are for training."""

    splits: KeySplit
    cut: Mapping[int, int] = field(default_factory=dict)


class SourceSplit:
    """The split of the sources of ``[[data.<name>]]``, except ``eval_only`` ones. ``val_fraction``: as in the recipe;
    None for the default."""

    def __init__(self, datasets: Sequence[Dataset], val_fraction: float | None) -> None:
        self._datasets, self._val_fraction = datasets, val_fraction

    @cached_property
    def decision(self) -> SplitDecision:
        """Reads as few keys as possible: with ``val_fraction`` until both sides have something, otherwise up to
        ``MANY`` keys of text. With ``val_fraction`` 0, only items that sources assign are held out."""
        if self._val_fraction is None:
            return _by_default([_seen(dataset) for dataset in self._datasets])
        splits = KeySplit(threshold_of(self._val_fraction))
        if not 0 < self._val_fraction < 1 or self._has_both(splits):
            return SplitDecision(splits)
        return _filled([_seen(dataset) for dataset in self._datasets], splits, self._val_fraction)

    def _has_both(self, splits: KeySplit) -> bool:
        found: set[Split] = set()
        waiting = [_readable(dataset) for dataset in self._datasets]
        while waiting:
            for items in list(waiting):
                some = list(islice(items, AT_A_TIME))
                found |= {item.split or splits(hash_of(item.key)) for item in some}
                if len(found) == 2:
                    return True
                if not some:
                    waiting.remove(items)
        return False


class SplitDataset:
    """A :class:`muomni_cli.api.Dataset` whose items have their side of the split.

    Args:
        dataset: the original.
        table: decides the split; None: all items are for validation, unless the source assigns them.
        only: yield only this side.
    """

    def __init__(self, dataset: Dataset, table: SourceSplit | None, only: Split | None = None) -> None:
        self._dataset, self._table, self._only = dataset, table, only
        self._cut: set[int] = set()
        self.barren: Counter[tuple[str, Split | None]] = Counter()
        """Items that were left out because there is nothing to learn from them, by reason and assigned side."""

    def documents(self) -> Iterator[Item]:
        for item in self._all():
            if self._only in (None, item.split):
                yield item

    def files(self) -> list[Path]:
        return self._dataset.files()

    @property
    def unreadable(self) -> Mapping[str, str]:
        return self._dataset.unreadable

    @property
    def remarks(self) -> list[str]:
        return [*getattr(self._dataset, "remarks", ()), *(f"left out: {line}" for line in counted(self.barren))]

    @property
    def left_out(self) -> dict[str, int]:
        return dict(getattr(self._dataset, "left_out", {}))

    @property
    def cut(self) -> int:
        """Number of documents that were cut, after reading."""
        return len(self._cut)

    def _all(self) -> Iterator[Item]:
        decision = self._table.decision if self._table else None  # before reading, so that notes are not repeated
        read: Counter[int] = Counter()
        barren: Counter[tuple[str, Split | None]] = Counter()  # a new one for each pass
        self.barren = barren
        for item in self._dataset.documents():
            if reason := barren_because(item):
                barren[reason, item.split] += 1
            elif item.split is not None:
                yield item
            elif decision is None:
                yield replace(item, split="val")
            elif (key := hash_of(item.key)) in decision.cut and isinstance(item, Document):
                self._cut.add(key)
                yield from _pieces(item, decision.cut[key] - read[key])
                read[key] += len(item.text)
            else:
                yield replace(item, split=decision.splits(key))


def barren_because(item: Item) -> str:
    """Why there is nothing to learn from an item of text, whatever the model; empty if there is something."""
    if isinstance(item, Document):
        return "" if _says(item.text) else "documents without text"
    if isinstance(item, Conversation):
        if item.learn == "all":
            return "" if any(_says(message.text) for message in item.messages) else "conversations without text"
        answers = (message.text for message in item.messages if message.role == "assistant")
        return "" if any(map(_says, answers)) else "conversations without an answer to learn from"
    return ""


def _says(text: str) -> bool:
    return bool(text) and not text.isspace()


def counted(barren: Mapping[tuple[str, Split | None], int]) -> list[str]:
    """Lines for :attr:`SplitDataset.barren`."""
    totals = Counter[str]()
    for (reason, _), count in barren.items():
        totals[reason] += count
    return [f"{count:,} {reason if count > 1 else reason.replace('s ', ' ', 1)}" for reason, count in totals.items()]


def split_of(item: Item, val_fraction: float | None) -> Split:
    """The side of an item: as assigned by its source or table, or else by the hash of its key."""
    return item.split or split_of_key(item.key, SMALLEST if val_fraction is None else val_fraction)


def _readable(dataset: Dataset) -> Iterator[Item]:
    """Items to learn from, up to the first error, which is reported when the data are actually read."""
    try:
        yield from (item for item in dataset.documents() if not barren_because(item))
    except (RequestError, OSError):
        return


def _seen(dataset: Dataset) -> Seen:
    seen = Seen()
    for item in _readable(dataset):
        key = hash_of(item.key)
        if item.split is not None:
            seen.splits.add(item.split)
            if len(seen.assigned) < MANY:
                seen.assigned[key] = item.split
        else:
            seen.pool.add(key, item.label if isinstance(item, Example) else None)
            if not isinstance(item, Document):
                seen.only_documents = False
            elif key in seen.sizes or len(seen.sizes) <= FEW:
                seen.sizes[key] += len(item.text)
        if seen.pool.many and not isinstance(item, Example):
            break  # only examples have labels, for which more may be needed
    return seen


def _by_default(seen: Sequence[Seen]) -> SplitDecision:
    """Split each source by itself, so that each has validation items. A key held out in one is held out in all."""
    assigned = _assigned(seen)
    threshold = 0.0
    moved: dict[int, Split] = {}
    cut: dict[int, int] = {}
    for source in seen:
        if "val" in source.splits and not source.pool.many:
            continue  # it has a held-out set of its own
        pool = source.pool.without(assigned)
        splits = pool.default_sides()
        if source.only_documents and _unfair(pool, source.sizes, splits):
            cut |= _cuts(source.sizes, TAIL)
            continue
        threshold = max(threshold, splits.threshold)
        moved |= {key: split for key, split in splits.moved.items() if moved.get(key) != "val"}
    return _filled(seen, KeySplit(threshold, moved | assigned), None, cut)


def _assigned(seen: Sequence[Seen]) -> dict[int, Split]:
    """The keys that one source assigns to a side and another does not."""
    left = {key for source in seen for key in source.pool.keys}
    return {key: split for source in seen for key, split in source.assigned.items() if key in left}


def _filled(
    seen: Sequence[Seen], splits: KeySplit, share: float | None, cut: Mapping[int, int] | None = None
) -> SplitDecision:
    """``splits``, unless a side would be empty: then the keys nearest to the threshold change sides, or few documents
    are cut."""
    cut = cut or {}
    decided = {split for source in seen for split in source.splits}
    there = decided | {splits(key) for source in seen for key in source.pool.keys}
    if cut or len(there) == 2 or any(source.pool.many for source in seen):
        return SplitDecision(splits, cut)
    assigned = _assigned(seen)
    pool = Pool()  # the unassigned keys of all sources
    sizes: Counter[int] = Counter()  # characters of documents, by key
    for source in seen:
        sizes |= source.sizes
        for key, labels in source.pool.without(assigned).keys.items():
            for label in labels or (None,):
                pool.add(key, label)
    if decided and len(pool) <= 1:
        return SplitDecision(KeySplit(0.0, assigned | dict.fromkeys(pool.keys, "train" if "val" in decided else "val")))
    found = pool.default_sides() if share is None else chosen(pool.keys, held_out_of(len(pool), share))
    few = all(source.only_documents for source in seen)
    if few and (len(pool) == 1 or _unfair(pool, sizes, found)):
        return SplitDecision(splits, _cuts(sizes, share or TAIL))
    return SplitDecision(KeySplit(found.threshold, {**found.moved, **assigned}))


def _unfair(pool: Pool, sizes: Counter[int], splits: KeySplit) -> bool:
    """Whether holding out whole ones of these few documents would hold out too much or too little text."""
    total = sum(sizes.values())
    held = sum(size for key, size in sizes.items() if splits(key) == "val")
    least, most = FAIR
    return 1 < len(pool) <= FEW and total >= WORTH_CUTTING and not least * total <= held <= most * total


def _cuts(sizes: Mapping[int, int], share: float) -> dict[int, int]:
    return {key: size - max(1, round(share * size)) for key, size in sizes.items() if size > 1}


def _pieces(item: Document, left: int) -> Iterator[Document]:
    """Split a document, or a piece of one, after about ``left`` characters into training and held-out text: after the
    last line end before that place, else after the last space, if one is near."""
    text = item.text
    place = max(0, min(left, len(text)))
    near = max(1, place - (len(text) - place))
    for mark in ("\n", " "):
        after = text.rfind(mark, near, place) + 1
        if after and text[:after].strip() and text[after:].strip():
            place = after
            break
    begin, end = text[:place], text[place:]
    if begin.strip():
        yield replace(item, text=begin, split="train")
    if end.strip():
        yield replace(item, text=end, key=f"{item.key}#end", split="val")

"""Decides which keys are held out.

If the recipe sets ``data.val_fraction``, a key is held out if its hash is below that fraction. Otherwise the fraction
depends on the number of keys, and classes are stratified. Both are pure functions of the set of keys and labels,
independent of the order of items.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal

Split = Literal["train", "val"]
SMALLEST, LARGEST = 0.01, 0.2  # bounds of the default held-out fraction
ROOTS = 3.0  # between these bounds, ``ROOTS`` times the square root of the number of keys are held out
# From this number of keys, the default fraction is the smallest one, and each key is split by its hash alone.
MANY = round((ROOTS / SMALLEST) ** 2)
SURE = 0.2  # a 95 % interval of a share that is wider than this causes a warning


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
    if count <= 0:
        return KeySplit()
    return KeySplit(0.0, dict.fromkeys(_Stratified(keys).take(count), "val"))


def split_of_key(key: str, val_fraction: float) -> Split:
    """Side of a key that no source assigns, by its hash alone."""
    return "val" if hash_of(key) < threshold_of(val_fraction) else "train"


def splits_of_items(items: Iterable[tuple[str, str | None]], val_fraction: float) -> dict[str, Split]:
    """Side of every key, as :func:`split_of_key`. If all were on one side, the keys nearest to the threshold, class by
    class, change sides.

    Args:
        items: key and label of each.
        val_fraction: the fraction of keys to hold out.
    """
    pool = Pool()
    hashes: dict[str, int] = {}
    for key, label in items:
        hashes[key] = hash_of(key)
        pool.add(hashes[key], label)
    splits = KeySplit(threshold_of(val_fraction))
    if len({splits(key) for key in hashes.values()}) == 1 and not pool.many:
        splits = chosen(pool.keys, held_out_of(len(pool), val_fraction))
    return {key: splits(number) for key, number in hashes.items()}


class _Stratified:
    """Moves keys from training to validation, one by one."""

    def __init__(self, keys: Mapping[int, Set[str]]) -> None:
        self._keys = keys
        self._sizes = Counter(label for labels in keys.values() for label in labels)
        self._left = Counter(self._sizes)
        self._taken: dict[int, None] = {}

    def take(self, count: int) -> Sequence[int]:
        """Hashes of at most ``count`` keys, fewer than all."""
        members: dict[str, list[int]] = defaultdict(list)
        for key in sorted(self._keys):
            for label in self._keys[key]:
                members[label].append(key)
        for label in sorted(members, key=lambda one: (-self._sizes[one], one)):
            if len(self._taken) < count and self._sizes[label] > 1 and self._left[label] == self._sizes[label]:
                self._take(next((key for key in members[label] if self._may_go(key)), None))
        for key in self._in_proportion():
            if len(self._taken) >= min(count, len(self._keys) - 1):
                break
            if key not in self._taken and self._may_go(key):
                self._take(key)
        return list(self._taken)

    def _take(self, key: int | None) -> None:
        if key is not None:
            self._taken[key] = None
            self._left.subtract(self._keys[key])

    def _may_go(self, key: int) -> bool:
        """Whether training keeps a key of each of its classes; a class with a single key does not count."""
        return all(self._left[label] > 1 or self._sizes[label] == 1 for label in self._keys[key])

    def _in_proportion(self) -> list[int]:
        """All keys in an order whose every prefix has about the same fraction of each class; single keys of a class
        come last."""
        groups: dict[int, str] = {}  # key -> "c" and the rarest of its classes that have other keys, or ""
        for key, labels in self._keys.items():
            found = [(self._sizes[label], label) for label in labels if self._sizes[label] > 1]
            groups[key] = f"c{min(found)[1]}" if found else ""
        sizes, ranks = Counter(groups.values()), Counter[str]()
        order: list[tuple[bool, float, int]] = []
        for key in sorted(self._keys):
            group = groups[key]
            only = any(self._sizes[label] == 1 for label in self._keys[key])
            order.append((only, (ranks[group] + 0.5) / sizes[group], key))
            ranks[group] += 1
        return [key for _, _, key in sorted(order)]

"""What ``muomni data check`` finds out about the examples of one modality: counts, labels, and keys on both sides.

Nothing is decoded; one example of each source is opened. Memory is bounded: at most ``REMEMBERED`` keys of each side
are held, as hashes, and ``LABELS`` labels counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from muomni_cli.contract.data import Example
from muomni_cli.core.errors import RequestError
from muomni_cli.data.corpus import SourceStats
from muomni_cli.data.sides import remarks_of, split_of
from muomni_cli.data.sources import SPLITS, Source, example_items
from muomni_cli.data.split import Split

REMEMBERED = 1_000_000
LABELS = 10_000


@dataclass(slots=True)
class ExamplesReport:
    """One source: counts, how many examples each label has, one example in words, and why it gave nothing (``error``)
    or could not be opened (``damaged``)."""

    table: str
    stats: SourceStats
    labels: dict[str, int] = field(default_factory=dict)
    example: str = ""
    error: str = ""
    damaged: str = ""

    @property
    def warnings(self) -> Iterator[str]:
        """What a user should mend, in words."""
        name = f"{self.table}: {self.stats.name}"
        if self.error or self.damaged:
            yield f"{name}: {self.error or self.damaged}"
        elif not any(self.stats.documents.values()):
            yield f"{name}: no examples in what it names"


class Keys:
    """Keys of one modality, of all its sources, on each side."""

    def __init__(self) -> None:
        self._seen: dict[Split, set[bytes]] = {side: set() for side in SPLITS}
        self.shared: dict[bytes, str] = {}
        """Those that are on both sides."""

    def add(self, key: str, side: Split) -> None:
        """Remember a key and where it was."""
        mark = hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest()
        if len(self._seen[side]) < REMEMBERED:
            self._seen[side].add(mark)
        if mark in self._seen["val" if side == "train" else "train"]:
            self.shared.setdefault(mark, key)


def check_examples(source: Source, val_fraction: float | None, keys: Keys) -> ExamplesReport:
    """Read one source to its end.

    Args:
        val_fraction: of the recipe.
        keys: those of its modality so far.
    """
    report = ExamplesReport(source.table, SourceStats(source.name))
    try:
        for example in example_items(source):
            side = split_of(example, val_fraction)
            keys.add(example.key, side)
            report.stats.documents[side] += 1
            report.stats.characters[side] += len(example.text)
            if example.label is not None and (len(report.labels) < LABELS or example.label in report.labels):
                report.labels[example.label] = report.labels.get(example.label, 0) + 1
            if not report.example:
                report.example = _shown(example)
                report.damaged = _damage(example)
    except (RequestError, OSError) as error:
        report.error = str(error)
    report.stats.unreadable = dict(source.dataset.unreadable)
    report.stats.remarks = remarks_of(source.dataset)
    return report


def _shown(example: Example) -> str:
    label = "" if example.label is None else f", label {example.label!r}"
    return f"{example.text[:120]!r}{label}, key {example.key[:60]!r}: {example.media.name}"


def _damage(example: Example) -> str:
    """Why an example cannot be opened; empty if it can."""
    try:
        example.media.open().close()
    except RequestError as error:
        return error.what
    return ""

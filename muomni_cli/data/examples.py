"""Examples of one modality, decoded once into the cache, and the order in which batches are drawn.

Inputs are in a memory-mapped file in a folder named by a fingerprint of sources, encoder settings and split. Batches
are a pure function of seed and step: weighted between sources, shuffled, with inputs of similar length together.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.declarations import CodecPart, EncoderPart
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import cache_folder, cached_folder, fingerprint_of
from muomni_cli.data.media import InputsWriter, decode_all, open_inputs
from muomni_cli.data.sources import SPLITS, DataSource, example_items, open_sources, state_of_files
from muomni_cli.data.split import Split
from muomni_cli.data.split_items import remarks_of, split_of
from muomni_cli.data.validation_size import Validating, empty_side, of_rows

if TYPE_CHECKING:
    from muomni_cli.recipe import PartSpec, Recipe

POOL = 32
"""Batches that are sorted by size together before shuffling: enough for little padding, few enough that batches are
composed differently in each epoch."""

FORMAT = 4  # incremented when the cached data for the same sources and settings change
Progress = Callable[[str], None]


class BatchSampler:
    """Draws batches of example indices.

    Args:
        sizes: of each example; only their order matters.
        sources: source number of each example.
        weights: sampling weight of each source, independent of its size.
        seed: of the order.
    """

    def __init__(self, sizes: Sequence[int], sources: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self._sizes = np.asarray(sizes, np.int64)
        self._seed = seed
        owner = np.asarray(sources, np.int64)
        self._members = [np.flatnonzero(owner == source) for source in range(len(weights))]
        shares = np.array([w if len(m) else 0.0 for w, m in zip(weights, self._members, strict=True)])
        # An epoch has as many draws as there are examples, divided between sources by weight.
        self._quota = np.maximum(np.rint(shares / shares.sum() * len(owner)), shares > 0).astype(np.int64)
        self._epoch = lru_cache(maxsize=4)(self._make_epoch)

    def batch(self, step: int, batch_size: int) -> list[int]:
        in_epoch = max(1, int(self._quota.sum()) // batch_size)
        epoch, place = divmod(step, in_epoch)
        return [int(index) for index in self._epoch(epoch, batch_size)[place]]

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        order = np.argsort(self._sizes, kind="stable")
        for begin in range(0, len(order), batch_size):
            yield order[begin : begin + batch_size].tolist()

    def _make_epoch(self, epoch: int, batch_size: int) -> list[NDArray[np.int64]]:
        """Batches of an epoch. The remainder after the last whole batch is left for later epochs."""
        rng = np.random.default_rng([self._seed, epoch])
        drawn = rng.permutation(np.concatenate([self._of_source(s, epoch) for s in range(len(self._members))]))
        if len(drawn) < batch_size:
            drawn = np.resize(drawn, batch_size)
        batches: list[NDArray[np.int64]] = []
        whole = len(drawn) // batch_size
        for begin in range(0, whole, POOL):
            pool = drawn[begin * batch_size : min(begin + POOL, whole) * batch_size]
            pool = pool[np.argsort(self._sizes[pool], kind="stable")]
            batches += np.split(pool, len(pool) // batch_size)
        return [batches[place] for place in rng.permutation(len(batches))]

    def _of_source(self, source: int, epoch: int) -> NDArray[np.int64]:
        """The draws of one source in an epoch; continues through its shuffled members where the last epoch ended."""
        count, members = int(self._quota[source]), self._members[source]
        if not count:
            return members[:0]
        rounds = range(epoch * count // len(members), ((epoch + 1) * count - 1) // len(members) + 1)
        order = np.concatenate([np.random.default_rng([self._seed, source, r]).permutation(members) for r in rounds])
        begin = epoch * count - rounds.start * len(members)
        return order[begin : begin + count]


@dataclass(slots=True, eq=False)
class DecodedExamples:
    """Implements :class:`muomni_cli.contract.data.Examples`. ``sampler`` is None if there are no examples."""

    inputs: Sequence[NDArray[Any]]
    texts: Sequence[str]
    labels: Sequence[str | None]
    sampler: BatchSampler | None
    keys: Sequence[str] = ()
    sources: Sequence[int] = ()
    voices: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, step: int, batch_size: int) -> list[int]:
        assert self.sampler is not None, "open_examples refuses an empty side"
        return self.sampler.batch(step, batch_size)

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        assert self.sampler is not None, "open_examples refuses an empty side"
        return self.sampler.batches(batch_size)


@dataclass(frozen=True, slots=True)
class DecodedExampleData:
    """Both sides of one modality's examples. ``fingerprint``: name of their folder in the cache; ``names``: of the
    sources; ``validating``: their held-out items."""

    train: DecodedExamples
    val: DecodedExamples
    fingerprint: str
    names: Sequence[str] = ()
    validating: Sequence[Validating] = ()


def open_examples(
    recipe: Recipe, stage: str, seed: int, progress: Progress, only: Split | None = None
) -> DecodedExampleData:
    """The recipe's examples for an encoder's stage or a speech stage: from the cache, or decoded now.

    Args:
        recipe: names the sources.
        stage: the stage.
        seed: of the order.
        progress: shows lines about slow preparations.
        only: open only this side, including ``eval_only`` sources; the other is empty.

    Raises:
        RequestError: no source, a source with items of another kind, or an empty side.
        MuomniError: the cache cannot be written.
    """
    chosen = recipe.reader(stage)
    table = recipe.table_of(stage)
    if chosen is None:
        raise RequestError(f"recipe {recipe.name} has no part that reads {table}", "add a table [codec] with use = ...")
    sources = open_sources(recipe, table, only)
    fingerprint = _fingerprint(recipe, chosen, sources)
    folder = cache_folder() / "examples" / fingerprint
    found = cached_folder(
        folder,
        "examples.json",
        f"the {table} examples",
        lambda partial: _make(recipe, chosen, sources, partial, progress),
    )
    for name, reason in found["unreadable"].items():
        progress(f"warning: {name} could not be used: {reason}")
    for split in (only,) if only else SPLITS:
        if not found["rows"][split]:
            shutil.rmtree(folder, ignore_errors=True)
            usable = sum(map(len, found["rows"].values()))
            raise empty_side(split, table, sources, usable, recipe.data.val_fraction, only)
    splits = {split: _open(folder, split, found, seed) for split in SPLITS}
    names = [source.name for source in sources]
    numbers = {split: splits[split].sources for split in SPLITS}
    counts = of_rows(table, names, numbers, found.get("remarks", {}))
    return DecodedExampleData(splits["train"], splits["val"], fingerprint, names, counts)


def _fingerprint(recipe: Recipe, chosen: PartSpec, sources: Sequence[DataSource]) -> str:
    part = chosen.registered.part
    assert isinstance(part, EncoderPart | CodecPart)
    settings = chosen.config.model_dump(mode="json")
    identity = {
        "format": FORMAT,
        "read": [chosen.registered.plugin.version, part.read],
        "config": settings
        if part.cache_fields is None
        else {name: getattr(chosen.config, name) for name in sorted(part.cache_fields)},
        "val_fraction": recipe.data.val_fraction,
        "sources": [[source.identity, source.weight, state_of_files(source)] for source in sources],
    }
    return fingerprint_of(identity)


def _make(
    recipe: Recipe, chosen: PartSpec, sources: Sequence[DataSource], folder: Path, progress: Progress
) -> dict[str, Any]:
    """Write the inputs to ``folder`` and return everything else about the examples."""
    rows: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    unreadable: dict[str, str] = {}
    remarks: dict[str, list[str]] = {}
    writers = {split: InputsWriter(folder / split) for split in SPLITS}
    try:
        for number, source in enumerate(sources):
            for example, result in decode_all(chosen, example_items(source), lambda one: one.media, progress):
                if isinstance(result, str):
                    unreadable[example.media.name] = result
                    continue
                split = split_of(example, recipe.data.val_fraction)
                writers[split].append(result)
                rows[split].append(
                    {
                        "text": example.text,
                        "label": example.label,
                        "key": example.key,
                        "voice": example.voice,
                        "source": number,
                    }
                )
            unreadable |= source.dataset.unreadable
            remarks[str(number)] = remarks_of(source.dataset)
    finally:
        for writer in writers.values():
            writer.close()
    weights = [source.weight for source in sources]
    return {"rows": rows, "weights": weights, "unreadable": unreadable, "remarks": remarks}


def _open(folder: Path, split: Split, found: dict[str, Any], seed: int) -> DecodedExamples:
    rows = found["rows"][split]
    inputs = open_inputs(folder / split)
    columns = ("text", "label", "key", "source", "voice")
    texts, labels, keys, numbers, voices = ([row[key] for row in rows] for key in columns)
    sampler = BatchSampler([len(one) for one in inputs], numbers, found["weights"], seed) if rows else None
    return DecodedExamples(inputs, texts, labels, sampler, keys, numbers, voices)

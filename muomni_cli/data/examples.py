"""Examples of one modality, decoded once into the cache: a memory-mapped file in a folder named by a fingerprint of
sources, encoder settings and split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from muomni_cli.contract.declarations import CodecPart, EncoderPart
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import cache_folder, cached_folder, fingerprint_of
from muomni_cli.data.batches import BatchSampler, Sampled
from muomni_cli.data.media import InputsWriter, decode_all, open_inputs
from muomni_cli.data.sources import (
    DataSource,
    Validating,
    example_items,
    merge,
    of_rows,
    open_sources,
    problems,
    require_sides,
)
from muomni_cli.data.split import SPLITS, Split, split_of

if TYPE_CHECKING:
    from muomni_cli.recipe.model import PartSpec, Recipe

FORMAT = 5  # incremented when the cached data for the same sources and settings change
Progress = Callable[[str], None]


@dataclass(slots=True, eq=False)
class DecodedExamples(Sampled):
    """Implements :class:`muomni_cli.contract.data.Examples`."""

    inputs: Sequence[NDArray[Any]]
    texts: Sequence[str]
    labels: Sequence[str | None]
    sampler: BatchSampler
    keys: Sequence[str] = ()
    sources: Sequence[int] = ()
    voices: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.inputs)


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
    """The recipe's examples for an encoder's stage or a speech stage: from the cache, or decoded now. ``seed``: of
    their order. ``only``: open only this side, including ``eval_only`` sources; the other is empty.

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
    for line in problems(found["unreadable"]):
        progress(f"warning: not used: {line}")
    usable = {split: len(found["rows"][split]) for split in SPLITS}
    require_sides(folder, table, sources, usable, recipe.data.val_fraction, only)
    splits = {split: _open(folder, split, found, seed) for split in SPLITS}
    names = [source.name for source in sources]
    numbers = {split: splits[split].sources for split in SPLITS}
    counts = of_rows(table, names, numbers, found["notes"])
    return DecodedExampleData(splits["train"], splits["val"], fingerprint, names, counts)


def _fingerprint(recipe: Recipe, chosen: PartSpec, sources: Sequence[DataSource]) -> str:
    part = chosen.registered.part
    assert isinstance(part, EncoderPart | CodecPart)
    settings = chosen.config.model_dump(mode="json")
    if part.cache_fields is not None:
        settings = {name: getattr(chosen.config, name) for name in sorted(part.cache_fields)}
    identity = {
        "format": FORMAT,
        "read": [chosen.registered.plugin.version, part.read],
        "config": settings,
        "val_fraction": recipe.data.val_fraction,
        "sources": [[source.identity, source.weight, source.state_of_files()] for source in sources],
    }
    return fingerprint_of(identity)


def _make(
    recipe: Recipe, chosen: PartSpec, sources: Sequence[DataSource], folder: Path, progress: Progress
) -> dict[str, Any]:
    """Write the inputs to ``folder`` and return everything else about the examples."""
    rows: dict[Split, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    unreadable: dict[str, str] = {}
    notes: list[dict[str, Any]] = []
    with ExitStack() as stack:
        writers = {split: stack.enter_context(closing(InputsWriter(folder / split))) for split in SPLITS}
        for number, source in enumerate(sources):
            for example, result in decode_all(chosen, example_items(source), lambda one: one.media, progress):
                if isinstance(result, str):
                    unreadable[example.media.name] = result
                    continue
                split = split_of(example, recipe.data.val_fraction)
                writers[split].append(result)
                row = {name: getattr(example, name) for name in ("text", "label", "key", "voice")}
                rows[split].append({**row, "source": number})
            merge(unreadable, source.dataset.unreadable)
            notes.append(source.notes)
    weights = [source.weight for source in sources]
    return {"rows": rows, "weights": weights, "unreadable": unreadable, "notes": notes}


def _open(folder: Path, split: Split, found: dict[str, Any], seed: int) -> DecodedExamples:
    rows = found["rows"][split]
    inputs = open_inputs(folder / split)
    columns = ("text", "label", "key", "source", "voice")
    texts, labels, keys, numbers, voices = ([row[key] for row in rows] for key in columns)
    sampler = BatchSampler([len(one) for one in inputs], numbers, found["weights"], seed)
    return DecodedExamples(inputs, texts, labels, sampler, keys, numbers, voices)

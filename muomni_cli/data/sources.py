"""A recipe's data sources: built, named, split, and identified by a fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from muomni_cli.contract.data import Conversation, Dataset, Document, Example
from muomni_cli.core.errors import RequestError
from muomni_cli.data.public_datasets import require_sets
from muomni_cli.data.split import Split
from muomni_cli.data.split_items import SourceSplit, SplitDataset
from muomni_cli.recipe.model import SOUND, SPEECH
from muomni_cli.registry.registry import resolve

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe

SPLITS: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True, slots=True)
class DataSource:
    """One opened ``[[data.<name>]]`` table."""

    name: str  # for display and metrics: its task, or its number and part
    weight: float  # sampling weight
    dataset: Dataset  # the dataset with its split
    identity: dict[str, Any]  # JSON data of everything in the recipe that determines its documents
    table: str = "text"  # NAME of ``[[data.<NAME>]]``
    stem: str = ""  # for file names: its number and part


def open_sources(
    recipe: Recipe, name: str = "text", only: Split | None = None, *, partly: bool = False
) -> list[DataSource]:
    """Every source in ``[[data.<name>]]`` except ``eval_only`` ones, in order; each item has its side of the split.

    Args:
        recipe: names them.
        name: of the table.
        only: yield only items of this side, and include ``eval_only`` sources.
        partly: allow missing public datasets; their sources raise when they are read.

    Raises:
        RequestError: the recipe has no such source, or public datasets are missing.
    """
    chosen_sources = [one for one in recipe.data.sources.get(name, ()) if only or not one.eval_only]
    if not chosen_sources:
        what = "no text" if name == "text" else f"no data for {name}"
        raise RequestError(f"the recipe names {what}", f'add a table [[data.{name}]] with use = "..."')
    if not partly:
        require_sets(recipe, [name], measured=only is not None)
    datasets: list[Dataset] = [
        resolve(one.registered.part.build, wanted_by=f"dataset {one.registered.part.name}")(one.config)
        for one in chosen_sources
    ]
    learned = [dataset for dataset, one in zip(datasets, chosen_sources, strict=True) if not one.eval_only]
    split = SourceSplit(learned, recipe.data.val_fraction)
    opened: list[DataSource] = []
    for index, (chosen, built) in enumerate(zip(chosen_sources, datasets, strict=True)):
        plugin, part = chosen.registered.plugin, chosen.registered.part
        identity: dict[str, Any] = {
            "part": f"{plugin.name}:{part.name}",
            "version": plugin.version,
            "config": chosen.config.model_dump(mode="json"),
        }
        stem = f"{index}-{part.name}"
        if only:
            identity["only"] = [only, chosen.eval_only]
        dataset = SplitDataset(built, None if chosen.eval_only else split, only)
        opened.append(DataSource(chosen.task or stem, chosen.weight, dataset, identity, name, stem))
    return opened


def text_items(source: DataSource) -> Iterator[Document | Conversation]:
    """The items of a text source. Raises RequestError: an item is not text, or has media."""
    for item in conversation_items(source):
        if isinstance(item, Conversation) and any(message.media for message in item.messages):
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives more than text",
                "conversations with images or audio belong in [[data.omni]]",
            )
        yield item


def conversation_items(source: DataSource) -> Iterator[Document | Conversation]:
    """The items of a source of text or conversations, which may have media. Raises RequestError: an item is an
    example."""
    for item in source.dataset.documents():
        if isinstance(item, Example):
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives examples of {item.media.modality}",
                f"move it to [[data.{item.media.modality}]], or ask questions about them in [[data.omni]]",
            )
        yield item


def word_items(source: DataSource) -> Iterator[Document | Conversation]:
    """The items of a source of text or conversations, depending on its table."""
    return text_items(source) if source.table == "text" else conversation_items(source)


def example_items(source: DataSource) -> Iterator[Example]:
    """The items of a source of one modality's examples. Raises RequestError: an item is not an example, or has another
    modality."""
    for item in source.dataset.documents():
        if not isinstance(item, Example):
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives a {type(item).__name__.lower()}, not an example",
                "use a source of examples there; conversations belong in [[data.omni]]",
            )
        if item.media.modality != (SOUND if source.table == SPEECH else source.table):
            raise RequestError(
                f"{source.name} in [[data.{source.table}]] gives examples of {item.media.modality}",
                f"move it to [[data.{item.media.modality}]], or leave such files out",
            )
        yield item


def state_of_files(source: DataSource) -> list[tuple[str, int, int]]:
    """Path, size and modification time (ns) of each file of a source."""
    found: list[tuple[str, int, int]] = []
    for path in source.dataset.files():
        stat = path.stat()
        found.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns))
    return found


def texts_of(item: Document | Conversation) -> Iterator[str]:
    if isinstance(item, Document):
        yield item.text
    else:
        for message in item.messages:
            yield message.text

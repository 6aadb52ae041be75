"""The sources that a recipe names: built, named, split, and told apart by a fingerprint.

Knows nothing of tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from muomni_cli.api import Conversation, Dataset, Document, Example, Item, RequestError, side_of
from muomni_cli.registry import resolve

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True, slots=True)
class Source:
    """One ``[[data.<name>]]`` table, opened.

    Args:
        name: for people and for file names: its number in the recipe and its part.
        weight: how often it is drawn, relative to the others.
        dataset: what its part built.
        identity: what of the recipe decides its documents, as JSON can hold it.
    """

    name: str
    weight: float
    dataset: Dataset
    identity: dict[str, Any]


def open_sources(recipe: Recipe, name: str = "text") -> list[Source]:
    """Every source in ``[[data.<name>]]``, in its order.

    Raises:
        RequestError: the recipe names none.
    """
    chosen_sources = recipe.data.sources.get(name, ())
    if not chosen_sources:
        what = "no text" if name == "text" else f"no data for {name}"
        raise RequestError(f"the recipe names {what}", f'add a table [[data.{name}]] with use = "..."')
    opened: list[Source] = []
    for index, chosen in enumerate(chosen_sources):
        plugin, part = chosen.registered.plugin, chosen.registered.part
        dataset: Dataset = resolve(part.build, wanted_by=f"dataset {part.name}")(chosen.config)
        identity = {
            "part": f"{plugin.name}:{part.name}",
            "version": plugin.version,
            "config": chosen.config.model_dump(mode="json"),
        }
        opened.append(Source(f"{index}-{part.name}", chosen.weight, dataset, identity))
    return opened


def text_items(source: Source) -> Iterator[Document | Conversation]:
    """The items of a source of text.

    Raises:
        RequestError: an item is no text, or has media.
    """
    for item in source.dataset.documents():
        if isinstance(item, Example) or (isinstance(item, Conversation) and any(m.media for m in item.messages)):
            raise RequestError(
                f"{source.name} in [[data.text]] gives more than text",
                "examples belong into [[data.<modality>]], conversations with pictures or sound into [[data.omni]]",
            )
        yield item


def state_of_files(source: Source) -> list[tuple[str, int, int]]:
    """Path, size and time of change (ns) of each file that a source reads."""
    found: list[tuple[str, int, int]] = []
    for path in source.dataset.files():
        stat = path.stat()
        found.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns))
    return found


def split_of(item: Item, val_fraction: float) -> Split:
    """On which side an item is: as its source says, else by the hash of its key, whatever the order of the items."""
    return item.split or side_of(item.key, val_fraction)


def texts_of(item: Document | Conversation) -> Iterator[str]:
    """The texts in an item, without roles."""
    if isinstance(item, Document):
        yield item.text
    else:
        for message in item.messages:
            yield message.text

"""The sources of text that a recipe names: built, named, split, and told apart by a fingerprint.

Knows nothing of tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from muomni_cli.api import Conversation, Dataset, Document, RequestError
from muomni_cli.registry import resolve

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True, slots=True)
class Source:
    """One ``[[data.text]]`` table, opened.

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


def open_sources(recipe: Recipe) -> list[Source]:
    """Every source of text of the recipe, in its order.

    Raises:
        RequestError: the recipe names none.
    """
    if not recipe.data.text:
        raise RequestError("the recipe names no text", 'add a table [[data.text]] with use = "text" and path = "..."')
    opened: list[Source] = []
    for index, chosen in enumerate(recipe.data.text):
        plugin, part = chosen.registered.plugin, chosen.registered.part
        dataset: Dataset = resolve(part.build, wanted_by=f"dataset {part.name}")(chosen.config)
        identity = {
            "part": f"{plugin.name}:{part.name}",
            "version": plugin.version,
            "config": chosen.config.model_dump(mode="json"),
        }
        opened.append(Source(f"{index}-{part.name}", chosen.weight, dataset, identity))
    return opened


def state_of_files(source: Source) -> list[tuple[str, int, int]]:
    """Path, size and time of change (ns) of each file that a source reads."""
    found: list[tuple[str, int, int]] = []
    for path in source.dataset.files():
        stat = path.stat()
        found.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns))
    return found


def split_of(item: Document | Conversation, val_fraction: float) -> Split:
    """On which side an item is: as its source says, else by the hash of its key, whatever the order of the items."""
    if item.split is not None:
        return item.split
    digest = hashlib.blake2b(item.key.encode("utf-8"), digest_size=8).digest()
    return "val" if int.from_bytes(digest, "big") < val_fraction * 2**64 else "train"


def texts_of(item: Document | Conversation) -> Iterator[str]:
    """The texts in an item, without roles."""
    if isinstance(item, Document):
        yield item.text
    else:
        for message in item.messages:
            yield message.text

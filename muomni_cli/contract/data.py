"""What data sources give: documents, conversations, and examples of one modality with words to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from muomni_cli.contract.media import Media


@dataclass(frozen=True, slots=True)
class Document:
    """One text. ``key`` decides the split: pieces of one book share a key and so stay on one side.

    ``split`` overrides the hash, for sources that name what they hold out.
    """

    text: str
    key: str
    source: str = ""
    split: Literal["train", "val"] | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation: what is shown or played (``media``, before the text), and what is said."""

    role: Literal["system", "user", "assistant"]
    text: str
    media: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order; split and key as in :class:`Document`.

    ``learn`` says what a model is trained on: what the assistant says, or all of it. ``about``: the modalities that the
    last answer depends on, where the source knows. Where what is shown and played comes from several examples, their
    keys joined by ``|`` are a key.
    """

    messages: tuple[Message, ...]
    key: str
    source: str = ""
    split: Literal["train", "val"] | None = None
    learn: Literal["answers", "all"] = "answers"
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One input of an encoder and words to it, for the encoder's own stage; split and key as in :class:`Document`.

    ``text``: what is said in a sound, or to be seen in a picture. ``label``: its class, where it has one. Examples of
    one speaker, or of one scene, share a key and so stay on one side. ``voice``: who says it, where it matters.
    """

    media: Media
    text: str
    key: str
    label: str | None = None
    source: str = ""
    split: Literal["train", "val"] | None = None
    voice: str = ""


Item = Document | Conversation | Example


def side_of(key: str, val_fraction: float) -> Literal["train", "val"]:
    """On which side of the split a key is that no source puts on one: by its hash, whatever else there is."""
    digest = hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest()
    return "val" if int.from_bytes(digest, "big") < val_fraction * 2**64 else "train"


def sides_of(items: Iterable[tuple[str, str | None]], val_fraction: float) -> dict[str, Literal["train", "val"]]:
    """The side of every key, such that none is empty where there are two or more: what :func:`side_of` says, and
    where all would be on one side, the keys nearest to the threshold on the other, class by class.

    Args:
        items: key and label of each.
        val_fraction: the share of keys to hold out.
    """
    from muomni_cli.data.split import sides_of_keys

    return sides_of_keys(items, val_fraction)


class Dataset(Protocol):
    """What a dataset part builds; see :class:`DatasetPart`.

    A dataset may have ``remarks``, too: a sequence of lines about what a user should know after all was read, such as
    a setting that had no effect. Training and ``muomni data check`` show them as warnings.
    """

    def documents(self) -> Iterator[Item]: ...

    def files(self) -> list[Path]: ...

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Files (or parts of them) that ``documents`` could not use so far, each with the reason."""
        ...

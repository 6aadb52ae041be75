"""What data sources give: documents and conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


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
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order; split and key as in :class:`Document`.

    ``learn`` says what a model is trained on: what the assistant says, or all of it.
    """

    messages: tuple[Message, ...]
    key: str
    source: str = ""
    split: Literal["train", "val"] | None = None
    learn: Literal["answers", "all"] = "answers"


class Dataset(Protocol):
    """What a dataset part builds; see :class:`DatasetPart`."""

    def documents(self) -> Iterator[Document | Conversation]: ...

    def files(self) -> list[Path]: ...

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Files (or parts of them) that ``documents`` could not use so far, each with the reason."""
        ...

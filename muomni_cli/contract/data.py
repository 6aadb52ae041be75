"""What data sources yield: documents, conversations, and examples with their media (files or byte ranges of archives).

Media records are hashable and can be pickled, so that worker processes can decode them.
"""

from __future__ import annotations

import io
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Media(Hashable, Protocol):
    """One picture, sound, or input of another modality. Equal records open as equal bytes."""

    @property
    def modality(self) -> str:
        """Which encoder reads it: ``image``, ``audio``, or a stranger's."""
        ...

    @property
    def name(self) -> str:
        """What to call it in a message: a path, or ``MEMBER in ARCHIVE``."""
        ...

    def open(self) -> BinaryIO:
        """Its bytes, as a file that can seek.

        Raises:
            RequestError: it is not there, or cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileMedia:
    """A file of its own."""

    modality: str
    path: Path

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    def open(self) -> BinaryIO:
        """See :class:`Media`."""
        return open_regular(self.path)


@dataclass(frozen=True, slots=True)
class SliceMedia:
    """``size`` bytes of a file from ``offset`` on: a member of a tar archive, read in place."""

    modality: str
    path: Path
    offset: int
    size: int
    member: str

    @property
    def name(self) -> str:
        """The member and its archive."""
        return f"{self.member} in {self.path}"

    def open(self) -> BinaryIO:
        """See :class:`Media`."""
        with open_regular(self.path) as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise RequestError(f"{self.path} ends inside of {self.member}", "restore the archive")
        return io.BytesIO(content)


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


class Examples(Protocol):
    """The examples of one side of the split, decoded."""

    @property
    def inputs(self) -> Sequence[NDArray[Any]]:
        """What the encoder's ``read`` gave for each, memory-mapped."""
        ...

    @property
    def texts(self) -> Sequence[str]:
        """What is said in it or to be seen."""
        ...

    @property
    def labels(self) -> Sequence[str | None]:
        """Its class, where it has one."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """Its speaker or scene; see :class:`Example`."""
        ...

    @property
    def voices(self) -> Sequence[str]:
        """Who says it, where that matters."""
        ...

    @property
    def sources(self) -> Sequence[int]:
        """Number of the source it came from."""
        ...

    def __len__(self) -> int: ...

    def batch(self, step: int, batch_size: int) -> list[int]:
        """Indices of batch number ``step``, of about equal size each: a pure function of the seed and both numbers."""
        ...

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        """All indices once, from the smallest input to the largest."""
        ...


class ExampleData(Protocol):
    """Both sides of one modality's examples."""

    @property
    def train(self) -> Examples: ...

    @property
    def val(self) -> Examples: ...


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

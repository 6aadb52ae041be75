"""What data sources yield: documents, conversations, preferences, and examples with their media (files or byte ranges
of archives).

Media records are hashable and picklable, so that worker processes can decode them.
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
    """One image, audio clip or input of another modality. Equal records have equal bytes.

    Media that are read from a file also have its ``path``; ``muomni data check`` opens these.
    """

    @property
    def modality(self) -> str:
        """Modality of the encoder that reads it: ``image``, ``audio``, or one that a plugin adds."""

    @property
    def name(self) -> str: ...  # name for messages: a path, or ``MEMBER in ARCHIVE``

    def open(self) -> BinaryIO:
        """Open as a seekable binary file. Raises RequestError: it is missing or unreadable."""


@dataclass(frozen=True, slots=True)
class FileMedia:
    """A single file."""

    modality: str
    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def open(self) -> BinaryIO:
        return open_regular(self.path)


@dataclass(frozen=True, slots=True)
class SliceMedia:
    """``size`` bytes of a file from ``offset``: a member of a tar archive, read in place."""

    modality: str
    path: Path
    offset: int
    size: int
    member: str

    @property
    def name(self) -> str:
        return f"{self.member} in {self.path}"

    def open(self) -> BinaryIO:
        with open_regular(self.path) as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise RequestError(f"{self.path} ends inside of {self.member}", "restore the archive")
        return io.BytesIO(content)


@dataclass(frozen=True, slots=True)
class Document:
    """One text.

    ``key`` decides the split: pieces of one book share a key, so that they stay on one side. ``split`` overrides this,
    for sources with a held-out set of their own.
    """

    text: str
    key: str
    source: str = ""
    split: Literal["train", "val"] | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation: ``media`` (before the text) and text."""

    role: Literal["system", "user", "assistant"]
    text: str
    media: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order; split and key as in :class:`Document`.

    ``learn``: train on the assistant's messages only, or on all. ``about``: modalities that the last answer depends on,
    if the source knows. If the media come from several examples, ``key`` is their keys joined by ``|``.
    """

    messages: tuple[Message, ...]
    key: str
    source: str = ""
    split: Literal["train", "val"] | None = None
    learn: Literal["answers", "all"] = "answers"
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """One labeled input for an encoder's own stage; split and key as in :class:`Document`.

    ``text``: transcript or caption. ``label``: class, if any. ``voice``: speaker, if it matters. Examples of one
    speaker or scene share a key, so that they stay on one side of the split.
    """

    media: Media
    text: str
    key: str
    label: str | None = None
    source: str = ""
    split: Literal["train", "val"] | None = None
    voice: str = ""


@dataclass(frozen=True, slots=True)
class Preference:
    """Two answers to the conversation ``prompt``, of which ``chosen`` is the better one, for the stage ``dpo``; split
    and key as in :class:`Document`."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    key: str
    source: str = ""
    split: Literal["train", "val"] | None = None


Codes = tuple[tuple[int, ...], ...]  # the Q codes of each frame


@dataclass(frozen=True, slots=True)
class SpeechPreference:
    """Two utterances of ``text``, of which ``chosen`` is the better one, for the stage ``talker_dpo``; split and key as
    in :class:`Document`. ``voice``: name of the voice; empty for the Talker's first one."""

    text: str
    chosen: Codes
    rejected: Codes
    key: str
    voice: str = ""
    source: str = ""
    split: Literal["train", "val"] | None = None


Item = Document | Conversation | Example | Preference | SpeechPreference


class Examples(Protocol):
    """The decoded examples of one side of the split."""

    @property
    def inputs(self) -> Sequence[NDArray[Any]]: ...  # results of the encoder's ``read``, memory-mapped
    @property
    def texts(self) -> Sequence[str]: ...  # transcripts or captions
    @property
    def labels(self) -> Sequence[str | None]: ...  # classes, if any
    @property
    def keys(self) -> Sequence[str]: ...  # speakers or scenes; see :class:`Example`
    @property
    def voices(self) -> Sequence[str]: ...  # speakers, where that matters
    @property
    def sources(self) -> Sequence[int]: ...  # indices of the sources
    def __len__(self) -> int: ...

    def batch(self, step: int, batch_size: int) -> list[int]:
        """Indices of batch ``step``, of similar sizes: a pure function of the seed and both arguments."""

    def batches(self, batch_size: int) -> Iterator[list[int]]:
        """All indices once, in order of input size."""


class ExampleData(Protocol):
    """The examples of one modality, split."""

    @property
    def train(self) -> Examples: ...
    @property
    def val(self) -> Examples: ...


class Dataset(Protocol):
    """What a dataset part builds; see :class:`DatasetPart`.

    A dataset may also have, to be shown in training and ``muomni data check`` after everything has been read,
    ``remarks``: warnings, such as a setting that had no effect; and ``left_out``: reason -> number of files or examples
    that are not used on purpose, such as ``{"hidden": 3}``.
    """

    def documents(self) -> Iterator[Item]: ...
    def files(self) -> list[Path]: ...

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Files (or parts of them) that ``documents`` has had to skip so far -> reason."""

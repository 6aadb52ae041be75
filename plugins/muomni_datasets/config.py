"""Configuration of the sources; nothing heavy is imported here."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from muomni_cli.api import PartConfig

Learn = Literal["answers", "all"]
Side = Literal["", "train", "val"]
"""For which side of the split all items of a source are; empty where their keys decide."""

SIDES: dict[str, Literal["train", "val"] | None] = {"": None, "train": "train", "val": "val"}
"""The same as items have it."""


def _compiles(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{expression!r} is not a regular expression: {error}") from error
    return expression


Expression = Annotated[str, AfterValidator(_compiles)]
"""A regular expression."""


class FilesConfig(PartConfig):
    """What every source that reads files is told."""

    path: str = Field(
        "", description="a file, a folder (searched through), a glob or set:NAME; ~ and $NAME are expanded"
    )
    pattern: str = Field("*", description="in a folder, only files whose name matches this glob")


class TextConfig(FilesConfig):
    """Plain text."""

    split: Expression = Field(
        "blank-line", description='what parts documents: "blank-line", "line", "file", or a regular expression'
    )
    holdout: tuple[Expression, ...] = Field(
        (),
        description="regular expressions: a document in whose first 300 characters one is found is for validation",
    )


class JsonLinesConfig(FilesConfig):
    """One JSON object a line."""

    field: str = Field("text", description="where the text is; a.b is the field b of the field a")


class ConversationsConfig(FilesConfig):
    """Conversations, as JSON Lines or as plain text with turn prefixes."""

    user_prefix: str = Field("U: ", description="what begins a user's turn in plain text")
    assistant_prefix: str = Field("A: ", description="what begins an assistant's turn in plain text")
    learn: Learn = Field("answers", description='train on the "answers" alone, or on "all" turns')
    media: tuple[str, ...] = Field(
        ("image", "audio"), description="fields of a message that name files to be shown or played with it"
    )


class TalesConfig(PartConfig):
    """Tales and conversations made from a grammar."""

    count: int = Field(10_000, ge=1, description="how many items to make")
    seed: int = Field(0, ge=0, description="another seed, other tales")
    conversations: float = Field(0.5, ge=0, le=1, description="share of the items that are conversations")
    unknown: float = Field(
        0.0, ge=0, le=1, description="share of the questions that nothing answers; the answer says that it is not known"
    )
    learn: Learn = Field("answers", description='train on the "answers" of conversations alone, or on "all" turns')

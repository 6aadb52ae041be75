"""Settings of the data sources. Imported by every listing, so it must not import anything heavy."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from muomni_cli.api import PartConfig
from muomni_datasets.story_plots import SLOT, mistake

Learn = Literal["answers", "all"]
Split = Literal["", "train", "val"]  # side of the split of all items of a source; empty: a hash of their keys decides
SIDES: dict[str, Literal["train", "val"] | None] = {"": None, "train": "train", "val": "val"}  # as the split of items

Kind = Literal[
    "high tone", "low tone", "rising tone", "falling tone", "noise", "clicks", "two tones", "unknown", "held"
]  # fmt: skip
KINDS: tuple[Kind, ...] = ("high tone", "low tone", "rising tone", "falling tone", "noise", "clicks", "two tones")
USE = "which source"
MAX_COUNT = 100_000_000  # of generated items
_Speed = Annotated[float, Field(ge=0.5, le=2)]


def _compiles(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{expression!r} is not a regular expression: {error}") from error
    return expression


Expression = Annotated[str, AfterValidator(_compiles)]  # a regular expression


class FilesConfig(PartConfig):
    """Settings of all sources that read files."""

    path: str = Field(
        "",
        description="a file, a folder (searched through), a glob or set:NAME; ~ and $NAME are expanded; text, Parquet "
        "and tar also by URL: s3://, gs://, https://",
    )
    pattern: str = Field("*", description="in a folder, only files whose name matches this glob")


class TextConfig(FilesConfig):
    """Plain text."""

    split: Expression = Field(
        "blank-line", description='document separator: "blank-line", "line", "file", or a regular expression'
    )
    holdout: tuple[Expression, ...] = Field(
        (), description="regular expressions: documents that match in their first 300 characters are for validation"
    )


class JsonLinesConfig(FilesConfig):
    """One JSON object a line."""

    field: str = Field("text", description="field of the text; a.b is the field b of the field a")


class ParquetConfig(FilesConfig):
    """One document a row."""

    column: str = Field("text", min_length=1, description="column of the text")
    key: str = Field("", description="column of what decides the split, such as a book's name; empty: the text")


class ConversationsConfig(FilesConfig):
    """Conversations, as JSON Lines or as plain text with turn prefixes."""

    user_prefix: str = Field("U: ", description="prefix of a user's turn in plain text")
    assistant_prefix: str = Field("A: ", description="prefix of an assistant's turn in plain text")
    learn: Learn = Field("answers", description='train on the "answers" only, or on "all" turns')
    media: tuple[str, ...] = Field(("image", "audio"), description="fields of a message that name attached files")


class PreferencesConfig(FilesConfig):
    """Pairs of a better and a worse answer: prompt, chosen and rejected."""


class TalesConfig(PartConfig):
    """Stories and conversations generated from a grammar."""

    count: int = Field(10_000, ge=1, le=MAX_COUNT, description="number of items")
    seed: int = Field(0, ge=0, lt=2**63, description="random seed")
    conversations: float = Field(0.5, ge=0, le=1, description="share of the items that are conversations")
    unknown: float = Field(
        0.0, ge=0, le=1, description="share of unanswerable questions; their answer says that it is not known"
    )
    learn: Learn = Field("answers", description='train on the "answers" of conversations only, or on "all" turns')


class SmallTalkConfig(PartConfig):
    """Small talk generated from acts."""

    count: int = Field(10_000, ge=1, le=MAX_COUNT, description="number of conversations")
    seed: int = Field(0, ge=0, lt=2**63, description="random seed")
    facts: float = Field(0.2, ge=0, le=1, description="share of questions about simple facts, sums and little stories")
    people: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of messages that people wrote, from the Python package chitchat-dataset (MIT), answered in "
        "general",
    )

    @model_validator(mode="after")
    def _at_most_all(self) -> SmallTalkConfig:
        if self.facts + self.people > 1:
            raise ValueError("facts and people are shares of the same questions: their sum must be at most 1")
        return self


class ManifestConfig(FilesConfig):
    """Examples listed in JSON Lines."""

    modality: str = Field(
        "image", pattern=r"^[a-z0-9_-]+$", description="modality of the examples, and field that names the file"
    )


class NamedConfig(FilesConfig):
    """How files or archive members become examples: by their names, and by captions and files beside them."""

    modality: str = Field("", description='"image", "audio" or another one; empty: by the suffixes of the names')
    name: Expression = Field(
        r"(?:^|/)(?P<label>[^/]+)/[^/]+$",
        description="regular expression searched in the name, with groups label, text and key (examples of one key, "
        "such as a speaker, stay on one side of the split; default: the name); by default the folder is the label",
    )
    names: dict[str, str] = Field({}, description='replaces labels found in names, such as "0" = "zero"')
    labels: tuple[str, ...] = Field((), description="labels to keep, after names is applied; empty for all")
    holdout: tuple[Expression, ...] = Field(
        (), description="regular expressions: matching keys are for validation, all others for training"
    )
    exclude: tuple[Expression, ...] = Field((), description="regular expressions: matching names are skipped")
    gain: float = Field(0.0, ge=-80, le=40, description="dB by which sounds are made louder or, below 0, quieter")
    seconds: float = Field(
        0.0,
        ge=0,
        le=120,
        description="length of the recording of faint noise in which a shorter sound lies somewhere; 0: none",
    )
    captions: str = Field(
        "",
        description="captions file in the folder or in each archive, one line per example: name, tab or |, text (the "
        "last column, or the one titled text in the first line)",
    )


class FolderConfig(NamedConfig):
    """Files in folders."""


class TarConfig(NamedConfig):
    """Members of tar archives."""


class IdxConfig(PartConfig):
    """Pictures and labels as in MNIST."""

    images: str = Field(
        "", description="IDX file of gray pictures, plain or .gz, or set:NAME/FILE; ~ and $NAME are expanded"
    )
    labels: str = Field("", description="IDX file of their labels, plain or .gz")
    classes: tuple[str, ...] = Field((), description="names of the labels, from 0; empty: their numbers")
    split: Split = Field("", description='"train" or "val": side of all examples; empty: by hash')


LONGEST = 1000  # maximum characters of a spoken text; more would take minutes


def unsayable(text: str) -> str:
    """Why flite cannot speak a text correctly (it skips unknown letters); empty if it can."""
    if len(text) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if not text.isprintable():
        return "contains control characters"
    letters = [character for character in text if character.isalnum()]
    if not letters or not all(character.isascii() for character in letters):
        return "has no letters of English, or also others"
    return ""


def _is_sayable(text: str) -> str:
    if reason := unsayable(text):
        raise ValueError(f"flite cannot speak it: it {reason}")
    return text


Sayable = Annotated[str, AfterValidator(_is_sayable)]  # a text that flite speaks correctly


class MadeConfig(PartConfig):
    """Settings of all sources that generate examples."""

    count: int = Field(10_000, ge=1, le=MAX_COUNT, description="number of examples")
    seed: int = Field(0, ge=0, lt=2**63, description="random seed")
    split: Split = Field(
        "", description='"train" or "val": side of all examples, which also changes them; empty: by hash'
    )


class SoundsConfig(MadeConfig):
    """Tones, sweeps, noise and clicks."""

    seconds: float = Field(1.0, ge=0.2, le=60, description="length of each sound")
    sample_rate: int = Field(16_000, ge=8_000, le=48_000, description="sample rate in Hz")
    kinds: tuple[Kind, ...] = Field(
        KINDS, min_length=1, description="kinds of sounds; unknown ones have no name, and those held none in training"
    )  # fmt: skip
    hiss: float = Field(0.02, ge=0, le=0.2, description="loudest background noise, as a share of full scale")
    around: float = Field(0.0, ge=0, le=30, description="longest silence added before and after, in seconds")
    quieter: float = Field(0.0, ge=0, le=60, description="largest reduction of loudness, in dB")


NamedVoice = Annotated[str, Field(pattern=r"^[a-z0-9*_:-]+:[a-z0-9*_-]+$")]  # program:voice, perhaps with *


class SpokenConfig(FilesConfig):
    """Text spoken by a speech program."""

    program: Literal["auto", "flite", "hibari"] = Field(
        "auto",
        description='speech program: "flite" (a command), "hibari" (pip install \'muomni[voices]\'; one voice, pitched '
        'to replace those of flite), or "auto": flite if installed, else hibari',
    )

    path: str = Field("", description="text files: a file, a folder or a glob")
    cut: Literal["lines", "sentences"] = Field(
        "lines",
        description='texts of a file: its "lines", or the "sentences" of running text without numbers, words in '
        "capitals and letters that are not English",
    )
    min_words: int = Field(1, ge=1, le=10_000, description="words of the shortest sentence of running text")
    max_words: int = Field(100, ge=1, le=10_000, description="words of the longest one")
    sentences: tuple[Sayable, ...] = Field((), description="sentences, instead of a file")
    patterns: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description='sentences with slots, such as "turn the {room} light {onoff}", instead of a file'
    )
    slots: dict[str, Annotated[tuple[Sayable, ...], Field(min_length=1)]] = Field(
        {}, description="values of each slot of the patterns"
    )
    words: tuple[Sayable, ...] = Field((), description="single words, which are also labels, instead of a file")
    grammar: str = Field("", description="a grammar of commands, whose sentences are spoken, instead of a file")
    voices: tuple[Literal["slt", "rms", "awb", "kal16"] | NamedVoice, ...] = Field(
        ("slt", "rms", "awb", "kal16"),
        min_length=1,
        description='possible voices: some of slt, rms, awb and kal16, or "program:voice" of any speech programs, with '
        '* for any letters: "flite:*", "kokoro:mix*-in"',
    )
    pauses: float = Field(
        0.0, ge=0, le=1, description="share of the texts that are spoken with pauses between words, as by commas"
    )
    count: int = Field(
        0, ge=0, le=MAX_COUNT, description="number of examples, cycling; 0: each text once (not with patterns)"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="random seed of voices and patterns")
    split: Split = Field("", description='"train" or "val": side of all examples; empty: by hash of the key')
    key: Literal["text", "voice"] = Field("text", description="what stays on one side of the split")
    holdout: tuple[Expression, ...] = Field(
        (), description="regular expressions: matching keys are for validation, all others for training"
    )
    stretch: tuple[_Speed, _Speed] = Field((0.9, 1.2), description="range of duration, relative to the voice's own")
    pitch: tuple[_Speed, _Speed] = Field(
        (0.9, 1.1), description="range of pitch, relative to the voice's own (rms keeps its own)"
    )

    @model_validator(mode="after")
    def _fits(self) -> SpokenConfig:
        for low, high in (self.stretch, self.pitch):
            if low > high:
                raise ValueError("stretch and pitch must be ranges within 0.5 to 2, lower bound first")
        given = [name for name in ("path", "sentences", "words", "patterns", "grammar") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: write one of them")
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is more than max_words {self.max_words}")
        if wrong := mistake(self.patterns, self.slots):
            raise ValueError(wrong)
        if (self.patterns or self.grammar) and not self.count:
            raise ValueError("patterns and a grammar need a count: the number of sentences")
        if len({":" in voice for voice in self.voices}) > 1:
            raise ValueError('write all voices as "program:voice", or none of them')
        for pattern in self.patterns:
            longest = SLOT.sub(lambda slot: max(self.slots[slot.group(1)], key=len), pattern)
            if reason := unsayable(longest):
                raise ValueError(f"flite cannot speak {pattern[:60]!r}: it {reason}")
        return self


# The sources of `asked.from`, discriminated by `use`.

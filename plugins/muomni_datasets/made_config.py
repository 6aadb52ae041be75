"""Configuration of the sources that make their own examples; nothing heavy is imported here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from muomni_cli.api import PartConfig
from muomni_datasets.config import Expression, FilesConfig, Side
from muomni_datasets.grammar import SLOT, mistake

Colour = Literal["red", "green", "blue", "yellow", "purple", "orange", "black", "white", "pink", "brown"]
COLOURS: tuple[Colour, ...] = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
"""What a scene is drawn in unless others are named."""
NAMED: tuple[Colour, ...] = ("pink", "brown")
"""Drawn where they are named alone: for what a model that saw the others does not know."""
Shape = Literal["circle", "square", "triangle", "star"]
SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle", "star")
PAIRS = tuple(f"{colour} {shape}" for colour in COLOURS + NAMED for shape in SHAPES)
"""Every kind of thing in a scene."""

Kind = Literal["high tone", "low tone", "rising tone", "falling tone", "noise", "clicks", "two tones"]
KINDS: tuple[Kind, ...] = ("high tone", "low tone", "rising tone", "falling tone", "noise", "clicks", "two tones")


def _is_pair(text: str) -> str:
    if text not in PAIRS:
        raise ValueError(f"no colour ({', '.join(COLOURS + NAMED)}) and shape ({', '.join(SHAPES)})")
    return text


Pair = Annotated[str, AfterValidator(_is_pair)]
"""A colour and a shape: ``"green star"``."""

LONGEST = 1000
"""Characters that are said at most; more takes minutes to listen to."""


def unsayable(text: str) -> str:
    """Why flite would not say a text as it is written; empty if it would. Letters it does not know it leaves out."""
    if len(text) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if not text.isprintable():
        return "holds control characters"
    letters = [character for character in text if character.isalnum()]
    if not letters or not all(character.isascii() for character in letters):
        return "has no letters of English, or others too"
    return ""


def _is_sayable(text: str) -> str:
    if reason := unsayable(text):
        raise ValueError(f"flite cannot say it: it {reason}")
    return text


Sayable = Annotated[str, AfterValidator(_is_sayable)]
"""A text that flite says as it is written."""


class MadeConfig(PartConfig):
    """What every source that makes its examples is told."""

    count: int = Field(10_000, ge=1, description="how many to make")
    seed: int = Field(0, ge=0, description="another seed, other examples")
    split: Side = Field(
        "", description='"train" or "val": all are for that side, and other ones than on the other; empty: by hash'
    )


class ScenesConfig(MadeConfig):
    """Drawn scenes."""

    size: int = Field(64, ge=16, le=1024, description="width and height in pixels")
    objects: tuple[Annotated[int, Field(ge=1, le=3)], ...] = Field(
        (1, 2), min_length=1, description="how many things a scene may show: of 1, 2 and 3"
    )
    counting: float = Field(0.0, ge=0, le=1, description="share of the scenes that show one to four equal things")
    colours: tuple[Colour, ...] = Field(COLOURS, min_length=1, description="what colours things may have")
    shapes: tuple[Shape, ...] = Field(SHAPES, min_length=1, description="what shapes they may have")
    without: tuple[Pair, ...] = Field((), description='kinds that are never drawn, such as "green star"')
    only: tuple[Pair, ...] = Field(
        (), description="kinds that the first thing is of, and no other thing; empty for all"
    )
    smooth: bool = Field(False, description="draw soft edges")
    give: Literal["captions", "questions"] = Field(
        "captions", description='examples with "captions", or conversations with "questions"'
    )

    @property
    def kinds(self) -> list[str]:
        """What may be drawn at all, in the order of :data:`PAIRS`."""
        pairs = [(pair, *pair.split()) for pair in PAIRS if pair not in self.without]
        return [pair for pair, colour, shape in pairs if colour in self.colours and shape in self.shapes]

    @model_validator(mode="after")
    def _something_is_left(self) -> ScenesConfig:
        kinds = set(self.kinds)
        if not (kinds & set(self.only) if self.only else kinds):
            raise ValueError("`without`, `colours` and `shapes` leave nothing that the first thing could be")
        if len(kinds - set(self.only)) < 3:
            raise ValueError("`without`, `only`, `colours` and `shapes` leave fewer than three kinds for other things")
        return self


class SoundsConfig(MadeConfig):
    """Tones, sweeps, noise and clicks."""

    seconds: float = Field(1.0, ge=0.2, le=60, description="length of each")
    sample_rate: int = Field(16_000, ge=8_000, le=48_000, description="samples a second")
    kinds: tuple[Kind, ...] = Field(KINDS, min_length=1, description="what to make")
    hiss: float = Field(0.02, ge=0, le=0.2, description="loudest hiss under the sound, of full scale")


class SpokenConfig(FilesConfig):
    """Text spoken by a speech program."""

    program: Literal["auto", "flite", "hibari"] = Field(
        "auto",
        description='who speaks: "flite" (a command), "hibari" (pip install \'muomni[voices]\'; its voice, at other '
        'pitches, stands in for those of flite), or "auto": flite where it is installed, else hibari',
    )

    path: str = Field("", description="text files: a file, a folder or a glob")
    cut: Literal["lines", "sentences"] = Field(
        "lines",
        description='what is said of a file: each of its "lines", or the "sentences" of running text; of those, none '
        "with numbers, words in capitals or letters that are not English",
    )
    min_words: int = Field(1, ge=1, description="words of the shortest sentence that is cut from running text")
    max_words: int = Field(100, ge=1, description="words of the longest one")
    sentences: tuple[Sayable, ...] = Field((), description="sentences to say, in place of a file")
    patterns: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description='sentences with slots, such as "turn the {room} light {onoff}", in place of a file'
    )
    slots: dict[str, Annotated[tuple[Sayable, ...], Field(min_length=1)]] = Field(
        {}, description="what may stand in each slot of the patterns"
    )
    words: tuple[Sayable, ...] = Field((), description="single words to say, which become labels, in place of a file")
    voices: tuple[Literal["slt", "rms", "awb", "kal16"], ...] = Field(
        ("slt", "rms", "awb", "kal16"), min_length=1, description="who may say them"
    )
    count: int = Field(0, ge=0, description="how many to make, going round; 0 for each text once (not for patterns)")
    seed: int = Field(0, ge=0, description="another seed, other voices for the texts, and other ones of patterns")
    split: Side = Field("", description='"train" or "val": all are for that side; empty: by hash of the key')
    key: Literal["text", "voice"] = Field("text", description="what stays on one side of the split")
    holdout: tuple[Expression, ...] = Field(
        (), description="regular expressions: keys in which one is found are for validation, and no others"
    )
    stretch: tuple[float, float] = Field((0.9, 1.2), description="least and most duration, relative to the voice's own")
    pitch: tuple[float, float] = Field(
        (0.9, 1.1), description="lowest and highest pitch, relative to the voice's own (rms keeps its own)"
    )

    @model_validator(mode="after")
    def _ranges(self) -> SpokenConfig:
        for low, high in (self.stretch, self.pitch):
            if not 0.5 <= low <= high <= 2:
                raise ValueError("stretch and pitch go from a lower to a higher number, from 0.5 to 2")
        return self

    @model_validator(mode="after")
    def _one_kind_of_text(self) -> SpokenConfig:
        given = [name for name in ("path", "sentences", "words", "patterns") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are each a kind of text of their own: write one of them")
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is more than max_words {self.max_words}")
        return self

    @model_validator(mode="after")
    def _patterns_can_be_filled(self) -> SpokenConfig:
        if wrong := mistake(self.patterns, self.slots):
            raise ValueError(wrong)
        if self.patterns and not self.count:
            raise ValueError("patterns have no end by themselves: write count, how many sentences to make")
        for pattern in self.patterns:
            longest = SLOT.sub(lambda slot: max(self.slots[slot.group(1)], key=len), pattern)
            if reason := unsayable(longest):
                raise ValueError(f"flite cannot say {pattern[:60]!r}: it {reason}")
        return self

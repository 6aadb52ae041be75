"""Settings of the data sources. Every listing command imports this module, so it imports nothing heavy."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from muomni_cli.api import PartConfig
from muomni_datasets.story_plots import PLACE, SLOT, mistake, places

Learn = Literal["answers", "all"]

Split = Literal["", "train", "val"]
"""For which side of the split all items of a source are; empty where their keys decide."""

SIDES: dict[str, Literal["train", "val"] | None] = {"": None, "train": "train", "val": "val"}
"""The same as items have it."""

Color = Literal["red", "green", "blue", "yellow", "purple", "orange", "black", "white", "pink", "brown"]

COLORS: tuple[Color, ...] = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
"""What a scene is drawn in unless others are named."""

NAMED: tuple[Color, ...] = ("pink", "brown")
"""Drawn where they are named alone: for what a model that saw the others does not know."""

Shape = Literal["circle", "square", "triangle", "star"]

SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle", "star")

PAIRS = tuple(f"{color} {shape}" for color in COLORS + NAMED for shape in SHAPES)
"""Every kind of thing in a scene."""

Kind = Literal["high tone", "low tone", "rising tone", "falling tone", "noise", "clicks", "two tones"]

KINDS: tuple[Kind, ...] = ("high tone", "low tone", "rising tone", "falling tone", "noise", "clicks", "two tones")

_USE = "which source"


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


class ManifestConfig(FilesConfig):
    """Examples listed in JSON Lines."""

    modality: str = Field(
        "image", pattern=r"^[a-z0-9_-]+$", description="what the examples are, and the field that names the file"
    )


class NamedConfig(FilesConfig):
    """How files or members of archives become examples: by their names, and by captions beside them."""

    modality: str = Field("", description='"image", "audio" or another one; empty: as the endings of the names say')
    name: Expression = Field(
        r"(?:^|/)(?P<label>[^/]+)/[^/]+$",
        description="regular expression looked for in the name, with groups called label, text and key (of what must "
        "stay on one side of the split, such as a speaker; otherwise the name); by default the folder is the label",
    )
    names: dict[str, str] = Field({}, description='better labels for those in the names, such as "0" = "zero"')
    labels: tuple[str, ...] = Field((), description="labels to keep, as names has them; empty for all")
    holdout: tuple[Expression, ...] = Field(
        (), description="regular expressions: keys in which one is found are for validation, and no others"
    )
    exclude: tuple[Expression, ...] = Field(
        (), description="regular expressions: names in which one is found are left out"
    )
    captions: str = Field(
        "",
        description="file with a line for each example: name, tab or |, text (of more columns the last, or the one "
        "that a first line calls text); in the folder, or in each archive",
    )


class FolderConfig(NamedConfig):
    """Files in folders."""


class TarConfig(NamedConfig):
    """Members of tar archives."""


class IdxConfig(PartConfig):
    """Pictures and labels as in MNIST."""

    images: str = Field(
        "", description="IDX file of grey pictures, plain or .gz, or set:NAME/FILE; ~ and $NAME are expanded"
    )
    labels: str = Field("", description="IDX file of their labels, plain or .gz")
    classes: tuple[str, ...] = Field((), description="names of the labels, from 0; empty for their numbers")
    split: Split = Field("", description='"train" or "val": all is for that side; empty: chosen by hash')


def _is_pair(text: str) -> str:
    if text not in PAIRS:
        raise ValueError(f"no colour ({', '.join(COLORS + NAMED)}) and shape ({', '.join(SHAPES)})")
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
    split: Split = Field(
        "", description='"train" or "val": all are for that side, and other ones than on the other; empty: by hash'
    )


class ScenesConfig(MadeConfig):
    """Drawn scenes."""

    size: int = Field(64, ge=16, le=1024, description="width and height in pixels")
    objects: tuple[Annotated[int, Field(ge=1, le=3)], ...] = Field(
        (1, 2), min_length=1, description="how many things a scene may show: of 1, 2 and 3"
    )
    counting: float = Field(0.0, ge=0, le=1, description="share of the scenes that show one to four equal things")
    colors: tuple[Color, ...] = Field(COLORS, min_length=1, description="what colours things may have")
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
        return [pair for pair, color, shape in pairs if color in self.colors and shape in self.shapes]

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
    split: Split = Field("", description='"train" or "val": all are for that side; empty: by hash of the key')
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


class FromManifest(ManifestConfig):
    """As in a list of its own."""

    use: Literal["manifest"] = Field(description=_USE)


class FromFolder(FolderConfig):
    """As in a list of its own."""

    use: Literal["folder"] = Field(description=_USE)


class FromTar(TarConfig):
    """As in a list of its own."""

    use: Literal["tar"] = Field(description=_USE)


class FromIdx(IdxConfig):
    """As in a list of its own."""

    use: Literal["idx"] = Field(description=_USE)


class FromScenes(ScenesConfig):
    """As in a list of its own."""

    use: Literal["scenes"] = Field(description=_USE)


class FromSounds(SoundsConfig):
    """As in a list of its own."""

    use: Literal["sounds"] = Field(description=_USE)


class FromSpoken(SpokenConfig):
    """As in a list of its own."""

    use: Literal["spoken"] = Field(description=_USE)


From = FromManifest | FromFolder | FromTar | FromIdx | FromScenes | FromSounds | FromSpoken


class TurnConfig(PartConfig):
    """A question, in several ways, and its answer."""

    question: tuple[str, ...] = Field((), description="ways to ask; {audio.label} stands for a fact of the example")
    answer: str = Field("", description="the answer, with facts in braces")

    @model_validator(mode="after")
    def _whole(self) -> TurnConfig:
        if not self.question or not self.answer:
            raise ValueError("an [[ask]] needs a question and an answer")
        for text in (*self.question, self.answer):
            if "{" in PLACE.sub("", text) or "}" in PLACE.sub("", text):
                raise ValueError(f"a brace in {text!r} stands by itself; a fact is written {{image.text}}")
        return self

    @property
    def facts(self) -> set[str]:
        """All facts that it may name, as ``audio.label``."""
        return {name for text in (*self.question, self.answer) for name in places(text)}

    @property
    def asked_of(self) -> set[str]:
        """The facts that the answer tells."""
        return set(places(self.answer))


class AskConfig(TurnConfig):
    """One thing to ask, in several ways, and its answer; perhaps with a question after it."""

    media: tuple[str, ...] = Field((), description="names in `from` of what is shown and played; empty for all")
    weight: float = Field(1.0, gt=0, description="how often this is asked, relative to the others")
    then: tuple[TurnConfig, ...] = Field(
        (), description="follow-up questions about the same, with their answers, of which one is asked next"
    )

    @property
    def facts(self) -> set[str]:
        """All facts that it and its follow-ups may name."""
        return super().facts.union(*(turn.facts for turn in self.then))


class GeneratedQuestionsConfig(PartConfig):
    """Questions about the examples of other sources."""

    count: int = Field(10_000, ge=0, description="conversations for training; 0 for none")
    val_count: int = Field(500, ge=0, description="conversations for validation, with examples that are for it")
    val_fraction: float = Field(
        0.01, ge=0, lt=1, description="share of examples that are for validation, where their source does not say; "
        "the same as data.val_fraction splits them as in a list of their own"
    )  # fmt: skip
    seed: int = Field(0, ge=0, description="another seed, other choices")
    sources: dict[str, Annotated[From, Field(discriminator="use")]] = Field(
        {}, alias="from", description="tables of sources of examples, each under a name that questions use"
    )
    ask: tuple[AskConfig, ...] = Field((), description="what is asked: tables with question, answer, media, weight")

    @model_validator(mode="after")
    def _fit(self) -> GeneratedQuestionsConfig:
        for name, source in self.sources.items():
            if isinstance(source, ScenesConfig) and source.give != "captions":
                raise ValueError(f'from.{name} gives conversations: write give = "captions"')
        for ask in self.ask:
            shown = ask.media or tuple(self.sources)
            strange = sorted(set(shown) - set(self.sources))
            strange += sorted(fact for fact in ask.facts if fact.partition(".")[0] not in shown)
            if strange:
                raise ValueError(
                    f"{ask.question[0]!r} speaks of {', '.join(strange)}; "
                    f"shown with it: {', '.join(name for name in shown if name in self.sources) or 'nothing'}"
                )
        return self

"""A recipe that has been read: its parts with their configs, its data, the host's settings, and its stages in
order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from muomni_cli.contract.declarations import PartConfig
from muomni_cli.recipe.settings import OWN_INIT, ChatSettings, DataSettings, TrainSettings
from muomni_cli.registry.registry import RegisteredPart

STAGES = ("tokenizer", "thinker", "image", "audio", "codec", "talker", "vocoder", "omni")
"""What ``[train.<stage>]`` may name, besides the modalities of ``[encoders.<modality>]``."""

SLOTS = ("tokenizer", "thinker", "talker", "codec", "vocoder")
"""Tables that each choose one part of the kind of the same name."""

SPEECH = "speech"
"""The list of sources, sound with its text, that all parts learn from that make speech."""

SPEAKING = ("codec", "vocoder", "talker")
"""The stages of those parts."""

SOUND = "audio"
"""The modality of speech."""

OMNI = "omni"
"""The stage that trains no part of its own, but the Thinker and the encoders together."""


@dataclass(frozen=True, slots=True)
class PartSpec:
    """A part with its settings: one table with ``use``.

    Args:
        use: what the recipe wrote.
        registered: the declaration and who made it.
        config: the part's own settings, validated.
    """

    use: str
    registered: RegisteredPart
    config: PartConfig


@dataclass(frozen=True, slots=True)
class SourceSpec(PartSpec):
    """A source of data: one element of ``[[data.<name>]]``.

    Args:
        weight: how often it is drawn, relative to others.
        task: what its metrics and cards are called; its number and its part if empty.
        license: under which the data may be used; goes with the model when it is exported.
        eval_only: for cards alone: no stage learns from it, nor chooses its best checkpoint by it.
    """

    weight: float = 1.0
    task: str = ""
    license: str = ""
    eval_only: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """``[data]`` and its lists of sources."""

    settings: DataSettings = field(default_factory=DataSettings)
    sources: Mapping[str, tuple[SourceSpec, ...]] = field(default_factory=dict)

    @property
    def text(self) -> tuple[SourceSpec, ...]:
        """Sources of text for the tokenizer and the Thinker."""
        return self.sources.get("text", ())

    @property
    def val_fraction(self) -> float | None:
        """Share of documents held out by hash; None where it depends on how many there are."""
        return self.settings.val_fraction

    @property
    def tokenizer_chars(self) -> int:
        """Most characters that the tokenizer learns from."""
        return self.settings.tokenizer_chars


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model and all its stages. Equal recipes make equal models.

    Args:
        parts: slot -> the part chosen for it.
        train: the settings of each stage that the recipe trains differently, ``""`` for all others.
        source: what was loaded, to be loaded again by commands; no part of what the recipe says.
        notes: what overrides changed besides what they name, for people; likewise.
    """

    name: str
    doc: str = ""
    seed: int = 0
    parts: Mapping[str, PartSpec] = field(default_factory=dict)
    encoders: Mapping[str, PartSpec] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    train: Mapping[str, TrainSettings] = field(default_factory=dict)
    chat: ChatSettings = field(default_factory=ChatSettings)
    callbacks: Mapping[str, PartSpec] = field(default_factory=dict)
    source: str = field(default="", compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def tokenizer(self) -> PartSpec | None:
        """Text to ids."""
        return self.parts.get("tokenizer")

    @property
    def thinker(self) -> PartSpec | None:
        """Understands and writes."""
        return self.parts.get("thinker")

    @property
    def talker(self) -> PartSpec | None:
        """Text to code frames."""
        return self.parts.get("talker")

    @property
    def codec(self) -> PartSpec | None:
        """Code frames to mel."""
        return self.parts.get("codec")

    @property
    def vocoder(self) -> PartSpec | None:
        """Mel to waveform."""
        return self.parts.get("vocoder")

    def table_of(self, stage: str) -> str:
        """NAME of ``[[data.<NAME>]]`` that a stage learns from; an encoder of sound that has none takes the speech."""
        if stage in SPEAKING or (stage == SOUND and SOUND not in self.data.sources and SPEECH in self.data.sources):
            return SPEECH
        return "text" if stage == "thinker" else stage

    def reader(self, stage: str) -> PartSpec | None:
        """The part that reads the examples of a stage, if there is one."""
        return self.codec if stage in SPEAKING else self.encoders.get(stage)

    def train_for(self, stage: str) -> TrainSettings:
        """The settings of one stage."""
        return self.train.get(stage) or self.train.get("") or TrainSettings()


def parts_of(recipe: Recipe) -> dict[str, PartSpec]:
    """The parts that a recipe names, by the stage that trains them, in the order in which they are trained."""
    named = {
        "tokenizer": recipe.tokenizer,
        "thinker": recipe.thinker,
        **recipe.encoders,
        "codec": recipe.codec,
        "vocoder": recipe.vocoder,
        "talker": recipe.talker,
    }
    return {stage: chosen for stage, chosen in named.items() if chosen is not None}


def stages_of(recipe: Recipe) -> list[str]:
    """The stages there are: every part that trains by itself, and at last all of them together."""
    alone = [stage for stage, chosen in parts_of(recipe).items() if chosen.registered.part.objective]
    return [*alone, OMNI] if recipe.encoders and recipe.data.sources.get(OMNI) else alone


def stages_of_all(recipe: Recipe) -> list[str]:
    """The stages of ``all``: those of :func:`stages_of`, but of encoders and what speaks only where the recipe has data
    for them, and none of those that make what the omni stage takes from another model."""
    without = [stage for stage in (*recipe.encoders, *SPEAKING) if not recipe.data.sources.get(recipe.table_of(stage))]
    found = stages_of(recipe)
    if OMNI in found and recipe.train_for(OMNI).init not in OWN_INIT:
        without += ["tokenizer", "thinker", *recipe.encoders]
    return [stage for stage in found if stage not in without]


def tables_of(recipe: Recipe, stage: str) -> list[str]:
    """The lists ``[[data.NAME]]`` that a stage learns from."""
    return ["text", OMNI] if stage == "tokenizer" else [recipe.table_of(stage)]


def waits_of(recipe: Recipe) -> dict[str, frozenset[str]]:
    """Which other stages must be finished before each of :func:`stages_of` can begin."""
    understanding = {"thinker", *recipe.encoders}
    besides: dict[str, set[str]] = {"talker": {"codec", *understanding}, OMNI: understanding}
    return {stage: frozenset({"tokenizer", *besides.get(stage, ())} - {stage}) for stage in stages_of(recipe)}

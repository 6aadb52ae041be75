"""A validated recipe: its parts with their configs, its data, the host's settings, and its stages in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from muomni_cli.contract.declarations import PartConfig
from muomni_cli.recipe.settings import ChatSettings, DataSettings
from muomni_cli.recipe.stages import DPO, OMNI, SOUND, SPEAKING, SPEECH, TALKER_DPO
from muomni_cli.recipe.train_settings import OWN_INIT, TrainSettings
from muomni_cli.registry.registry import RegisteredPart


@dataclass(frozen=True, slots=True)
class PartSpec:
    """A part and its settings: one table with ``use``."""

    use: str = field(compare=False)  # as written in the recipe; which part it means is in ``registered``
    registered: RegisteredPart  # the declaration and its plugin
    config: PartConfig  # the part's validated settings


@dataclass(frozen=True, slots=True)
class SourceSpec(PartSpec):
    """A data source: one element of ``[[data.<name>]]``."""

    weight: float = 1.0  # sampling weight relative to other sources
    task: str = ""  # name in metrics; default its number and part
    license: str = ""  # license of the data; exported with the model
    eval_only: bool = False  # used by ``muomni eval`` only, not for training or validation


@dataclass(frozen=True, slots=True)
class Data:
    settings: DataSettings = field(default_factory=DataSettings)
    sources: Mapping[str, tuple[SourceSpec, ...]] = field(default_factory=dict)

    @property
    def text(self) -> tuple[SourceSpec, ...]:
        return self.sources.get("text", ())

    @property
    def val_fraction(self) -> float | None:
        """Fraction of documents held out by hash; None: it depends on their number."""
        return self.settings.val_fraction

    @property
    def tokenizer_chars(self) -> int:
        return self.settings.tokenizer_chars


@dataclass(frozen=True, slots=True)
class Recipe:
    """One model and all its stages. Equal recipes make equal models."""

    name: str
    doc: str = ""
    seed: int = 0
    parts: Mapping[str, PartSpec] = field(default_factory=dict)  # slot -> selected part
    encoders: Mapping[str, PartSpec] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    # settings by stage; those of all other stages under ``""``
    train: Mapping[str, TrainSettings] = field(default_factory=dict)
    chat: ChatSettings = field(default_factory=ChatSettings)
    callbacks: Mapping[str, PartSpec] = field(default_factory=dict)
    # path or name that it was loaded from, so that commands can load it again
    source: str = field(default="", compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)  # side effects of overrides, for display

    @property
    def tokenizer(self) -> PartSpec | None:
        return self.parts.get("tokenizer")

    @property
    def thinker(self) -> PartSpec | None:
        return self.parts.get("thinker")

    @property
    def talker(self) -> PartSpec | None:
        return self.parts.get("talker")

    @property
    def codec(self) -> PartSpec | None:
        return self.parts.get("codec")

    @property
    def vocoder(self) -> PartSpec | None:
        return self.parts.get("vocoder")

    def table_of(self, stage: str) -> str:
        """NAME of the ``[[data.<NAME>]]`` of a stage; an audio encoder without its own data uses the speech data."""
        if stage in SPEAKING or (stage == SOUND and SOUND not in self.data.sources and SPEECH in self.data.sources):
            return SPEECH
        return "text" if stage == "thinker" else stage

    def reader(self, stage: str) -> PartSpec | None:
        """The part that reads the examples of a stage, if any."""
        return self.codec if stage in SPEAKING else self.encoders.get(stage)

    def train_for(self, stage: str) -> TrainSettings:
        return self.train.get(stage) or self.train.get("") or TrainSettings()


def parts_of(recipe: Recipe) -> dict[str, PartSpec]:
    """Stage -> the part that it trains, in training order."""
    named = {
        "tokenizer": recipe.tokenizer,
        "thinker": recipe.thinker,
        **recipe.encoders,
        "codec": recipe.codec,
        "vocoder": recipe.vocoder,
        "talker": recipe.talker,
    }
    return {stage: chosen for stage, chosen in named.items() if chosen is not None}


def is_frozen(chosen: PartSpec) -> bool:
    """Whether the settings of a part keep its weights as they came."""
    return bool(getattr(chosen.config, "frozen", False))


def has_stage(stage: str, chosen: PartSpec) -> bool:
    """Whether a part has a stage of its own: what trains it, or, for codecs and vocoders, takes weights of others."""
    part = chosen.registered.part
    return part.objective is not None or (stage in SPEAKING and part.borrowed)


def stages_of(recipe: Recipe) -> list[str]:
    """All stages: parts that train by themselves, or take the weights of others, then omni, then those on pairs."""
    found = [stage for stage, chosen in parts_of(recipe).items() if has_stage(stage, chosen)]
    if recipe.encoders and recipe.data.sources.get(OMNI):
        found.append(OMNI)
    tuned = {DPO: recipe.thinker, TALKER_DPO: recipe.talker}
    return found + [stage for stage, part in tuned.items() if part and recipe.data.sources.get(stage)]


MADE_BY = {
    OMNI: "an encoder and [[data.omni]]",
    DPO: "a [thinker] and pairs in [[data.dpo]]",
    TALKER_DPO: "a [talker] and pairs in [[data.talker_dpo]]",
    **{stage: f"a table [encoders.{stage}] with a part to train" for stage in ("image", "audio")},
    **{stage: f"a table [{stage}] with a part to train" for stage in ("thinker", *SPEAKING)},
}
"""What a recipe must have for a stage, by stages that it may lack."""


def stages_of_all(recipe: Recipe) -> list[str]:
    """The stages of ``all``: :func:`stages_of` without encoders and speech parts that have no data, without stages
    whose result the omni stage takes from another model, and without that on pairs of speech, which are made by the
    trained Talker."""
    without = [stage for stage in (*recipe.encoders, *SPEAKING) if not recipe.data.sources.get(recipe.table_of(stage))]
    without.append(TALKER_DPO)
    found = stages_of(recipe)
    if OMNI in found and recipe.train_for(OMNI).init not in OWN_INIT:
        without += ["tokenizer", "thinker", *recipe.encoders]
    if "thinker" in found and recipe.train_for("thinker").init not in OWN_INIT:
        without.append("tokenizer")  # which comes with the model
    return [stage for stage in found if stage not in without]


def tables_of(recipe: Recipe, stage: str) -> list[str]:
    """The lists ``[[data.NAME]]`` that a stage uses."""
    return ["text", OMNI] if stage == "tokenizer" else [recipe.table_of(stage)]


def waits_of(recipe: Recipe) -> dict[str, frozenset[str]]:
    """Stage -> other stages that must be finished before it can begin."""
    understanding = {"thinker", *recipe.encoders}
    besides: dict[str, set[str]] = {"talker": {"codec", *understanding}, OMNI: understanding}
    besides |= {DPO: {OMNI, *understanding}, TALKER_DPO: {*SPEAKING}}
    found = stages_of(recipe)
    return {stage: frozenset({"tokenizer", *besides.get(stage, ())} & {*found} - {stage}) for stage in found}

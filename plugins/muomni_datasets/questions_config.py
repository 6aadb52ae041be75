"""Settings of questions about other data. Imported by every listing, so it must not import anything heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from muomni_cli.api import PartConfig
from muomni_datasets.config import (
    MAX_COUNT,
    USE,
    FolderConfig,
    IdxConfig,
    ManifestConfig,
    SoundsConfig,
    SpokenConfig,
    TarConfig,
)
from muomni_datasets.pictures_config import ScenesConfig, ThingsConfig
from muomni_datasets.story_plots import PLACE, places


class FromManifest(ManifestConfig):
    use: Literal["manifest"] = Field(description=USE)


class FromFolder(FolderConfig):
    use: Literal["folder"] = Field(description=USE)


class FromTar(TarConfig):
    use: Literal["tar"] = Field(description=USE)


class FromIdx(IdxConfig):
    use: Literal["idx"] = Field(description=USE)


class FromScenes(ScenesConfig):
    use: Literal["scenes"] = Field(description=USE)


class FromThings(ThingsConfig):
    use: Literal["things"] = Field(description=USE)


class FromSounds(SoundsConfig):
    use: Literal["sounds"] = Field(description=USE)


class FromSpoken(SpokenConfig):
    use: Literal["spoken"] = Field(description=USE)


From = FromManifest | FromFolder | FromTar | FromIdx | FromScenes | FromThings | FromSounds | FromSpoken


class TurnConfig(PartConfig):
    """A question in several phrasings, and its answer."""

    question: tuple[str, ...] = Field((), description="phrasings; {audio.label} stands for a fact of the example")
    answer: str = Field("", description="the answer, with facts in braces")

    @model_validator(mode="after")
    def _whole(self) -> TurnConfig:
        if not self.question or not self.answer:
            raise ValueError("an [[ask]] needs a question and an answer")
        for text in (*self.question, self.answer):
            if "{" in PLACE.sub("", text) or "}" in PLACE.sub("", text):
                raise ValueError(f"unmatched brace in {text!r}; a fact is written {{image.text}}")
        return self

    @property
    def facts(self) -> set[str]:
        """All facts in the question and answer, such as ``audio.label``."""
        return {name for text in (*self.question, self.answer) for name in places(text)}


class AskConfig(TurnConfig):
    """A question in several phrasings, its answer, and optional follow-up questions."""

    media: tuple[str, ...] = Field((), description="names in `from` of the attached media; empty for all")
    weight: float = Field(1.0, gt=0, le=1e6, description="relative frequency")
    then: tuple[TurnConfig, ...] = Field(
        (), description="follow-up questions about the same example, of which one is asked next"
    )

    @property
    def facts(self) -> set[str]:
        """All facts of the question and its follow-ups."""
        return super().facts.union(*(turn.facts for turn in self.then))


class GeneratedQuestionsConfig(PartConfig):
    """Questions about the examples of other sources."""

    count: int = Field(10_000, ge=0, le=MAX_COUNT, description="conversations for training; 0 for none")
    val_count: int = Field(500, ge=0, le=MAX_COUNT, description="conversations for validation, about held-out examples")
    val_fraction: float = Field(
        0.01, ge=0, lt=1, description="share of held-out examples, unless their source splits them; use the value of "
        "data.val_fraction to split them alike"
    )  # fmt: skip
    seed: int = Field(0, ge=0, lt=2**63, description="random seed")
    sources: dict[str, Annotated[From, Field(discriminator="use")]] = Field(
        {}, alias="from", description="sources of examples, by the names that questions use"
    )
    ask: tuple[AskConfig, ...] = Field((), description="questions: tables with question, answer, media, weight")

    @model_validator(mode="after")
    def _fit(self) -> GeneratedQuestionsConfig:
        for name, source in self.sources.items():
            if isinstance(source, ScenesConfig) and source.give != "captions":
                raise ValueError(f'from.{name} gives conversations, not examples: write give = "captions"')
        for ask in self.ask:
            shown = ask.media or tuple(self.sources)
            unknown = sorted(set(shown) - set(self.sources))
            unknown += sorted(fact for fact in ask.facts if fact.partition(".")[0] not in shown)
            if unknown:
                raise ValueError(
                    f"{ask.question[0]!r} refers to {', '.join(unknown)}, but its media are "
                    f"{', '.join(name for name in shown if name in self.sources) or 'none'}"
                )
        return self

"""Configuration of questions about the examples of other sources; nothing heavy is imported here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from muomni_cli.api import PartConfig
from muomni_datasets.examples_config import FolderConfig, IdxConfig, ManifestConfig, TarConfig
from muomni_datasets.made_config import ScenesConfig, SoundsConfig, SpokenConfig
from muomni_datasets.templates import PLACE, places

_USE = "which source"


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


class AskedConfig(PartConfig):
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
    def _fit(self) -> AskedConfig:
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

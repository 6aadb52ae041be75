"""Conversations about the examples of other sources, from templates of questions and answers. One message may have
media of several sources.

Held-out examples are used only in validation conversations. Conversation ``i`` of a split depends only on the seed and
``i``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from muomni_cli.api import Conversation, Dataset, Example, Media, Message, RequestError, split
from muomni_datasets.archives import Idx, Tar
from muomni_datasets.labeled_files import Folder, Manifest
from muomni_datasets.questions_config import AskConfig, GeneratedQuestionsConfig
from muomni_datasets.scenes import Scenes
from muomni_datasets.story_plots import StoryRandom, fill, places
from muomni_datasets.synthesized_speech import SpokenSentences
from muomni_datasets.synthetic_sounds import SyntheticSounds
from muomni_datasets.things import Things

Split = Literal["train", "val"]
SIDES: tuple[Split, ...] = ("train", "val")

TRIES = 100  # maximum number of examples tried to find one with all facts of a question

SOURCES: Mapping[str, Callable[[Any], Dataset]] = {
    "manifest": Manifest,
    "folder": Folder,
    "tar": Tar,
    "idx": Idx,
    "scenes": Scenes,
    "things": Things,
    "sounds": SyntheticSounds,
    "spoken": SpokenSentences,
}


class GeneratedQuestions:
    """``count`` conversations for training and ``val_count`` for validation."""

    def __init__(self, config: GeneratedQuestionsConfig) -> None:
        self._config = config
        self._sources = {name: SOURCES[source.use](source) for name, source in config.sources.items()}
        self._notes: dict[str, str] = {}

    @property
    def unreadable(self) -> dict[str, str]:
        found = dict(self._notes)
        for source in self._sources.values():
            found |= source.unreadable
        return found

    @property
    def remarks(self) -> list[str]:
        return [remark for source in self._sources.values() for remark in getattr(source, "remarks", ())]

    @property
    def left_out(self) -> Mapping[str, int]:
        found = Counter[str]()
        for source in self._sources.values():
            found.update(getattr(source, "left_out", {}))
        return found

    def files(self) -> list[Path]:
        return list(dict.fromkeys(path for source in self._sources.values() for path in source.files()))

    def documents(self) -> Iterator[Conversation]:
        if not self._sources or not self._config.ask:
            raise RequestError("asked has nothing to ask", "write from.<name> = {use = ...} and [[...ask]] tables")
        self._notes.clear()
        examples = {name: self._by_side(source) for name, source in self._sources.items()}
        for side, count in zip(SIDES, (self._config.count, self._config.val_count), strict=True):
            there = {name: sides[side] for name, sides in examples.items() if sides[side]}
            asks = [ask for ask in self._config.ask if set(ask.media or self._config.sources) <= there.keys()]
            if not asks and count:
                lacking = ", ".join(sorted(self._sources.keys() - there.keys()))
                self._notes[f"asked for {side}"] = f"no examples for that side: {lacking}"
            for index in range(count if asks else 0):
                yield from self._conversation(side, index, asks, there)

    def _by_side(self, source: Dataset) -> Mapping[Split, Sequence[Example]]:
        found: dict[Split, list[Example]] = {side: [] for side in SIDES}
        for example in source.documents():
            assert isinstance(example, Example), "the config accepts only sources of examples"
            found[example.split or split.split_of_key(example.key, self._config.val_fraction)].append(example)
        if self._config.val_fraction and not all(found.values()):
            # Fill the empty side from the examples whose source does not split them.
            examples = [example for side in SIDES for example in found[side]]
            free = ((example.key, example.label) for example in examples if example.split is None)
            sides = split.splits_of_items(free, self._config.val_fraction)
            for side in SIDES:
                found[side] = [one for one in examples if (one.split or sides[one.key]) == side]
        return found

    def _conversation(
        self, side: Split, index: int, asks: Sequence[AskConfig], there: Mapping[str, Sequence[Example]]
    ) -> Iterator[Conversation]:
        rng = StoryRandom(f"asked/{side}/{self._config.seed}/{index}")
        left = rng.between(0, sum(ask.weight for ask in asks))
        for ask in asks:
            left -= ask.weight
            if left < 0:
                break
        names = ask.media or tuple(self._config.sources)
        turns = [(rng.one(ask.question), ask.answer)]
        if ask.then:
            after = rng.one(ask.then)
            turns.append((rng.one(after.question), after.answer))
        for _ in range(TRIES):
            chosen = {name: rng.one(there[name]) for name in names}
            facts = {f"{name}.{fact}": value for name in names for fact, value in facts_of(chosen[name]).items()}
            media = tuple(example.media for example in chosen.values())
            messages = _messages([(fill(question, facts), fill(answer, facts)) for question, answer in turns], media)
            if messages:
                key = "|".join(example.key for example in chosen.values())
                about = sorted({chosen[fact.partition(".")[0]].media.modality for fact in places(turns[-1][1])})
                yield Conversation(messages, key, source="asked", split=side, about=tuple(about))
                return
        self._notes[turns[0][0]] = f"none of {TRIES} examples has the facts {', '.join(sorted(ask.facts))}"


def facts_of(example: Example) -> Mapping[str, str]:
    """``text``, ``label`` and ``key`` of an example, and the ``facts`` of its media, if any."""
    media_facts: Mapping[str, str] = getattr(example.media, "facts", {})
    label = {} if example.label is None else {"label": example.label}
    return {"text": example.text, "key": example.key, **label, **media_facts}


def _messages(turns: Sequence[tuple[str | None, str | None]], media: tuple[Media, ...]) -> tuple[Message, ...]:
    """Messages of the turns, with the media in the first; empty if a template could not be filled."""
    found: list[Message] = []
    for question, answer in turns:
        if question is None or answer is None:
            return ()
        found += [Message("user", question, () if found else media), Message("assistant", answer)]
    return tuple(found)

"""Recordings that are simulated when they are opened, with what is done in them, and questions about them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from muomni_cli.api import Conversation, Example, Message
from muomni_motion.config import ACTIVITIES, QuestionsConfig, RecordingsConfig
from muomni_motion.reading import written
from muomni_motion.simulate import Person, measured

OPEN = ("What is the person doing?", "Which activity is this?", "What do you feel?", "What happens here?")
CLOSED = ("Is the person {0}?", "Is this {0}?")


@dataclass(frozen=True, slots=True)
class Recording:
    """A :class:`muomni_cli.api.Media` of one person: number ``number`` in one activity. Opens as CSV."""

    config: RecordingsConfig
    person: int
    activity: str
    number: int
    modality: str = "motion"

    @property
    def name(self) -> str:
        """Who does what."""
        return f"seed-{self.config.seed}-person-{self.person}-{self.activity}-{self.number}.csv"

    def open(self) -> BinaryIO:
        """See :class:`muomni_cli.api.Media`."""
        config, who = self.config, (self.config.seed, self.person)
        what = (*who, ACTIVITIES.index(self.activity), self.number)
        return io.BytesIO(written(measured(self.activity, Person(who), what, config.seconds, config.rate)))


def recordings(config: RecordingsConfig) -> Iterator[tuple[Recording, Literal["train", "val"]]]:
    """All of them, and the side that each is on: that of its person."""
    for person in range(config.people + config.val_people):
        for activity in ACTIVITIES:
            for number in range(config.each):
                yield Recording(config, person, activity, number), "train" if person < config.people else "val"


class Recordings:
    """A :class:`muomni_cli.api.Dataset` of examples: the label is the activity."""

    def __init__(self, config: RecordingsConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        """None."""
        return []

    def documents(self) -> Iterator[Example]:
        """An example a recording."""
        for media, side in recordings(self._config):
            yield Example(media, media.activity, f"person {media.person}", media.activity, "recordings", split=side)


class Questions:
    """A :class:`muomni_cli.api.Dataset` of conversations, one a recording."""

    def __init__(self, config: QuestionsConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        """None."""
        return []

    def documents(self) -> Iterator[Conversation]:
        """Two of three ask what is done, the others whether it is something."""
        for place, (media, side) in enumerate(recordings(self._config)):
            random = np.random.default_rng([self._config.seed, place, 7])
            if random.random() < 2 / 3:
                question, answer = OPEN[random.integers(len(OPEN))], media.activity
            else:
                others = [one for one in ACTIVITIES if one != media.activity]
                asked = media.activity if random.random() < 0.5 else others[random.integers(len(others))]
                question = CLOSED[random.integers(len(CLOSED))].format(asked)
                answer = "yes" if asked == media.activity else "no"
            messages = Message("user", question, (media,)), Message("assistant", answer)
            key = f"person {media.person}"
            yield Conversation(messages, key, "recording-questions", split=side, about=("motion",))

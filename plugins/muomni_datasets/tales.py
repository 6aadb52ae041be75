"""Tales and conversations that the project makes itself: small, clean, endless, and the same on every machine.

Item ``i`` of a seed is a function of both numbers alone, so more items never change the first ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from muomni_cli.api import Conversation, Document, Message
from muomni_datasets.config import TalesConfig
from muomni_datasets.plots import PLOTS, Chance
from muomni_datasets.questions import QUESTIONS, Asked, unknown
from muomni_datasets.reading import content_key


class Tales:
    """``count`` items, a share of them conversations of one to three questions."""

    def __init__(self, config: TalesConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Document | Conversation]:
        for index in range(self._config.count):
            chance = Chance(f"{self._config.seed}/{index}")
            if chance.below(1_000_000) < self._config.conversations * 1_000_000:
                yield self._conversation(chance)
            else:
                text = chance.one(PLOTS)(chance)
                yield Document(text=text, key=content_key(text), source="tales")

    def _conversation(self, chance: Chance) -> Conversation:
        messages: list[Message] = []
        for _ in range(1 + chance.below(3)):
            question, answer = self._asked(chance)
            messages += [Message("user", question), Message("assistant", answer)]
        key = content_key(*(message.text for message in messages))
        return Conversation(tuple(messages), key, source="tales", learn=self._config.learn)

    def _asked(self, chance: Chance) -> Asked:
        share = self._config.unknown
        if share and chance.below(1_000_000) < share * 1_000_000:
            return unknown(chance)
        return chance.one(QUESTIONS)(chance)


def build(config: TalesConfig) -> Tales:
    """A source of tales."""
    return Tales(config)

"""Drawn scenes of coloured shapes, with captions or with questions. Nothing is stored: a picture is drawn when opened.

Scene ``i`` is a function of the seed, the side of the split, and what may be drawn, so more scenes never change the
first ones, and the two sides of one seed have nothing to do with each other.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from muomni_cli.api import Conversation, Example, Message
from muomni_datasets.config import SIDES
from muomni_datasets.layout import draw, lay_out
from muomni_datasets.made_config import ScenesConfig
from muomni_datasets.plots import Chance
from muomni_datasets.scene_words import ask, facts


@dataclass(frozen=True, slots=True)
class SceneMedia:
    """Scene number ``index`` of a table of a recipe. Opens as PNG."""

    modality: str
    config: ScenesConfig
    index: int

    @property
    def name(self) -> str:
        """Its number and seed."""
        return f"scene {self.index} of seed {self.config.seed}"

    @property
    def facts(self) -> Mapping[str, str]:
        """What is true of it; see :func:`muomni_datasets.scene_words.facts`."""
        return facts(lay_out(self.config, self.index), self.index)

    def open(self) -> BinaryIO:
        """See :class:`muomni_cli.api.Media`."""
        scene = lay_out(self.config, self.index)
        return io.BytesIO(draw(scene, self.config.size, smooth=self.config.smooth))


class Scenes:
    """``count`` scenes."""

    def __init__(self, config: ScenesConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Example | Conversation]:
        config, split = self._config, SIDES[self._config.split]
        for index in range(config.count):
            media = SceneMedia("image", config, index)
            told = dict(media.facts)
            key = f"scene {config.seed}{config.split}/{index}"
            if config.give == "captions":
                yield Example(media, told["text"], key, told["label"], source="scenes", split=split)
            else:
                question, answer = ask(told, Chance(f"question/{config.split}/{config.seed}/{index}"))
                messages = Message("user", question, (media,)), Message("assistant", answer)
                yield Conversation(messages, key, source="scenes", split=split)


def build(config: ScenesConfig) -> Scenes:
    """A source of scenes."""
    return Scenes(config)

"""Sample data: labeled curves, generated when opened, and questions about them.

Curve ``i`` of a split depends only on the seed and ``i``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from muomni_cli.api import Conversation, Example, Message
from muomni_newpart.config import SHAPES, CurvesConfig, QuestionsConfig

ASKED = ("What does the curve do?", "What do you see?", "Which shape is it?")


@dataclass(frozen=True, slots=True)
class Curve:
    """A :class:`muomni_cli.api.Media`; it opens as a file that the encoder reads."""

    config: CurvesConfig
    split: Literal["train", "val"]
    index: int
    modality: str = "newpart"

    @property
    def shape(self) -> str:
        """Its class."""
        return SHAPES[self.index % len(SHAPES)]

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.split}-{self.index}-of-seed-{self.config.seed}.csv"

    def open(self) -> BinaryIO:
        """CSV lines of two noisy numbers with a random offset."""
        random = np.random.default_rng([self.config.seed, self.split == "val", self.index])
        way = np.linspace(0, 1, round(self.config.lines * random.uniform(0.7, 1.3)))
        begin, rate = random.uniform(0.2, 0.8), random.uniform(2, 5)
        curve = {
            "falls": -2 * way,
            "rises": 2 * way,
            "steps": 2.0 * (way > begin),
            "waves": np.sin(2 * np.pi * (rate * way + begin)),
        }[self.shape]
        both = np.stack([curve, curve[::-1]], axis=1) * random.uniform(0.7, 1.3, 2) + random.normal(0, 0.5, 2)
        rows = both + random.normal(0, 0.1, both.shape)
        return io.BytesIO("".join(f"{one:.4f},{other:.4f}\n" for one, other in rows).encode())


def curves(config: CurvesConfig) -> Iterator[Curve]:
    """All curves, those for training first."""
    yield from (Curve(config, "train", index) for index in range(config.count))
    yield from (Curve(config, "val", index) for index in range(config.val_count))


class Curves:
    """A :class:`muomni_cli.api.Dataset` for ``[[data.newpart]]``: examples with labels."""

    def __init__(self, config: CurvesConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Example]:
        for curve in curves(self._config):
            yield Example(curve, f"it {curve.shape}", curve.name, curve.shape, "curves", split=curve.split)


class Questions:
    """A :class:`muomni_cli.api.Dataset` for ``[[data.omni]]``: conversations about a curve."""

    def __init__(self, config: QuestionsConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Conversation]:
        for curve in curves(self._config):
            question = Message("user", ASKED[curve.index // len(SHAPES) % len(ASKED)], (curve,))
            answer = Message("assistant", f"it {curve.shape}")
            about = (curve.modality,)
            yield Conversation((question, answer), curve.name, "questions", split=curve.split, about=about)

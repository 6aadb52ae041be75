"""Classification: the label of a picture from its tokens. Knows tokens and labels, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import RequestError
from muomni_vit.asked import Asked
from muomni_vit.asking import Naming
from muomni_vit.model import Vit

if TYPE_CHECKING:
    from muomni_cli.api import ExampleData, Examples

UNKNOWN = -1
"""The class of a label that no training picture has. It teaches nothing and is always told wrong."""


class Labels(Asked):
    """A lesson (:class:`muomni_vit.objective.Lesson`): one Linear on the mean of what reaches the Thinker, so that all
    that it needs must be in there."""

    measure = "accuracy"
    adam_only = frozenset({"head.weight"})

    def __init__(self, encoder: Vit, classes: Sequence[str]) -> None:
        super().__init__(encoder, Naming(classes))
        self.classes = list(classes)
        self._places = {label: place for place, label in enumerate(self.classes)}
        self.smoothing = encoder.config.label_smoothing
        self.head = nn.Linear(encoder.width, len(self.classes))
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def targets(
        self,
        examples: Examples,
        rows: Sequence[int],
        share: slice,
        rng: np.random.Generator | None,  # noqa: ARG002
    ) -> tuple[dict[str, Tensor], float]:
        """``classes`` (B,), and how many of them are known."""
        classes = torch.tensor([self._places.get(examples.labels[row] or "", UNKNOWN) for row in rows[share]])
        return {"classes": classes}, float((classes != UNKNOWN).sum())

    def scores(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """(B,C) of the classes."""
        scores: Tensor = self.head(tokens.mean(1))
        return scores.float()

    def loss(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy, smoothed (arXiv:1512.00567) in training only, so that validation can be compared."""
        smoothing = self.smoothing if self.training else 0.0
        return F.cross_entropy(
            scores, targets["classes"], ignore_index=UNKNOWN, reduction="sum", label_smoothing=smoothing
        )

    def right(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Whose likeliest class is its label."""
        return scores.argmax(1) == targets["classes"]

    def said(self, tokens: Tensor, examples: Examples, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Labels, and the likeliest ones."""
        return list(zip([examples.labels[row] or "" for row in rows], self.answers_to(tokens), strict=True))


def classes_of(data: ExampleData) -> list[str]:
    """The labels of the training pictures, in order.

    Raises:
        RequestError: a picture has none, or all have the same.
    """
    missing = sum(label is None for label in data.train.labels)
    if missing:
        raise RequestError(
            f"{missing:,} of {len(data.train):,} pictures have no label",
            'take them out, or set learn = "contrast" or "captions" to learn from their texts',
        )
    classes = sorted({label for label in data.train.labels if label is not None})
    if len(classes) < 2:
        raise RequestError(f"all pictures have the label {classes[0]!r}", "add pictures of another class")
    return classes


def all_labelled(data: ExampleData) -> bool:
    """Whether every picture has a label."""
    return None not in data.train.labels and None not in data.val.labels

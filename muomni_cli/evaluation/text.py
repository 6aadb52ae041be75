"""The card of held-out text. Knows no part by name, and no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muomni_cli.api import MuomniError
from muomni_cli.evaluation.card import Card

if TYPE_CHECKING:
    from muomni_cli.evaluation.subject import Subject


def text_card(subject: Subject, stage: str) -> Card:
    """Bits a byte of held-out text, all of it or the first ``limit`` windows, by the Thinker as ``stage`` left it.

    Raises:
        MuomniError: its objective measures something else.
    """
    batches = -(-(subject.limit or 0) // subject.recipe.train_for("thinker").batch_size)
    found = subject.model.text(stage, batches)
    metric = "bits_per_byte" if "bits_per_byte" in found else "loss"
    if metric not in found:
        raise MuomniError(f"the Thinker of {subject.model.label} measures no loss", "report it to who made it")
    return Card(stage, "text", metric, float(found[metric]))

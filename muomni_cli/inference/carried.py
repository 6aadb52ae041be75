"""Media that stay with a conversation: shown again with each question that follows.

A model whose training had no question about a sound of an earlier turn does not hear it any more in the next one. So
what is of certain modalities (``[chat] reattach``) stands once more before every later question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from muomni_cli.omni.senses import Taken


class Carried:
    """What is shown again.

    Args:
        modalities: of which inputs stay; others are shown once.
        order: all modalities, as their tokens stand before the text.
    """

    def __init__(self, modalities: Sequence[str], order: Iterable[str]) -> None:
        self._modalities = frozenset(modalities)
        self._order = list(order)
        self.taken: Taken = []

    def beside(self, new: Taken) -> Taken:
        """``new`` media and those that stay; a new input replaces those of its modality."""
        replaced = {media.modality for media, _ in new}
        stay = [one for one in self.taken if one[0].modality not in replaced]
        return sorted([*new, *stay], key=lambda one: self._order.index(one[0].modality))

    def keep(self, shown: Taken) -> None:
        """Of what a question was asked about, keep what stays."""
        self.taken = [one for one in shown if one[0].modality in self._modalities]

    def drop(self) -> None:
        """Show none of it again."""
        self.taken = []

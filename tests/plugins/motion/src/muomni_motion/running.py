"""The graphs, run. Knows no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import Run
from muomni_motion.config import MotionConfig
from muomni_motion.naming import Naming


class RunNaming:
    """See :class:`muomni_cli.contract.models.Answers`."""

    def __init__(self, config: MotionConfig, graphs: Mapping[str, Run], learned: Mapping[str, Any]) -> None:  # noqa: ARG002
        self._graphs, self._naming = graphs, Naming(learned["classes"])
        self.ways, self.vocabulary, self.wanted = self._naming.ways, self._naming.vocabulary, self._naming.wanted

    def answers(self, inputs: Sequence[NDArray[Any]], choices: Sequence[str] | None = None) -> list[str]:  # noqa: ARG002
        """The likeliest activity in each (N,9) recording."""
        tokens = [self._graphs["encoder"]({"inputs": one[None]})["tokens"] for one in inputs]
        return self._naming.said(np.concatenate([self._graphs["head"]({"tokens": one})["scores"] for one in tokens]))

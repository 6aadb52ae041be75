"""What is evaluated: a model, the recipe whose data it is asked about, and how much of them. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from muomni_cli.contract.engine import Engine
from muomni_cli.data.sources import Split
from muomni_cli.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A trained model and questions to it.

    Args:
        model: the model.
        recipe: names the data; its parts are those of the model.
        split: which side of the data.
        limit: most examples of each source; 0 for all, None for as many as are usual.
        progress: told of long preparations.
        batch_size: inputs that are asked about at a time.
    """

    model: Engine
    recipe: Recipe
    split: Split
    limit: int | None
    progress: Callable[[str], None]
    batch_size: int = 32

    def limited(self, rows: Sequence[int], usual: int = 0) -> list[int]:
        """At most ``limit`` of ``rows`` from all over, the same each time, in their order; ``usual`` if none is set."""
        limit = usual if self.limit is None else self.limit
        if not limit or len(rows) <= limit:
            return list(rows)
        chosen = np.random.default_rng(0).permutation(len(rows))[:limit]
        return sorted(rows[place] for place in chosen.tolist())

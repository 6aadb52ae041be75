"""What is evaluated: a run, the recipe whose data it is asked about, and how much of them. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from muomni_cli.data.sources import Split
from muomni_cli.recipe import Recipe
from muomni_cli.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Subject:
    """A trained run and questions to it.

    Args:
        run: with the weights.
        recipe: names the data; its parts are those of the run.
        split: which side of the data.
        limit: most examples of each source; 0 for all, None for as many as are usual.
        device: where the model runs.
        progress: told of long preparations.
        batch_size: inputs that are asked about at a time.
    """

    run: RunFolder
    recipe: Recipe
    split: Split
    limit: int | None
    device: torch.device
    progress: Callable[[str], None]
    batch_size: int = 32

    def limited(self, rows: Sequence[int], usual: int = 0) -> list[int]:
        """At most ``limit`` of ``rows`` from all over, the same each time, in their order; ``usual`` if none is set."""
        limit = usual if self.limit is None else self.limit
        if not limit or len(rows) <= limit:
            return list(rows)
        chosen = np.random.default_rng(0).permutation(len(rows))[:limit]
        return sorted(rows[place] for place in chosen.tolist())

"""Learning-rate schedules as pure functions of the step, so that resuming needs no schedule state.

Knows nothing of optimisers: a schedule is the factor by which every peak rate is multiplied.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muomni_cli.recipe import TrainSettings


def factor(settings: TrainSettings, step: int) -> float:
    """Share of the peak learning rate at ``step`` (counted from 0), in (0, 1].

    Every schedule climbs linearly over ``warmup_steps``. Then ``cosine`` falls along half a cosine to ``min_lr``
    (arXiv 1608.03983), ``wsd`` stays at the peak and falls linearly to ``min_lr`` over the last ``decay`` share of the
    steps (arXiv 2404.06395), and ``constant`` stays.
    """
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "cosine":
        span = max(1, settings.steps - settings.warmup_steps)
        share = (1 + math.cos(math.pi * min(1.0, (step - settings.warmup_steps) / span))) / 2
    else:
        falling = max(1.0, settings.decay * settings.steps)
        share = min(1.0, max(0.0, (settings.steps - step) / falling))
    return settings.min_lr + (1 - settings.min_lr) * share

"""Which stages a recipe has, and in which order. Knows declarations, no training."""

from __future__ import annotations

from muomni_cli.recipe.model import SPEAKING, Chosen, Recipe
from muomni_cli.recipe.settings import OWN_INIT

OMNI = "omni"
"""The stage that trains no part of its own, but the Thinker and the encoders together."""


def parts_of(recipe: Recipe) -> dict[str, Chosen]:
    """The parts that a recipe names, by the stage that trains them, in the order in which they are trained."""
    named = {
        "tokenizer": recipe.tokenizer,
        "thinker": recipe.thinker,
        **recipe.encoders,
        "codec": recipe.codec,
        "vocoder": recipe.vocoder,
        "talker": recipe.talker,
    }
    return {stage: chosen for stage, chosen in named.items() if chosen is not None}


def stages_of(recipe: Recipe) -> list[str]:
    """The stages there are: every part that trains by itself, and at last all of them together."""
    alone = [stage for stage, chosen in parts_of(recipe).items() if chosen.registered.part.objective]
    return [*alone, OMNI] if recipe.encoders and recipe.data.sources.get(OMNI) else alone


def stages_of_all(recipe: Recipe) -> list[str]:
    """The stages of ``all``: those of :func:`stages_of`, but of encoders and what speaks only where the recipe has data
    for them, and none of those that make what the omni stage takes from another model."""
    without = [stage for stage in (*recipe.encoders, *SPEAKING) if not recipe.data.sources.get(recipe.table_of(stage))]
    found = stages_of(recipe)
    if OMNI in found and recipe.train_for(OMNI).init not in OWN_INIT:
        without += ["tokenizer", "thinker", *recipe.encoders]
    return [stage for stage in found if stage not in without]


def tables_of(recipe: Recipe, stage: str) -> list[str]:
    """The lists ``[[data.NAME]]`` that a stage learns from."""
    return ["text", OMNI] if stage == "tokenizer" else [recipe.table_of(stage)]


def waits_of(recipe: Recipe) -> dict[str, frozenset[str]]:
    """Which other stages must be finished before each of :func:`stages_of` can begin."""
    understanding = {"thinker", *recipe.encoders}
    besides: dict[str, set[str]] = {"talker": {"codec", *understanding}, OMNI: understanding}
    return {stage: frozenset({"tokenizer", *besides.get(stage, ())} - {stage}) for stage in stages_of(recipe)}

"""What this package offers to muomni. Knows no torch and no numpy: a listing imports this module."""

from muomni_cli.api import TalkerPart, hookimpl
from muomni_talker.config import CursorConfig, ParallelConfig


@hookimpl
def register_talkers() -> list[TalkerPart]:
    """The Talkers of this package."""
    return [
        TalkerPart(
            name="cursor",
            doc="autoregressive transformer over code frames, under a text pointer that only moves forward",
            config=CursorConfig,
            build="muomni_talker.model:build",
            graphs="muomni_talker.graphs:graphs",
            runs="muomni_talker.graph_engine:RunTalker",
            steps="muomni_talker.steps:steps",
            objective="muomni_talker.objective:Speaking",
        ),
        TalkerPart(
            name="parallel",
            doc="the same text and durations; all frames of a sentence at once",
            config=ParallelConfig,
            build="muomni_talker.model:build_parallel",
            graphs="muomni_talker.graphs:graphs",
            runs="muomni_talker.graph_engine:RunTalker",
            steps="muomni_talker.steps:steps",
            objective="muomni_talker.objective:Speaking",
        ),
    ]

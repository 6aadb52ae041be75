"""Registers the Talkers. Imported by every listing, so it must not import torch or numpy."""

from muomni_cli.api import TalkerPart, hookimpl
from muomni_talker.config import CursorConfig, ParallelConfig

SMALL = {
    **{"d_text": 24, "text_layers": 2, "text_kernel": 3, "max_duration": 6, "ctx_len": 128},
    **{"d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 48},
}
"""Sizes for conformance checks."""


@hookimpl
def register_talkers() -> list[TalkerPart]:
    return [
        TalkerPart(
            name="cursor",
            doc="autoregressive transformer over code frames with monotonic text alignment",
            config=CursorConfig,
            build="muomni_talker.model:build",
            graphs="muomni_talker.graphs:graphs",
            runner="muomni_talker.synthesis:TalkerRunner",
            test_config=SMALL,
            steps="muomni_talker.graphs:steps",
            objective="muomni_talker.objective:TalkerObjective",
        ),
        TalkerPart(
            name="parallel",
            doc="non-autoregressive transformer with the same text encoder; all frames of a sentence at once",
            config=ParallelConfig,
            build="muomni_talker.model:build_parallel",
            graphs="muomni_talker.graphs:graphs",
            runner="muomni_talker.synthesis:TalkerRunner",
            test_config=SMALL,
            steps="muomni_talker.graphs:steps",
            objective="muomni_talker.objective:TalkerObjective",
        ),
    ]

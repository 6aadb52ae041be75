"""What ``muomni trace`` shows of the codec, in words; the numbers are measured."""

from __future__ import annotations

from muomni_cli.api import Step
from muomni_rvq.model import Codec


def steps(module: Codec) -> list[Step]:
    """From log-mel to codes, and from codes to log-mel."""
    config = module.config
    milliseconds = 1000 * config.samples / config.sample_rate
    return [
        Step(
            at="windows",
            title="windows",
            what=f"{config.frame} mel frames ({milliseconds:g} ms) become one vector, which knows what is around it",
            counts=lambda a, b: f"{a[1]:,} mel frames -> {b[1]:,} code frames of {b[2]}",
        ),
        Step(
            at="encode",
            title="residual quantisation",
            what=f"the nearest of {config.codebook_size} codes, then the nearest to what it leaves, and so on",
            counts=lambda a, b: f"{a[1]:,} code frames -> {b[1] * b[2]:,} code indices",
        ),
        Step(
            at="decode",
            title="codes to frames",
            what="what the codes of a frame stand for, added up; one linear layer to the width of a mel frame",
            counts=lambda a, b: f"{a[1] * a[2]:,} code indices -> {b[1]:,} code frames of {b[2]}",
        ),
        Step(
            at="expand",
            title="frames to log-mel",
            what=f"causal blocks that wait for {config.lookahead} more; each frame becomes {config.frame} mel frames",
            counts=lambda a, b: f"{a[1]:,} code frames -> {b[1]:,} mel frames of {b[2]} bins",
        ),
    ]

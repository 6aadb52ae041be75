"""What ``muomni trace`` shows of the Talkers, in words; the numbers are measured."""

from __future__ import annotations

from muomni_cli.api import Step
from muomni_talker.model import Speaker


def steps(module: Speaker) -> list[Step]:
    """From characters to codes. The parallel Talker draws the codes of every frame by itself; those are not shown."""
    slots = module.config.slots
    drawn = Step(
        at="heads.draw",
        title="codes",
        what="the base code, then each residual code given those before it",
        counts=lambda a, b: f"1 state of {a[0]} -> {_many(b[0], 'code')}",
    )
    return [
        Step(
            at="reader",
            title="characters",
            what=f"convolutions that see {module.config.reach} characters to either side",
            counts=lambda a, b: f"{_many(a[1], 'symbol')} -> {_many(b[1], 'feature')} of {b[2]}",
        ),
        Step(
            at="reader.expected",
            title="durations",
            what=f"how long each symbol lasts, in slots of which a frame has {slots}",
            counts=lambda a, b: f"{_many(a[1], 'feature')} -> {_many(b[1], 'duration')}",
        ),
        Step(
            at="framer",
            title="plan",
            what="what each frame is to say: the features under a pointer that only moves forward",
            counts=lambda a, b: f"{_many(a[1], 'feature')} -> {_many(b[1], 'frame')} of {b[2]}",
        ),
        Step(
            at="states",
            title="transformer",
            what="the frames before and the plan" if module.causal else "the plan of all frames at once",
            counts=lambda a, b: f"{_many(a[1], 'frame')} -> {_many(b[1], 'state')} of {b[2]}",
        ),
        *([drawn] if module.causal else []),
    ]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"

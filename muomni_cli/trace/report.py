"""A trace as text, Markdown and JSON; formats tokens, code frames and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.console import terminal_safe
from muomni_cli.trace.recorder import TraceStep

MAX_TOKENS = 24  # ids that are listed
HEADINGS = ("step", "what it does", "in", "out", "counts", "ms", "mean", "std", "min", "max")


def plural(count: int, what: str) -> str:
    """``1 token``, ``2,000 tokens``."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def quoted(tokenizer: Tokenizer, token: int) -> str:
    """``' the' (262)``; ``<bos> (1)`` for a special token; ``#4711`` for an id outside the tokenizer's vocabulary."""
    if not 0 <= token < tokenizer.vocab_size:
        return f"#{token}"
    special = {number: name for name, number in tokenizer.specials.items()}
    if token in special:
        return f"<{special[token]}> ({token})"
    spelt = tokenizer.token_bytes(token).decode("utf-8", "backslashreplace")
    return f"{terminal_safe(spelt)!r} ({token})"


def spelled(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The first ids of a text, each as in :func:`quoted`."""
    more = f" ... {len(ids) - MAX_TOKENS} more" if len(ids) > MAX_TOKENS else ""
    return " ".join(quoted(tokenizer, token) for token in ids[:MAX_TOKENS]) + more


def likeliest(tokenizer: Tokenizer, probabilities: NDArray[np.float64], count: int = 5) -> list[dict[str, Any]]:
    """The ``count`` most probable of (V,) tokens in descending order; ties go to the lower id."""
    order = np.argsort(-probabilities, kind="stable")[:count].tolist()
    return [
        {"token": token, "piece": quoted(tokenizer, token), "probability": float(probabilities[token])}
        for token in order
    ]


def layout(ids: Sequence[int], media: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Segments of a sequence: each input with its token count, and the text between them.

    Args:
        ids: -1, -2, ... stand for the tokens of the inputs, in order.
        media: modality and token count of each input.
    """
    owner = [name for name, count in media for _ in range(count)]
    number = [place for place, (_, count) in enumerate(media) for _ in range(count)]
    keys = [(owner[-1 - token], number[-1 - token]) if token < 0 else ("text", -1) for token in ids]
    return [(name, len(list(group))) for (name, _), group in groupby(keys)]


def answer_of(steps: Sequence[TraceStep]) -> str:
    """The text of the traced answer; empty if there is none."""
    return next((str(step.values["text"]).strip() for step in reversed(steps) if "text" in step.values), "")


def as_json(steps: Iterable[TraceStep]) -> list[dict[str, Any]]:
    return [step.as_json() for step in steps]


def sections(steps: Iterable[TraceStep]) -> list[tuple[str, list[TraceStep]]]:
    """Steps by section, in order of first appearance."""
    found: dict[str, list[TraceStep]] = {}
    for step in steps:
        found.setdefault(step.section, []).append(step)
    return list(found.items())


def counted(many: Iterable[object]) -> str:
    """``(1, 35, 256)``; what repeats is counted: ``3 x (1, 4, 6, 64)``."""
    grouped = [(one, len(list(group))) for one, group in groupby(many)]
    return " + ".join(f"{count} x {one}" if count > 1 else f"{one}" for one, count in grouped)


def explained(step: TraceStep) -> str:
    """What a step does, and what became what."""
    return f"{step.what}: {step.counts}" if step.counts else step.what


def as_text(steps: Sequence[TraceStep]) -> str:
    """Text for a terminal: for each step a line of numbers and a line of words, indented by depth."""

    def name(step: TraceStep) -> str:
        return f"{'  ' * step.depth}{step.title}"

    def change(step: TraceStep) -> str:
        return f"{counted(step.inputs)} -> {counted(step.outputs)}".strip() if step.outputs or step.inputs else ""

    name_width = max((len(name(step)) for step in steps), default=0)
    change_width = max((len(change(step)) for step in steps), default=0)
    blocks = []
    for number, (section, own) in enumerate(sections(steps), start=1):
        block = [f"{number}  {section}"]
        for step in own:
            numbers = f"{step.ms:9.3f} ms"
            if s := step.statistics:
                numbers += f"  mean {s.mean:<10.4g} std {s.std:<10.4g} min {s.min:<10.4g} max {s.max:<10.4g}".rstrip()
            block.append(f"   {name(step):<{name_width}}  {change(step):<{change_width}}  {numbers}")
            block.append(f"   {'  ' * step.depth}  {explained(step)}")
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def as_markdown(steps: Sequence[TraceStep]) -> str:
    """A heading and a table for each section."""
    blocks = []
    for number, (section, own) in enumerate(sections(steps), start=1):
        lines = [f"## {number}. {_cell(section)}", "", f"| {' | '.join(HEADINGS)} |", f"|{'---|' * 5}{'--:|' * 5}"]
        for step in own:
            s = step.statistics
            numbers = [f"{n:.4g}" for n in (s.mean, s.std, s.min, s.max)] if s else [""] * 4
            cells = [step.what, counted(step.inputs), counted(step.outputs), step.counts, f"{step.ms:.3f}", *numbers]
            name = "&nbsp;" * 3 * step.depth + _cell(step.title)
            lines.append(f"| {' | '.join([name, *map(_cell, cells)])} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _cell(text: str) -> str:
    """Text for a table cell, with Markdown escaped."""
    for character in "\\`*_{}[]<>#|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())

"""A trace as text, Markdown and JSON; formats tokens, code frames and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.console import terminal_safe
from muomni_cli.trace.recorder import Shape, Statistics, TraceStep

MAX_TOKENS = 24
"""Maximum number of ids that are listed."""

TOP = 5
"""Number of most likely next tokens that are listed."""


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


def likeliest(tokenizer: Tokenizer, probabilities: NDArray[np.float64], count: int = TOP) -> list[dict[str, Any]]:
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


def shapes(many: Sequence[Shape]) -> str:
    """``(1, 35, 256)``; repeated shapes are counted: ``3 x (1, 4, 6, 64)``."""
    grouped = [(shape, len(list(group))) for shape, group in groupby(many)]
    return " + ".join(f"{count} x {shape}" if count > 1 else f"{shape}" for shape, count in grouped)


def as_text(steps: Sequence[TraceStep]) -> str:
    """Text for a terminal: for each step a line of numbers and a line of words, indented by depth."""
    names = [f"{'  ' * step.depth}{step.title}" for step in steps]
    moved = [_shapes(step) for step in steps]
    widths = max(map(len, names), default=0), max(map(len, moved), default=0)
    rows = iter(zip(names, moved, strict=True))
    texts = {id(step): row for step, row in zip(steps, rows, strict=True)}
    blocks = []
    for number, (section, own) in enumerate(sections(steps), start=1):
        block = [f"{number}  {section}"]
        for step in own:
            name, change = texts[id(step)]
            numbers = f"{step.ms:9.3f} ms  {_statistics(step.statistics)}".rstrip()
            block += [
                f"   {name:<{widths[0]}}  {change:<{widths[1]}}  {numbers}",
                f"   {'  ' * step.depth}  {_words(step)}",
            ]
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def as_markdown(steps: Sequence[TraceStep]) -> str:
    """A heading and a table for each section."""
    return "\n\n".join(
        "\n".join([f"## {number}. {_cell(section)}", "", *_table(own)])
        for number, (section, own) in enumerate(sections(steps), start=1)
    )


HEADINGS = ("step", "what it does", "in", "out", "counts", "ms", "mean", "std", "min", "max")


def _table(steps: Iterable[TraceStep]) -> Iterator[str]:
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"|{'---|' * 5}{'--:|' * 5}"
    for step in steps:
        s = step.statistics
        numbers = [f"{n:.4g}" for n in (s.mean, s.std, s.min, s.max)] if s else [""] * 4
        name = "&nbsp;" * 3 * step.depth + _cell(step.title)
        cells = [name, step.what, shapes(step.inputs), shapes(step.outputs), step.counts, f"{step.ms:.3f}", *numbers]
        yield f"| {' | '.join([name, *map(_cell, cells[1:])])} |"


def _cell(text: str) -> str:
    """Text for a table cell, with Markdown escaped."""
    for character in "\\`*_{}[]<>#|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _shapes(step: TraceStep) -> str:
    return f"{shapes(step.inputs)} -> {shapes(step.outputs)}".strip() if step.outputs or step.inputs else ""


def _words(step: TraceStep) -> str:
    return f"{step.what}: {step.counts}" if step.counts else step.what


def _statistics(s: Statistics | None) -> str:
    return f"mean {s.mean:<10.4g} std {s.std:<10.4g} min {s.min:<10.4g} max {s.max:<10.4g}" if s else ""

"""A trace as text, as Markdown and as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from muomni_cli.trace.recorder import Shape, Statistics, TraceStep


def as_json(steps: Iterable[TraceStep]) -> list[dict[str, Any]]:
    """Every step, in order."""
    return [step.as_json() for step in steps]


def sections(steps: Iterable[TraceStep]) -> list[tuple[str, list[TraceStep]]]:
    """Steps by section, in the order in which the sections appear first."""
    found: dict[str, list[TraceStep]] = {}
    for step in steps:
        found.setdefault(step.section, []).append(step)
    return list(found.items())


def shapes(many: Sequence[Shape]) -> str:
    """``(1, 35, 256)``; equal ones in a row are counted: ``3 x (1, 4, 6, 64)``."""
    grouped = [(shape, len(list(group))) for shape, group in groupby(many)]
    return " + ".join(f"{count} x {shape}" if count > 1 else f"{shape}" for shape, count in grouped)


def as_text(steps: Sequence[TraceStep]) -> str:
    """Blocks for a terminal: a line of numbers and a line of words for each step, indented by depth."""
    names = [f"{'  ' * step.depth}{step.title}" for step in steps]
    moved = [_moved(step) for step in steps]
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
    """Text that keeps to its cell and means nothing to Markdown."""
    for character in "\\`*_{}[]<>#|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _moved(step: TraceStep) -> str:
    return f"{shapes(step.inputs)} -> {shapes(step.outputs)}".strip() if step.outputs or step.inputs else ""


def _words(step: TraceStep) -> str:
    return f"{step.what}: {step.counts}" if step.counts else step.what


def _statistics(s: Statistics | None) -> str:
    return f"mean {s.mean:<10.4g} std {s.std:<10.4g} min {s.min:<10.4g} max {s.max:<10.4g}" if s else ""

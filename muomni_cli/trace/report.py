"""A trace as text, as Markdown and as plain data. Knows lines, no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from muomni_cli.trace.lines import Line, Shape, Statistics


def as_json(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """Every step, in order."""
    return [line.as_json() for line in lines]


def sections(lines: Iterable[Line]) -> list[tuple[str, list[Line]]]:
    """Lines by section, in the order in which the sections appear first."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line.section, []).append(line)
    return list(found.items())


def shapes(many: Sequence[Shape]) -> str:
    """``(1, 35, 256)``; equal ones in a row are counted: ``3 x (1, 4, 6, 64)``."""
    grouped = [(shape, len(list(group))) for shape, group in groupby(many)]
    return " + ".join(f"{count} x {shape}" if count > 1 else f"{shape}" for shape, count in grouped)


def as_text(lines: Sequence[Line]) -> str:
    """Blocks for a terminal: a line of numbers and a line of words for each step, indented by depth."""
    names = [f"{'  ' * line.depth}{line.title}" for line in lines]
    moved = [_moved(line) for line in lines]
    widths = max(map(len, names), default=0), max(map(len, moved), default=0)
    rows = iter(zip(names, moved, strict=True))
    texts = {id(line): row for line, row in zip(lines, rows, strict=True)}
    blocks = []
    for number, (section, own) in enumerate(sections(lines), start=1):
        block = [f"{number}  {section}"]
        for line in own:
            name, change = texts[id(line)]
            numbers = f"{line.ms:9.3f} ms  {_statistics(line.statistics)}".rstrip()
            block += [
                f"   {name:<{widths[0]}}  {change:<{widths[1]}}  {numbers}",
                f"   {'  ' * line.depth}  {_words(line)}",
            ]
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def as_markdown(lines: Sequence[Line]) -> str:
    """A heading and a table for each section."""
    return "\n\n".join(
        "\n".join([f"## {number}. {_cell(section)}", "", *_table(own)])
        for number, (section, own) in enumerate(sections(lines), start=1)
    )


HEADINGS = ("step", "what it does", "in", "out", "counts", "ms", "mean", "std", "min", "max")


def _table(lines: Iterable[Line]) -> Iterator[str]:
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"|{'---|' * 5}{'--:|' * 5}"
    for line in lines:
        s = line.statistics
        numbers = [f"{n:.4g}" for n in (s.mean, s.std, s.min, s.max)] if s else [""] * 4
        name = "&nbsp;" * 3 * line.depth + _cell(line.title)
        cells = [name, line.what, shapes(line.inputs), shapes(line.outputs), line.counts, f"{line.ms:.3f}", *numbers]
        yield f"| {' | '.join([name, *map(_cell, cells[1:])])} |"


def _cell(text: str) -> str:
    """Text that keeps to its cell and means nothing to Markdown."""
    for character in "\\`*_{}[]<>#|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _moved(line: Line) -> str:
    return f"{shapes(line.inputs)} -> {shapes(line.outputs)}".strip() if line.outputs or line.inputs else ""


def _words(line: Line) -> str:
    return f"{line.what}: {line.counts}" if line.counts else line.what


def _statistics(s: Statistics | None) -> str:
    return f"mean {s.mean:<10.4g} std {s.std:<10.4g} min {s.min:<10.4g} max {s.max:<10.4g}" if s else ""

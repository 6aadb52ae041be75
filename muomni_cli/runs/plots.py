"""Curves of several runs: as text for a terminal, as PNG for everything else. Knows no run, only named points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from muomni_cli.core.errors import MuomniError
from muomni_cli.core.files import replacing

MARKS = "•+x*o#%@"


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot."""

    name: str
    steps: Sequence[int]
    values: Sequence[float]
    measured: bool = False
    """Points measured now and then (validation): the PNG marks each of them."""


def text_plot(curves: Sequence[Curve], *, columns: int = 80, height: int = 16) -> str:
    """The curves in at most ``columns`` columns (at least 24), on a canvas ``height`` lines high, with axes and a
    legend."""
    steps = [step for curve in curves for step in curve.steps]
    values = [value for curve in curves for value in curve.values]
    left, right, low, high = min(steps), max(steps), min(values), max(values)
    labels = {0: f"{high:.4g}", height // 2: f"{(high + low) / 2:.4g}", height - 1: f"{low:.4g}"}
    margin = max(len(label) for label in labels.values())
    width = max(24, columns) - margin - 2
    canvas = [[" "] * width for _ in range(height)]
    for curve, mark in zip(curves, MARKS * len(curves), strict=False):
        for step, value in zip(curve.steps, curve.values, strict=True):
            column = round((step - left) / max(1, right - left) * (width - 1))
            row = round((high - value) / ((high - low) or 1.0) * (height - 1))
            canvas[row][column] = mark
    lines = [f"{labels.get(row, ''):>{margin}} │{''.join(cells).rstrip()}" for row, cells in enumerate(canvas)]
    lines.append(f"{'':>{margin}} └{'─' * width}")
    ends = f"{left:<{width - len(str(right))}}{right}"
    lines.append(f"{'':>{margin}}  {f'step {left}':<{width - len(str(right))}}{right}" if left < right else ends)
    lines += [f"{'':>{margin}}  {mark} {curve.name}" for curve, mark in zip(curves, MARKS * len(curves), strict=False)]
    return "\n".join(lines)


def png_plot(curves: Sequence[Curve], metric: str, path: Path) -> None:
    """Write the curves as a PNG.

    Raises:
        MuomniError: if matplotlib is not installed or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MuomniError("plots need matplotlib, which is not installed", "pip install 'muomni[train]'") from error
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step", ylabel=metric)
    for curve in curves:
        marker = "o" if curve.measured else "." if len(curve.steps) < 30 else ""
        axes.plot(curve.steps, curve.values, label=curve.name, marker=marker)
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)

"""How far tensors are from each other. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from muomni_cli.contract.conformance import Number, require

TOLERANCE = 1e-4
"""Of a difference, where outputs are as large as 1: what float32 loses by adding in another order is a tenth of it."""

SMALLEST = 1e-3
"""Outputs smaller than this are judged as if they were so large."""


def same(made: Sequence[Tensor], wanted: Sequence[Tensor], where: Sequence[str] = ()) -> Number:
    """The largest difference, and what is allowed for outputs of their size.

    Args:
        made: what a part gave.
        wanted: what it should have given.
        where: what to call each.
    """
    worst, place = 0.0, ""
    size = SMALLEST
    for number, (one, other) in enumerate(zip(made, wanted, strict=True)):
        name = where[number] if where else ""
        require(
            one.shape == other.shape,
            f"{name or 'an output'} is {shape(one)}, and {shape(other)} where it should be the same",
        )
        if one.numel():
            size = max(size, float(other.double().square().mean().sqrt()))
            difference = float((one.double() - other.double()).abs().max())
            if not difference <= worst:  # also where it is no number
                worst, place = difference, name
    return Number("largest difference", worst, TOLERANCE * size, place)


def shape(tensor: Tensor) -> str:
    """``(2, 3)``."""
    return f"({', '.join(map(str, tensor.shape))})"


def require_shape(tensor: Tensor, wanted: Sequence[int], name: str) -> None:
    """Broken unless ``tensor`` has this shape, and is finite."""
    told = f"({', '.join(map(str, wanted))})"
    require(tuple(tensor.shape) == tuple(wanted), f"{name} are {shape(tensor)}, and {told} where they should be")
    require(not tensor.is_floating_point() or bool(tensor.isfinite().all()), f"{name} are not finite")

"""Checks that parts must keep, and what came of trying one. No torch, no numpy.

``muomni plugins check`` tries every check of a part's kind; a plugin adds some with ``register_checks`` (see
:class:`muomni_cli.contract.declarations.Check`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from muomni_cli.contract.declarations import Capability, Part, PartConfig

if TYPE_CHECKING:
    from torch import nn

Made = TypeVar("Made")


class PartUnderTest(Protocol):
    """A part on trial, as checks see it: its declaration, its smallest config, and what is built of them."""

    @property
    def part(self) -> Part:
        """The declaration."""
        ...

    @property
    def plugin(self) -> Any:
        """Who declares it: ``name``, ``version``, ``module`` and ``file``; None where only the declaration is known."""
        ...

    @property
    def name(self) -> str:
        """``thinker transformer``."""
        ...

    @property
    def config(self) -> PartConfig:
        """The smallest that the declaration allows."""
        ...

    @property
    def lively(self) -> Any:
        """The part in evaluation mode, with weights so large that what is wrong with them shows. To be left as it
        is."""
        ...

    @property
    def context(self) -> int:
        """Most tokens of a Thinker."""
        ...

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        """What ``make`` gives; the same each time it is asked for by this name."""
        ...

    def folder(self) -> Path:
        """A new, empty folder, which is gone after the trial."""
        ...

    def find(self, field: str) -> Any:
        """What a field of the declaration names, imported.

        Raises:
            Inapplicable: it names nothing.
        """
        ...

    def fresh(self, seed: int = ..., **arguments: Any) -> nn.Module:
        """The part with new weights, drawn with this seed, on the CPU; ``arguments`` in place of the usual ones of its
        ``build``."""
        ...

    def lively_with(self, **arguments: Any) -> Any:
        """:attr:`lively`, built with other arguments."""
        ...


@dataclass(frozen=True, slots=True)
class Number:
    """Something that was measured.

    Args:
        what: a few words: ``largest difference``.
        value: how much it was. Not a number is never allowed.
        allowed: the most that it may be; infinite for what is told and not judged.
        where: what it was largest for; may be empty.
        unit: ``s``, for example.
    """

    what: str
    value: float
    allowed: float = math.inf
    where: str = ""
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is allowed."""
        return self.value <= self.allowed

    def __str__(self) -> str:
        """``largest difference 0.031 (position 4), allowed 0.0001``."""
        unit = f" {self.unit}" if self.unit else ""
        where = f" ({self.where})" if self.where else ""
        limit = "" if math.isinf(self.allowed) else f", allowed {_short(self.allowed)}{unit}"
        return f"{self.what} {_short(self.value)}{unit}{where}{limit}"


def _short(value: float) -> str:
    """Whole numbers whole, others to three digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


class CheckFailed(Exception):  # noqa: N818 - a verdict, not an accident
    """Raised by a check's check: the check is broken, in a way that no number says. One line."""


class CheckSkipped(Exception):  # noqa: N818
    """Raised by a check's check: there is nothing here that it could be tried on. One line says why."""


def check_that(kept: bool, otherwise: str) -> None:
    """Raises :class:`CheckFailed` with ``otherwise`` unless ``kept``."""
    if not kept:
        raise CheckFailed(otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that parts of some kinds must do, always or if they declare it.

    Args:
        name: lower case letters, digits and ``-``; unique among the checks of a kind.
        doc: the check itself, in one line.
        run: tries it on a part, and gives what it measured. It raises :class:`CheckFailed` or :class:`CheckSkipped`;
            anything else that it raises breaks the check as well.
        kinds: the kinds of parts that it is for; all if empty.
        needs: the capability that a part must declare for it to be tried, if it takes one.
        declares: the field of the declaration that must be set for it to be tried, if it takes one: ``graphs``.
        depends_on: names of checks that it builds upon: where one of them is broken, it is not tried, so that a mistake
            is told once, by the check that is about it.
    """

    name: str
    doc: str
    run: Callable[[PartUnderTest], Sequence[Number]]
    kinds: frozenset[str] = frozenset()
    needs: Capability | None = None
    declares: str | None = None
    depends_on: tuple[str, ...] = ()


CheckState = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of trying a check on a part: numbers, and in words why it is broken or not applicable."""

    check: Check
    state: CheckState
    numbers: tuple[Number, ...] = ()
    reason: str = ""

    @property
    def summary(self) -> str:
        """The reason and the numbers in one line; those that are not allowed first."""
        numbers = sorted(self.numbers, key=lambda number: number.holds)
        return "; ".join([*([self.reason] if self.reason else []), *map(str, numbers)])

    def as_data(self) -> dict[str, Any]:
        """As JSON can hold it: what is infinite, or no number, is null."""
        return {
            "check": self.check.name,
            "doc": self.check.doc,
            "state": self.state,
            "reason": self.reason,
            "numbers": [
                {
                    "what": number.what,
                    "value": number.value if math.isfinite(number.value) else None,
                    "allowed": number.allowed if math.isfinite(number.allowed) else None,
                    "where": number.where,
                    "unit": number.unit,
                }
                for number in self.numbers
            ],
        }

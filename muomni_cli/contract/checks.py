"""Conformance checks and their results. No torch, no numpy.

``muomni plugins check`` runs every check of a part's kind; plugins add checks with ``register_checks`` (see
:class:`muomni_cli.contract.declarations.CheckSpec`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from muomni_cli.contract.declarations import Capability, Part, PartConfig

if TYPE_CHECKING:
    from torch import nn

Made = TypeVar("Made")


class PartUnderTest(Protocol):
    """A part as checks see it: its declaration, its test config and modules built from them."""

    @property
    def part(self) -> Part: ...  # its declaration

    @property
    def plugin(self) -> Any:
        """The plugin that declares it: ``name``, ``version``, ``module`` and ``file``; None if unknown."""

    @property
    def name(self) -> str: ...  # ``thinker transformer``
    @property
    def config(self) -> PartConfig: ...  # the config with ``test_config`` applied

    @property
    def lively(self) -> Any:
        """The part in evaluation mode, with weights large enough to expose errors. Must not be modified."""

    @property
    def context(self) -> int: ...  # the Thinker's context length

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        """Result of ``make``, cached under the name ``what``."""

    def folder(self) -> Path:
        """A new, empty folder, deleted after the checks."""

    def find(self, field: str) -> Any:
        """The imported object that a field of the declaration refers to. Raises CheckSkipped: the field is not set."""

    def fresh(self, seed: int = ..., **arguments: Any) -> nn.Module:
        """The part with new weights drawn with ``seed``, on the CPU; ``arguments`` override those of its ``build``."""

    def lively_with(self, **arguments: Any) -> Any:
        """:attr:`lively`, built with other arguments."""


@dataclass(frozen=True, slots=True)
class Number:
    """One measurement."""

    what: str  # a few words, such as ``largest difference``
    value: float  # the measured value; NaN always fails
    allowed: float = math.inf  # upper limit; infinite for information only
    where: str = ""  # where the value occurred; may be empty
    unit: str = ""  # ``s``, for example

    @property
    def holds(self) -> bool:
        """Whether the value is within the limit."""
        return self.value <= self.allowed

    def __str__(self) -> str:
        """``largest difference 0.031 (position 4), allowed 0.0001``."""
        unit = f" {self.unit}" if self.unit else ""
        where = f" ({self.where})" if self.where else ""
        limit = "" if math.isinf(self.allowed) else f", allowed {_short(self.allowed)}{unit}"
        return f"{self.what} {_short(self.value)}{unit}{where}{limit}"


def _short(value: float) -> str:
    """Integers in full, others to three digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


class CheckFailed(Exception):  # noqa: N818 - a verdict, not an accident
    """Raised by a check that fails for a reason other than a number. One line."""


class CheckSkipped(Exception):  # noqa: N818
    """Raised by a check that does not apply to the part. One line says why."""


def check_that(kept: bool, otherwise: str) -> None:
    """Raise :class:`CheckFailed` with the message ``otherwise`` unless ``kept``."""
    if not kept:
        raise CheckFailed(otherwise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A requirement on parts of some kinds, either always or if they declare a capability or field."""

    name: str  # lower case letters, digits and ``-``; unique among the checks of a kind
    doc: str  # the requirement, in one line
    # runs the check on a part and returns the measurements. May raise :class:`CheckFailed` or
    # :class:`CheckSkipped`; any other exception fails the check as well.
    run: Callable[[PartUnderTest], Sequence[Number]]
    kinds: frozenset[str] = frozenset()  # kinds of parts that it applies to; all if empty
    needs: Capability | None = None  # capability that the part must declare for the check to apply
    # field of the declaration that must be set, and not False, for the check to apply, such as ``graphs``
    declares: str | None = None
    # names of checks that must pass first. If one of them fails, this check is skipped, so that one mistake is
    # reported once.
    depends_on: tuple[str, ...] = ()


CheckState = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of a check on a part: the numbers, and in words why it failed or was skipped."""

    check: Check
    state: CheckState
    numbers: tuple[Number, ...] = ()
    reason: str = ""

    @property
    def summary(self) -> str:
        """The reason and the numbers in one line; failed numbers first."""
        numbers = sorted(self.numbers, key=lambda number: number.holds)
        return "; ".join([*([self.reason] if self.reason else []), *map(str, numbers)])

    def as_data(self) -> dict[str, Any]:
        """As JSON; infinities and NaN become null."""
        return {
            "check": self.check.name,
            "doc": self.check.doc,
            "state": self.state,
            "reason": self.reason,
            "numbers": [
                {
                    name: None if isinstance(value, float) and not math.isfinite(value) else value
                    for name, value in asdict(number).items()
                }
                for number in self.numbers
            ],
        }

"""The conformance suite for other people's tests: the same checks that ``muomni plugins check`` tries.

In a plugin's own tests, one test a check::

    import pytest
    from muomni_cli.testing import Case, cases

    @pytest.mark.parametrize("case", cases("my_plugin"), ids=str)
    def test_law(case: Case) -> None:
        case.check()

or all in one, for a plugin, a part, or a declaration that no plugin is installed for::

    from muomni_cli.testing import assert_keeps_the_laws

    def test_laws() -> None:
        assert_keeps_the_laws("my_plugin:my_encoder")

A check that is broken fails the test with its name, what it says and the numbers; one that is not applicable, because a
part does not declare what it is about, holds.

What a plugin's own checks are written with (:class:`Check`, :class:`Number`, :func:`check_that` ...) is here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from muomni_cli.conformance.part_under_test import LoadedPart
from muomni_cli.conformance.runner import CheckReport, CheckRun, checks_of, examine, parts_called
from muomni_cli.contract.checks import Check, CheckFailed, CheckResult, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.declarations import Part
from muomni_cli.registry.registry import get_registry

__all__ = [
    "Check",
    "CheckCase",
    "CheckFailed",
    "CheckReport",
    "CheckResult",
    "CheckSkipped",
    "Number",
    "PartUnderTest",
    "assert_conforms",
    "cases",
    "check_that",
    "examine",
    "reports",
]


@dataclass(frozen=True, slots=True)
class CheckCase:
    """One check, to be tried on one part. What the part's other cases have built, this one uses."""

    check: Check
    check_run: CheckRun = field(repr=False)

    def __str__(self) -> str:
        """``thinker-transformer-cache``."""
        part = self.check_run.subject.part
        return f"{part.kind}-{part.name}-{self.check.name}"

    def result(self) -> CheckResult:
        """What came of it; the check is tried by the first call."""
        return self.check_run.result(self.check.name)

    def run(self) -> None:
        """Raises AssertionError if the check is broken."""
        result = self.result()
        if result.state == "failed":
            raise AssertionError(
                f"{self.check_run.subject.name} breaks {self.check.name} ({self.check.doc}): {result.summary}"
            )


def cases(name: str) -> list[CheckCase]:
    """Every check of every part of a plugin, or of the part of this name, each to be tried when it is asked for.

    Raises:
        MuomniError: there is no such plugin or part, or the plugin is broken.
    """
    made = []
    for named in parts_called(name, get_registry()):
        check_run = CheckRun(LoadedPart(named.part, named.plugin), checks_of(named.part.kind))
        made += [CheckCase(check, check_run) for check in check_run.checks.values()]
    return made


def reports(name: str) -> list[CheckReport]:
    """Try every check on every part of a plugin, or on the part of this name; errors as of :func:`cases`."""
    return [examine(named.part, named.plugin) for named in parts_called(name, get_registry())]


def assert_conforms(what: str | Part) -> None:
    """Raises AssertionError, with a line for each check that is broken.

    Args:
        what: a name as of :func:`cases`, or a declaration.
    """
    found: Sequence[CheckReport] = [examine(what)] if isinstance(what, Part) else reports(what)
    lines = [
        f"{report.part.kind} {report.part.name} breaks {result.check.name} ({result.check.doc}): {result.summary}"
        for report in found
        for result in report.failed
    ]
    if lines:
        raise AssertionError("\n".join(lines))

"""Conformance checks in a plugin's own tests: the same as ``muomni plugins check`` runs.

One test per check::

    import pytest
    from muomni_cli.testing import CheckCase, cases

    @pytest.mark.parametrize("case", cases("my_plugin"), ids=str)
    def test_conformance(case: CheckCase) -> None:
        case.run()

or one for a whole plugin, a part, or a declaration without an installed plugin::

    from muomni_cli.testing import assert_conforms

    def test_conformance() -> None:
        assert_conforms("my_plugin:my_encoder")

A failed check fails the test with its name, message and numbers; a skipped check passes. To write checks, use
:class:`Check`, :class:`Number` and :func:`check_that`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from muomni_cli.conformance.common import LoadedPart
from muomni_cli.conformance.runner import CheckReport, CheckRun, checks_of, examine, parts_called
from muomni_cli.contract.checks import Check, CheckFailed, CheckResult, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.declarations import Part
from muomni_cli.registry.registry import get_registry

__all__ = [
    "Check", "CheckCase", "CheckFailed", "CheckReport", "CheckResult", "CheckSkipped", "Number", "PartUnderTest",
    "assert_conforms", "cases", "check_that", "examine", "reports",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheckCase:
    """One check of one part. The cases of a part share what they build."""

    check: Check
    check_run: CheckRun = field(repr=False)

    def __str__(self) -> str:
        """``thinker-transformer-cache``."""
        part = self.check_run.subject.part
        return f"{part.kind}-{part.name}-{self.check.name}"

    def result(self) -> CheckResult:
        """The result; the first call runs the check."""
        return self.check_run.result(self.check.name)

    def run(self) -> None:
        """Run the check; AssertionError if it fails."""
        result = self.result()
        if result.state == "failed":
            raise AssertionError(
                f"{self.check_run.subject.name} breaks {self.check.name} ({self.check.doc}): {result.summary}"
            )


def cases(name: str) -> list[CheckCase]:
    """Every check of a plugin's parts, or of the part called ``name``; each runs when its result is needed. Raises
    MuomniError: no such plugin or part, or the plugin is broken."""
    made = []
    for named in parts_called(name, get_registry()):
        check_run = CheckRun(LoadedPart(named.part, named.plugin), checks_of(named.part.kind))
        made += [CheckCase(check, check_run) for check in check_run.checks.values()]
    return made


def reports(name: str) -> list[CheckReport]:
    """Run every check of a plugin's parts, or of the part called ``name``; errors as in :func:`cases`."""
    return [examine(named.part, named.plugin) for named in parts_called(name, get_registry())]


def assert_conforms(what: str | Part) -> None:
    """Raise AssertionError with a line for each failed check.

    Args:
        what: a name as in :func:`cases`, or a declaration.
    """
    found: Sequence[CheckReport] = [examine(what)] if isinstance(what, Part) else reports(what)
    lines = [
        f"{report.part.kind} {report.part.name} breaks {result.check.name} ({result.check.doc}): {result.summary}"
        for report in found
        for result in report.failed
    ]
    if lines:
        raise AssertionError("\n".join(lines))

"""The conformance suite for other people's tests: the same laws that ``muomni plugins check`` tries.

In a plugin's own tests, one test a law::

    import pytest
    from muomni_cli.testing import Case, cases

    @pytest.mark.parametrize("case", cases("my_plugin"), ids=str)
    def test_law(case: Case) -> None:
        case.check()

or all in one, for a plugin, a part, or a declaration that no plugin is installed for::

    from muomni_cli.testing import assert_keeps_the_laws

    def test_laws() -> None:
        assert_keeps_the_laws("my_plugin:my_encoder")

A law that is broken fails the test with its name, what it says and the numbers; one that is not applicable, because a
part does not declare what it is about, holds.

What a plugin's own laws are written with (:class:`Law`, :class:`Number`, :func:`require` ...) is here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from muomni_cli.conformance.part_under_test import PartOnTrial
from muomni_cli.conformance.runner import Report, Trial, examine, laws_of, parts_called
from muomni_cli.contract.checks import Broken, Inapplicable, Law, Number, Subject, Verdict, require
from muomni_cli.contract.declarations import Part
from muomni_cli.registry.registry import get_registry

__all__ = [
    "Broken",
    "Case",
    "Inapplicable",
    "Law",
    "Number",
    "Report",
    "Subject",
    "Verdict",
    "assert_keeps_the_laws",
    "cases",
    "examine",
    "reports",
    "require",
]


@dataclass(frozen=True, slots=True)
class Case:
    """One law, to be tried on one part. What the part's other cases have built, this one uses."""

    law: Law
    trial: Trial = field(repr=False)

    def __str__(self) -> str:
        """``thinker-transformer-cache``."""
        part = self.trial.subject.part
        return f"{part.kind}-{part.name}-{self.law.name}"

    def verdict(self) -> Verdict:
        """What came of it; the law is tried by the first call."""
        return self.trial.verdict(self.law.name)

    def check(self) -> None:
        """Raises AssertionError if the law is broken."""
        verdict = self.verdict()
        if verdict.state == "broken":
            raise AssertionError(f"{self.trial.subject.name} breaks {self.law.name} ({self.law.doc}): {verdict.told}")


def cases(name: str) -> list[Case]:
    """Every law of every part of a plugin, or of the part of this name, each to be tried when it is asked for.

    Raises:
        MuomniError: there is no such plugin or part, or the plugin is broken.
    """
    made = []
    for named in parts_called(name, get_registry()):
        trial = Trial(PartOnTrial(named.part, named.plugin), laws_of(named.part.kind))
        made += [Case(law, trial) for law in trial.laws.values()]
    return made


def reports(name: str) -> list[Report]:
    """Try every law on every part of a plugin, or on the part of this name; errors as of :func:`cases`."""
    return [examine(named.part, named.plugin) for named in parts_called(name, get_registry())]


def assert_keeps_the_laws(what: str | Part) -> None:
    """Raises AssertionError, with a line for each law that is broken.

    Args:
        what: a name as of :func:`cases`, or a declaration.
    """
    found: Sequence[Report] = [examine(what)] if isinstance(what, Part) else reports(what)
    lines = [
        f"{report.part.kind} {report.part.name} breaks {verdict.law.name} ({verdict.law.doc}): {verdict.told}"
        for report in found
        for verdict in report.broken
    ]
    if lines:
        raise AssertionError("\n".join(lines))

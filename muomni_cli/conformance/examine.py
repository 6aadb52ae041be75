"""Trying laws: each on its own, whatever it raises; none whose ground is broken. Knows no law."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from muomni_cli.conformance.laws import laws_of
from muomni_cli.conformance.subject import PartOnTrial
from muomni_cli.contract.conformance import Broken, Inapplicable, Law, Verdict
from muomni_cli.contract.declarations import Part
from muomni_cli.core.errors import MuomniError
from muomni_cli.registry.loading import PluginInfo, describe


@dataclass(frozen=True, slots=True)
class Report:
    """What came of trying all laws of a part."""

    part: Part
    plugin: str
    verdicts: Sequence[Verdict]

    @property
    def broken(self) -> list[Verdict]:
        """Laws that it breaks."""
        return [verdict for verdict in self.verdicts if verdict.state == "broken"]

    def as_data(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "kind": self.part.kind,
            "name": self.part.name,
            "plugin": self.plugin,
            "holds": not self.broken,
            "laws": [verdict.as_data() for verdict in self.verdicts],
        }


class Trial:
    """A part and the laws that it is tried by; each is tried once, when it is first asked for.

    Args:
        subject: the part.
        laws: all laws of its kind.
    """

    def __init__(self, subject: PartOnTrial, laws: Sequence[Law]) -> None:
        self.subject = subject
        self.laws = {law.name: law for law in laws}
        self._verdicts: dict[str, Verdict] = {}
        self._blocked: dict[str, str] = {}  # law -> the broken one that is at the bottom of it

    def verdict(self, name: str) -> Verdict:
        """What comes of the law of this name, after those that it builds upon."""
        if name not in self._verdicts:
            law = self.laws[name]
            self._verdicts[name] = self._ruled_out(law) or try_law(law, self.subject)
        return self._verdicts[name]

    def verdicts(self) -> list[Verdict]:
        """What comes of each, in order."""
        return [self.verdict(name) for name in self.laws]

    def _ruled_out(self, law: Law) -> Verdict | None:
        """The verdict where the law need not be tried."""
        part = self.subject.part
        if law.needs is not None and law.needs not in part.can:
            return Verdict(law, "not applicable", reason=f"it does not declare {law.needs.value}")
        if law.declares is not None and getattr(part, law.declares, None) is None:
            return Verdict(law, "not applicable", reason=f"it declares no {law.declares}")
        for other in law.after:
            if other in self.laws and (broken := self._bottom(other)):
                self._blocked[law.name] = broken
                return Verdict(law, "not applicable", reason=f"it breaks {broken}, on which this builds")
        return None

    def _bottom(self, name: str) -> str | None:
        """The broken law because of which what builds on the law ``name`` cannot be tried, if there is one."""
        return name if self.verdict(name).state == "broken" else self._blocked.get(name)


def try_law(law: Law, subject: PartOnTrial) -> Verdict:
    """Try ``law`` on ``subject``. What a part prints does not get into the product on stdout."""
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numbers = tuple(law.check(subject))
    except Inapplicable as error:
        return Verdict(law, "not applicable", reason=str(error))
    except Broken as error:
        return Verdict(law, "broken", reason=str(error))
    except MuomniError as error:
        return Verdict(law, "broken", reason=error.what)
    except (Exception, SystemExit) as error:
        return Verdict(law, "broken", reason=describe(error))
    return Verdict(law, "held" if all(number.holds for number in numbers) else "broken", numbers)


@contextmanager
def on_trial(part: Part, plugin: PluginInfo | None = None) -> Iterator[Trial]:
    """``part`` with all laws of its kind; its files are gone afterwards."""
    with PartOnTrial(part, plugin) as subject:
        yield Trial(subject, laws_of(part.kind))


def examine(part: Part, plugin: PluginInfo | None = None) -> Report:
    """Try every law of the part's kind on it.

    Args:
        part: the declaration.
        plugin: who declares it; without, the laws about its module cannot be tried.
    """
    with on_trial(part, plugin) as trial:
        return Report(part, plugin.name if plugin else "", trial.verdicts())

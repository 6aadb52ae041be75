"""Collect and run conformance checks. Errors of one check do not affect others, except that a check that depends on a
failed one is skipped."""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from muomni_cli.conformance.common import LoadedPart
from muomni_cli.contract.checks import Check, CheckFailed, CheckResult, CheckSkipped
from muomni_cli.contract.declarations import ModelFiles, Part, PartConfig
from muomni_cli.core.console import say
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.registry.hookspecs import KINDS
from muomni_cli.registry.loading import PluginInfo, describe
from muomni_cli.registry.registry import Registry, did_you_mean, get_registry, resolve

HOMES: dict[str, tuple[str, ...]] = {
    "thinker": ("modules", "thinkers"),
    "encoder": ("modules", "datasets:READING_LAWS", "encoders"),
    "codec": ("modules", "datasets:READING_LAWS", "codecs"),
    "vocoder": ("modules", "vocoders"),
    "talker": ("modules", "talkers"),
    "tokenizer": ("tokenizers",),
    "dataset": ("datasets",),
    "speech-program": ("speech_programs",),
    "callback": ("models:CALLBACK_LAWS",),
    "runtime": ("models:RUNTIME_LAWS",),
    "exporter": ("models:EXPORTER_LAWS",),
    "model": ("models",),
}
"""Kind -> modules of this package whose ``CHECKS`` (or the list after the colon) apply to it, besides ``common``."""


def checks_of(kind: str) -> list[Check]:
    """All checks for parts of this kind, in the order in which to run them. MuomniError if they need PyTorch, which is
    not installed, or two checks have the same name."""
    found = [
        check
        for home in ("common", *HOMES.get(kind, ()))
        for check in resolve(f"{__package__}.{home}" + ("" if ":" in home else ":CHECKS"), f"checking a {kind}")
        if not check.kinds or kind in check.kinds
    ]
    found += [check for check in plugin_checks() if not check.kinds or kind in check.kinds]
    names = [check.name for check in found]
    for name in names:
        if names.count(name) > 1:
            raise MuomniError(f"there are two checks called {name} for parts of the kind {kind}", "rename one of them")
    return found


@functools.cache
def plugin_checks() -> list[Check]:
    """Checks that plugins add. One that cannot be loaded is left out with a warning."""
    checks = []
    for registered in get_registry().checks():
        label = f"check {registered.part.name}"
        try:
            check = resolve(registered.part.check, label)
        except Exception as error:
            reason = describe(error)
        else:
            reason = "" if isinstance(check, Check) else "not a Check"
        if reason:
            say(f"warning: {label} of plugin {registered.plugin.name} is left out: {reason}")
        else:
            checks.append(check)
    return checks


@dataclass(frozen=True, slots=True)
class PartMatch:
    """A part to check, and the plugin that declares it."""

    part: Part
    plugin: PluginInfo


class _Whole(Part):
    """A plugin that declares no part, for example one with commands only: it must be importable."""

    kind = "plugin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart(Part):
    """A packaged model, as a part without settings."""

    kind: ClassVar[str] = ModelFiles.kind

    model: ModelFiles


def parts_called(name: str, registry: Registry) -> list[PartMatch]:
    """All parts and models of the plugin with this name, or else all parts with this name (``part`` or
    ``plugin:part``). MuomniError if the plugin is broken, RequestError if there is none or it is disabled."""
    everything = [PartMatch(registered.part, registered.plugin) for kind in KINDS for registered in registry.all(kind)]
    for registered in registry.models():
        model = registered.part
        part = ModelPart(name=model.name, doc=model.doc, config=PartConfig, build="builtins:dict", model=model)
        everything.append(PartMatch(part, registered.plugin))
    info = next((plugin.info for plugin in registry.plugins if plugin.info.name == name), None)
    if info is not None:
        if info.status == "broken":
            raise MuomniError(f"plugin {name} is broken: {info.reason}", f"fix {info.module}, then check it again")
        if info.status == "disabled":
            raise RequestError(f"plugin {name} is disabled", f"muomni plugins enable {name}")
        whole = _Whole(name=name, doc="a plugin without parts", config=PartConfig, build="builtins:dict")
        return [one for one in everything if one.plugin.name == name] or [PartMatch(whole, info)]
    found = [one for one in everything if name in (one.part.name, f"{one.plugin.name}:{one.part.name}")]
    if found:
        return found
    known = [plugin.info.name for plugin in registry.plugins] + [one.part.name for one in everything]
    raise RequestError(
        f"there is no plugin or part {name!r}{registry.absences()}",
        did_you_mean(name, known, "see: muomni plugins list"),
    )


@dataclass(frozen=True, slots=True)
class CheckReport:
    part: Part
    plugin: str  # empty if unknown
    results: Sequence[CheckResult]  # of all checks

    @property
    def failed(self) -> list[CheckResult]:
        return [result for result in self.results if result.state == "failed"]

    def as_data(self) -> dict[str, Any]:
        return {
            "kind": self.part.kind,
            "name": self.part.name,
            "plugin": self.plugin,
            "holds": not self.failed,
            "checks": [result.as_data() for result in self.results],
        }


class CheckRun:
    """Runs checks on a part, each once and lazily. ``checks``: all of its kind."""

    def __init__(self, subject: LoadedPart, checks: Sequence[Check]) -> None:
        self.subject = subject
        self.checks = {check.name: check for check in checks}
        self._results: dict[str, CheckResult] = {}
        self._blocked: dict[str, str] = {}  # check -> the failed check it depends on

    def result(self, name: str) -> CheckResult:
        """The result of a check, after those it depends on."""
        if name not in self._results:
            check = self.checks[name]
            self._results[name] = self._ruled_out(check) or run_check(check, self.subject)
        return self._results[name]

    def results(self) -> list[CheckResult]:
        return [self.result(name) for name in self.checks]

    def _ruled_out(self, check: Check) -> CheckResult | None:
        """The result if the check does not apply or depends on a failed one."""
        part = self.subject.part
        if check.needs is not None and check.needs not in part.capabilities:
            return CheckResult(check, "skipped", reason=f"it does not declare {check.needs.value}")
        declared = None if check.declares is None else getattr(part, check.declares, None)
        if check.declares is not None and (declared is None or declared is False):
            return CheckResult(check, "skipped", reason=f"it declares no {check.declares}")
        for other in (name for name in check.depends_on if name in self.checks):
            broken = other if self.result(other).state == "failed" else self._blocked.get(other)
            if broken is not None:
                self._blocked[check.name] = broken
                return CheckResult(check, "skipped", reason=f"depends on {broken}, which failed")
        return None


def run_check(check: Check, subject: LoadedPart) -> CheckResult:
    """Run ``check`` on ``subject``. Prints of the part go to stderr."""
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numbers = tuple(check.run(subject))
    except CheckSkipped as error:
        return CheckResult(check, "skipped", reason=str(error))
    except CheckFailed as error:
        return CheckResult(check, "failed", reason=str(error))
    except MuomniError as error:
        return CheckResult(check, "failed", reason=error.what)
    except (Exception, SystemExit) as error:
        return CheckResult(check, "failed", reason=describe(error))
    return CheckResult(check, "passed" if all(number.holds for number in numbers) else "failed", numbers)


def examine(part: Part, plugin: PluginInfo | None = None) -> CheckReport:
    """Run all checks of a part's kind. Without ``plugin``, checks of its module are skipped."""
    with LoadedPart(part, plugin) as subject:
        return CheckReport(part, plugin.name if plugin else "", CheckRun(subject, checks_of(part.kind)).results())

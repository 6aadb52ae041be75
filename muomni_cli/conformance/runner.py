"""Run conformance checks: which checks there are for a kind of part, what a name given to ``muomni plugins check``
refers to, and the checks themselves, each isolated from the others' errors.

A check that depends on a failed one is skipped.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from muomni_cli.conformance.part_under_test import PartOnTrial
from muomni_cli.contract.checks import Broken, Inapplicable, Law, Verdict
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
    "callback": ("models:CALLBACK_LAWS",),
    "runtime": ("models:RUNTIME_LAWS",),
    "model": ("models",),
}
"""Kind -> the files here whose ``LAWS`` (or another list, after a colon) are for it, after those of ``common``, which
are for all."""

PLUGIN = "plugin"
"""The kind of a plugin that declares no part and so stands for itself."""


def laws_of(kind: str) -> list[Law]:
    """All laws for parts of this kind, in the order in which they are best tried.

    Raises:
        MuomniError: PyTorch is needed for them and not installed, or two laws have one name.
    """
    found = [
        law
        for home in ("common", *HOMES.get(kind, ()))
        for law in resolve(f"{__package__}.{home}" + ("" if ":" in home else ":LAWS"), f"checking a {kind}")
        if not law.kinds or kind in law.kinds
    ]
    known = {law.name for law in found}
    for law in added_laws():
        if law.kinds and kind not in law.kinds:
            continue
        if law.name in known:
            raise MuomniError(
                f"there are two laws called {law.name} for parts of the kind {kind}", "rename one of them"
            )
        known.add(law.name)
        found.append(law)
    return found


@functools.cache
def added_laws() -> list[Law]:
    """Those that plugins add. One that cannot be had costs one line and nothing else."""
    laws = []
    for offer in get_registry().checks():
        try:
            law = resolve(offer.part.law, f"check {offer.part.name}")
        except Exception as error:
            say(f"warning: check {offer.part.name} of plugin {offer.plugin.name} is left out: {describe(error)}")
            continue
        if isinstance(law, Law):
            laws.append(law)
        else:
            say(f"warning: check {offer.part.name} of plugin {offer.plugin.name} is left out: it is no Law")
    return laws


@dataclass(frozen=True, slots=True)
class Named:
    """A part that is to be tried, and who declares it."""

    part: Part
    plugin: PluginInfo


class _Whole(Part):
    """A plugin that declares no part, such as one of commands alone: it must be importable, and no more."""

    kind = PLUGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried(Part):
    """A model that a package carries, as a part without settings."""

    kind: ClassVar[str] = ModelFiles.kind

    model: ModelFiles


def parts_called(name: str, registry: Registry) -> list[Named]:
    """Every part and model of the plugin of this name, or else every one that is called so, alone or as
    ``plugin:part``.

    Raises:
        MuomniError: the plugin is broken.
        RequestError: there is none, or it is switched off.
    """
    everything = [Named(offer.part, offer.plugin) for kind in KINDS for offer in registry.all(kind)]
    everything += [Named(_carried(offer.part), offer.plugin) for offer in registry.models()]
    for plugin in registry.plugins:
        if plugin.info.name == name:
            _require_loaded(plugin.info)
            return [one for one in everything if one.plugin.name == name] or [_whole(plugin.info)]
    found = [one for one in everything if name in names_of(one)]
    if found:
        return found
    known = [plugin.info.name for plugin in registry.plugins] + [one.part.name for one in everything]
    raise RequestError(
        f"there is no plugin or part {name!r}{registry.absences()}",
        did_you_mean(name, known, "see: muomni plugins list"),
    )


def names_of(one: Named) -> Iterator[str]:
    """What a part may be called."""
    yield one.part.name
    yield f"{one.plugin.name}:{one.part.name}"


def _require_loaded(info: PluginInfo) -> None:
    if info.status == "broken":
        raise MuomniError(f"plugin {info.name} is broken: {info.reason}", f"mend {info.module}, then check it again")
    if info.status == "disabled":
        raise RequestError(f"plugin {info.name} is disabled", f"muomni plugins enable {info.name}")


def _carried(model: ModelFiles) -> Carried:
    return Carried(name=model.name, doc=model.doc, config=PartConfig, build="builtins:dict", model=model)


def _whole(info: PluginInfo) -> Named:
    return Named(_Whole(name=info.name, doc="a plugin without parts", config=PartConfig, build="builtins:dict"), info)


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

"""Checks for parts of every kind: declaring costs nothing, the config can be written and read back, and what the
declaration names exists.

What a module imports is measured in a process of its own.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import tomlkit
from pydantic import ValidationError

from muomni_cli.contract.checks import Check, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.declarations import PartConfig
from muomni_cli.registry.hookspecs import references_of
from muomni_cli.registry.registry import describe_settings, resolve

HEAVY = ("torch", "numpy", "onnxruntime", "tokenizers")
"""What a listing must do without."""

SECONDS = 60
"""That it may take at most."""

PROGRAM = """
import importlib, json, sys, time
path, module, heavy, light = json.loads(sys.argv[1])
sys.path[:] = path
import muomni_cli.api
begin = time.perf_counter()
importlib.import_module(module)
seconds = time.perf_counter() - begin
drawn = [name for name in heavy if name in sys.modules]
guilty = []
for name in light:
    before = "torch" in sys.modules
    importlib.import_module(name)
    if "torch" in sys.modules and not before:
        guilty.append(name)
print("\\n" + json.dumps([seconds, drawn, guilty]))
"""

QUICK = 1.0
"""Seconds that the module of a plugin may take to import, on a busy machine."""

LIGHT = {
    "encoder": ("read", "num_tokens", "read_chunks", "runner"),
    "codec": ("read", "runner"),
    "vocoder": ("runner",),
    "talker": ("runner",),
    "tokenizer": ("build", "objective"),
    "dataset": ("build", "synthesizer"),
    "runtime": ("build",),
}
"""Kind -> the fields that name what must work where there is no PyTorch."""

STRANGE = "a_setting_that_nobody_has"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import showed.

    Args:
        seconds: that the plugin's module took, beyond what every plugin imports.
        heavy: which of :data:`HEAVY` came in with it.
        guilty: modules that must know no torch and drew it in.
        failure: why it could not be imported at all.
    """

    seconds: float = 0.0
    heavy: Sequence[str] = ()
    guilty: Sequence[str] = field(default=())
    failure: str = ""


@functools.cache
def imported(module: str, light: tuple[str, ...] = ()) -> Imported:
    """Import a plugin's ``module``, then those that must know no torch, in a clean process that sees what this sees."""
    given = json.dumps([[entry for entry in sys.path if entry], module, HEAVY, light])
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, given], capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return Imported(failure=f"it took more than {SECONDS} s")
    if done.returncode:
        return Imported(failure=(done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    return Imported(*json.loads(done.stdout.splitlines()[-1]))


def imports(subject: PartUnderTest) -> Sequence[Number]:
    """The plugin's module alone."""
    found = imported(_module(subject))
    check_that(not found.failure, f"{_module(subject)} cannot be imported by itself: {found.failure}")
    check_that(not found.heavy, f"importing {_module(subject)} imports {' and '.join(found.heavy)} as well")
    return [Number("import", found.seconds, QUICK, unit="s")]


def light(subject: PartUnderTest) -> Sequence[Number]:
    """What is used where there may be no PyTorch."""
    named = [getattr(subject.part, field) for field in LIGHT.get(subject.part.kind, ())]
    modules = tuple(dict.fromkeys(reference.partition(":")[0] for reference in named if reference))
    if not modules:
        raise CheckSkipped("all of it may use PyTorch")
    found = imported(_module(subject), modules)
    check_that(not found.failure, found.failure)
    check_that(not found.guilty, f"importing {' and '.join(found.guilty)} imports torch as well")
    return []


def _module(subject: PartUnderTest) -> str:
    if subject.plugin is None:
        raise CheckSkipped("only the declaration is known, not the plugin")
    if subject.plugin.file is not None:
        raise CheckSkipped("the plugin is a single file, which is imported only where it is named")
    return str(subject.plugin.module)


def named(subject: PartUnderTest) -> Sequence[Number]:
    """Every reference of the declaration, but for peers, which are other people's."""
    for key, reference in references_of(subject.part).items():
        if not key.startswith("peers"):
            resolve(reference, f"{subject.name}, {key}")
    return []


def settings(subject: PartUnderTest) -> Sequence[Number]:
    """Defaults and descriptions."""
    told = describe_settings(subject.part.config)
    for setting in told:
        check_that(not setting["required"], f"the setting {setting['name']} has no default")
        check_that(bool(setting["description"]), f"the setting {setting['name']} has no description")
    try:
        subject.part.config(**{STRANGE: 1})
    except ValidationError:
        return [Number("settings", len(told))]
    check_that(False, "a setting that is not there is no mistake: its config must not change extra=")
    return []


def config(subject: PartUnderTest) -> Sequence[Number]:
    """As ``model.json`` and a resolved recipe hold it."""
    kind = subject.part.config
    for which, written in (("default", kind()), ("small", subject.config)):
        data = written.model_dump(mode="json", by_alias=True)
        for form, again in (("JSON", _through_json(kind, data)), ("TOML", _through_toml(kind, data))):
            changed = [name for name in kind.model_fields if getattr(again, name) != getattr(written, name)]
            told = ", ".join(f"{name} {getattr(written, name)!r} -> {getattr(again, name)!r}" for name in changed)
            check_that(not changed, f"the {which} config comes back from {form} with {told}")
    return []


def _through_json(kind: type[PartConfig], data: dict[str, Any]) -> PartConfig:
    return kind.model_validate(json.loads(json.dumps(data, allow_nan=False)))


def _through_toml(kind: type[PartConfig], data: dict[str, Any]) -> PartConfig:
    return kind.model_validate(tomllib.loads(tomlkit.dumps(_set(data))))


def _set(value: Any) -> Any:
    """Without what is unset, which TOML cannot say."""
    if isinstance(value, dict):
        return {key: _set(member) for key, member in value.items() if member is not None}
    return [_set(member) for member in value] if isinstance(value, list) else value


CHECKS = (
    Check(
        name="imports",
        doc="the plugin's module is imported quickly, without torch, numpy, onnxruntime or tokenizers",
        run=imports,
    ),
    Check(
        name="references",
        doc="everything that the declaration names is there",
        run=named,
    ),
    Check(
        name="light",
        doc="what must work without PyTorch is imported without it",
        run=light,
        kinds=frozenset(LIGHT),
        depends_on=("imports", "references"),
    ),
    Check(
        name="settings",
        doc="every setting has a default and a description, and unknown ones are mistakes",
        run=settings,
    ),
    Check(
        name="config",
        doc="the config, written as JSON or as TOML and read again, is equal to what it was",
        run=config,
        depends_on=("settings",),
    ),
)

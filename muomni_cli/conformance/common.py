"""What the conformance checks share: the part under test with its models and inputs, and the checks of every part."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import tomlkit
from pydantic import ValidationError

from muomni_cli.contract.checks import Check, CheckFailed, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.declarations import Part, PartConfig, ThinkerPart
from muomni_cli.contract.speech import CodeShape, MelConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.hookspecs import references_of
from muomni_cli.registry.loading import PluginInfo, describe
from muomni_cli.registry.registry import describe_settings, resolve

if TYPE_CHECKING:
    from torch import nn

Made = TypeVar("Made")

SEED = 20  # for all random numbers
VOCABULARY = 61  # vocabulary size of Thinkers
MEL = MelConfig(sample_rate=8000, n_fft=256, window=160, hop=40, n_mels=20)  # for vocoders
CODES = CodeShape(codebooks=2, size=32, seconds=0.08)  # for Talkers
VOICES = ("one", "two")  # for Talkers

ARGUMENTS: dict[str, dict[str, Any]] = {
    "thinker": {"vocab_size": VOCABULARY},
    "vocoder": {"mel": MEL},
    "talker": {"codes": CODES, "voices": VOICES, "thinker_width": 0},
}
"""Arguments of ``build`` besides the config, by kind."""

HEAVY = ("torch", "numpy", "onnxruntime", "tokenizers")  # packages that listing plugins must not import
SECONDS = 60  # timeout of the import process

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

LIGHT = {
    "encoder": ("read", "num_tokens", "read_chunks", "runner"),
    "codec": ("read", "runner"),
    "vocoder": ("runner",),
    "talker": ("runner",),
    "tokenizer": ("build", "objective"),
    "dataset": ("build", "synthesizer"),
    "runtime": ("build",),
}
"""Kind -> fields whose references must work without PyTorch."""


class LoadedPart:
    """A :class:`muomni_cli.contract.checks.PartUnderTest`; its files are deleted on exit, or when it is
    garbage-collected. ``plugin``: None if only the declaration is known."""

    def __init__(self, part: Part, plugin: PluginInfo | None = None) -> None:
        self.part, self.plugin = part, plugin
        self._made: dict[str, Any] = {}
        self._forget: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._forget()
        self._made.clear()

    @property
    def name(self) -> str:
        return f"{self.part.kind} {self.part.name}"

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        if what not in self._made:
            self._made[what] = make()
        made: Made = self._made[what]
        return made

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._root))

    @cached_property
    def _root(self) -> str:
        root = tempfile.mkdtemp(prefix="muomni-check-")
        self._forget = weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        return root

    @cached_property
    def config(self) -> PartConfig:
        return self.part.config(**self.part.test_config)

    def find(self, field: str) -> Any:
        reference = getattr(self.part, field)
        if reference is None:
            raise CheckSkipped(f"it declares no {field}")
        return resolve(reference, self.name)

    def fresh(self, seed: int = SEED, **arguments: Any) -> nn.Module:
        import torch

        build = self.find("build")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module: nn.Module = build(self.config, **(ARGUMENTS.get(self.part.kind, {}) | arguments))
        return module

    @property
    def lively(self) -> Any:
        """Weights are enlarged because the outputs of fresh weights are often too small, and of zero biases too
        regular, to show errors."""
        return self.once("lively", self.lively_with)

    def lively_with(self, **arguments: Any) -> Any:
        return enliven(self.fresh(**arguments)).eval().requires_grad_(False)

    @property
    def context(self) -> int:
        assert isinstance(self.part, ThinkerPart), "only Thinkers have a context"
        return int(self.config.ctx_len)  # type: ignore[attr-defined]


def enliven(module: Any) -> Any:
    """Add noise to every weight: to matrices so that outputs change by about half the size of their input, to biases
    and gains up to 0.2."""
    import torch

    random = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.is_floating_point():
                continue
            noise = torch.rand(parameter.shape, generator=random, dtype=torch.float32) * 2 - 1
            size = 0.2 if parameter.ndim < 2 else 0.5 * (3 * len(parameter) / max(1, parameter.numel())) ** 0.5
            parameter.add_((size * noise).to(parameter.dtype))
    return module


class Imported(NamedTuple):
    """Result of an import."""

    seconds: float = 0.0  # import time of the plugin's module, beyond that of ``muomni_cli.api``
    heavy: Sequence[str] = ()  # the packages of :data:`HEAVY` that it imported
    guilty: Sequence[str] = ()  # modules that imported torch although they must not
    failure: str = ""  # error message if the import failed


@functools.cache
def imported(module: str, light: tuple[str, ...] = ()) -> Imported:
    """Import a plugin's ``module``, then the ``light`` ones, in a new process with this one's ``sys.path``."""
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
    found = imported(_module(subject))
    check_that(not found.failure, f"{_module(subject)} cannot be imported by itself: {found.failure}")
    check_that(not found.heavy, f"importing {_module(subject)} imports {' and '.join(found.heavy)} as well")
    return [Number("import", found.seconds, 1.0, unit="s")]  # the limit holds on a busy machine


def light(subject: PartUnderTest) -> Sequence[Number]:
    named = [getattr(subject.part, field) for field in LIGHT.get(subject.part.kind, ())]
    modules = tuple(dict.fromkeys(reference.partition(":")[0] for reference in named if reference))
    if not modules:
        raise CheckSkipped("none of its references has to work without PyTorch")
    found = imported(_module(subject), modules)
    check_that(not found.failure, found.failure)
    check_that(not found.guilty, f"importing {' and '.join(found.guilty)} imports torch as well")
    return []


def _module(subject: PartUnderTest) -> str:
    if subject.plugin is None:
        raise CheckSkipped("only the declaration is known, not its plugin")
    if subject.plugin.file is not None:
        raise CheckSkipped("the plugin is a single file")
    return str(subject.plugin.module)


def named(subject: PartUnderTest) -> Sequence[Number]:
    for key, reference in references_of(subject.part).items():
        if not key.startswith("peers"):
            resolve(reference, f"{subject.name}, {key}")
    return []


def settings(subject: PartUnderTest) -> Sequence[Number]:
    told = describe_settings(subject.part.config)
    for setting in told:
        check_that(not setting["required"], f"the setting {setting['name']} has no default")
        check_that(bool(setting["description"]), f"the setting {setting['name']} has no description")
    try:
        subject.part.config(**{"an_unknown_setting": 1})
    except ValidationError:
        return [Number("settings", len(told))]
    check_that(False, "unknown settings are accepted: the config must not change extra=")
    return []


def config(subject: PartUnderTest) -> Sequence[Number]:
    """The default and the small config come back unchanged from JSON and from TOML."""
    kind = subject.part.config
    for which, written in (("default", kind()), ("small", subject.config)):
        data = written.model_dump(mode="json", by_alias=True)
        read = {
            "JSON": json.loads(json.dumps(data, allow_nan=False)),
            "TOML": tomllib.loads(tomlkit.dumps(_set(data))),
        }
        for form, values in read.items():
            again = kind.model_validate(values)
            changed = [name for name in kind.model_fields if getattr(again, name) != getattr(written, name)]
            told = ", ".join(f"{name} {getattr(written, name)!r} -> {getattr(again, name)!r}" for name in changed)
            check_that(not changed, f"the {which} config comes back from {form} with {told}")
    return []


def _set(value: Any) -> Any:
    """Without unset values, which TOML cannot express."""
    if isinstance(value, dict):
        return {key: _set(member) for key, member in value.items() if member is not None}
    return [_set(member) for member in value] if isinstance(value, list) else value


def refusal(
    what: str, call: Callable[[], object], accepted: Callable[[Any], str] = lambda _: "raises no error"
) -> RequestError:
    """The RequestError with a fix that ``call`` must raise. ``what``: what it has to refuse; ``accepted``: what is
    wrong if it returns something instead."""
    try:
        result = call()
    except RequestError as error:
        check_that(bool(error.fix), f"the error for {what} has no fix: {error.what}")
        return error
    except Exception as error:
        raise CheckFailed(f"{what} raises {describe(error)}, not a RequestError") from error
    raise CheckFailed(f"{what} {accepted(result)}")


CHECKS = (
    Check(name="imports", doc="the plugin's module imports quickly, without torch, numpy, onnxruntime or tokenizers",
        run=imports),
    Check(name="references", doc="every object that the declaration names exists", run=named),
    Check(name="light", doc="whatever must work without PyTorch can be imported without it", run=light,
        kinds=frozenset(LIGHT), depends_on=("imports", "references")),
    Check(name="settings", doc="every setting has a default and a description, and unknown settings are rejected",
        run=settings),
    Check(name="config", doc="the config survives a round trip through JSON and TOML", run=config,
        depends_on=("settings",)),
)  # fmt: skip

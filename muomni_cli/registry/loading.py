"""Plugin discovery and loading. Each plugin is loaded in isolation and queried for its declarations; plugins that the
user has disabled (``muomni plugins disable``) are skipped. Built-in and third-party plugins use the same code."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import pluggy
import typer

from muomni_cli.core.console import say
from muomni_cli.core.errors import MuomniError, RequestError, __version__
from muomni_cli.core.files import config_folder, write_json
from muomni_cli.core.stopping import Terminated
from muomni_cli.registry.hookspecs import API_VERSION, DECLARES, Declaration, HookSpecs, check_declaration

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILES = "MUOMNI_PLUGINS"  # environment variable: paths of further plugins' Python files, separated by ``os.pathsep``

BUILTINS = (
    "muomni_text.plugin",
    "muomni_vit.plugin",
    "muomni_audio_encoder.plugin",
    "muomni_thinker.plugin",
    "muomni_rvq.plugin",
    "muomni_talker.plugin",
    "muomni_vocoders.plugin",
    "muomni_datasets.plugin",
    "muomni_voices.plugin",
    "muomni_tensorboard",
    "muomni_trackio",
    "muomni_wandb",
    "muomni_mlflow",
    "muomni_metrics",
    "muomni_nano",
    "muomni_barista",
    "muomni_onnx.plugin",
    "muomni_transformers.plugin",
    "muomni_hf.plugin",
    "muomni_gguf.plugin",
    "muomni_web.plugin",
    "muomni_serve.plugin",
)
"""Modules with the hooks of built-in plugins; the host names them only here."""

HEAVY = "torch"  # must not be imported while a plugin loads: it would slow down commands that do without it
SECONDS = 0.7  # load time of a third-party plugin above which a warning is shown


def disabled_plugins() -> frozenset[str]:
    """Names of disabled plugins. RequestError if the file that lists them is invalid."""
    path = _path()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["disabled"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError(names)
    except FileNotFoundError:
        return frozenset()
    except (ValueError, KeyError, TypeError):
        raise RequestError(f'{path} is not {{"disabled": [names]}}', f"fix it, or start over: rm {path}") from None
    return frozenset(names)


def set_enabled(plugin: str, *, on: bool) -> bool:
    """Enable or disable ``plugin`` for later commands; returns whether that changed anything."""
    before = disabled_plugins()
    after = before - {plugin} if on else before | {plugin}
    if after != before:
        write_json(_path(), {"disabled": sorted(after)})
    return after != before


def _path() -> Path:
    return config_folder() / "plugins.json"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin before it is queried."""

    name: str  # as in ``muomni plugins`` and ``plugin:name``
    module: str  # module with its hooks
    version: str  # of its package
    origin: str  # ``built-in``, its package or its file
    status: Literal["loaded", "disabled", "broken"]  # whether its declarations are used
    reason: str = ""  # why it is broken, in one line
    file: Path | None = None  # the plugin itself, if it is a single file


class Plugin:
    """One plugin: loaded, disabled or broken. A broken one declares nothing."""

    def __init__(self, info: PluginInfo) -> None:
        self.info = info
        self.doc = ""
        self.warning = ""  # a problem that does not prevent its use
        self.parts: list[Declaration] = []
        self._hooks: pluggy.PluginManager | None = None

    def load(self) -> None:
        """Import the module and collect its declarations. Raises MuomniError: it is broken, and is built in or
        ``MUOMNI_STRICT_PLUGINS=1``."""
        began, light = time.monotonic(), HEAVY not in sys.modules
        with self._guarded():
            module = _import_file(self.info) if self.info.file else importlib.import_module(self.info.module)
            needed = getattr(module, "MUOMNI_API", API_VERSION)
            if not isinstance(needed, int):
                raise TypeError(f"MUOMNI_API must be a whole number, not {needed!r}")
            if needed > API_VERSION:
                raise RuntimeError(f"needs plugin API {needed}, this muomni has {API_VERSION}: upgrade muomni")
            self.doc = (module.__doc__ or "").strip().partition("\n")[0]
            self._hooks = pluggy.PluginManager("muomni")  # for this module alone: its failure affects no other plugin
            self._hooks.add_hookspecs(HookSpecs)
            self._hooks.register(module)
            self._hooks.check_pending()
            self.parts = list(_declarations(self._hooks))
        seconds = time.monotonic() - began
        if self.info.origin == "built-in" or self.info.status != "loaded":
            return
        if light and HEAVY in sys.modules:
            self.warning = f"imports {HEAVY} as it is loaded, which slows every command: import it in functions"
        elif seconds > SECONDS:
            self.warning = f"took {seconds:.1f} s to be loaded, which slows every command"

    def commands(self) -> typer.Typer | None:
        """The plugin's commands; None if it has none or fails."""
        found = None
        with self._guarded():
            if self._hooks is not None and self._hooks.hook.register_commands.get_hookimpls():
                cli = typer.Typer()
                self._hooks.hook.register_commands(cli=cli)
                if self.info.origin != "built-in":
                    typer.main.get_group(cli)  # finds signatures that Typer cannot read
                found = cli
        return found

    def end_of_turn(self, samples: NDArray[Any], rate: int) -> bool | None:
        """What the plugin's hook says; None if it has none, or fails."""
        found: bool | None = None
        if self._hooks is not None and self._hooks.hook.end_of_turn.get_hookimpls():
            with self._guarded():
                found = self._hooks.hook.end_of_turn(samples=samples, rate=rate)
        return found

    def fail(self, error: BaseException) -> None:
        """Mark the plugin as broken because of ``error``; raises as :meth:`load` does."""
        reason = describe(error)
        self.info = replace(self.info, status="broken", reason=reason)
        self.parts, self._hooks = [], None
        if self.info.origin == "built-in":
            fix = "reinstall muomni; if that does not help, it is a bug: run again with --debug and report it"
            raise MuomniError(f"the built-in plugin {self.info.name} is broken: {reason}", fix) from error
        if os.environ.get("MUOMNI_STRICT_PLUGINS") == "1":
            fix = f"fix {self.info.module}, or unset MUOMNI_STRICT_PLUGINS to continue without it"
            raise MuomniError(f"the plugin {self.info.name} is broken: {reason}", fix) from error

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Catch a plugin's exceptions and redirect what it prints to stderr, so that stdout holds only results."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except (KeyboardInterrupt, Terminated):
            if self.info.origin != "built-in":
                say(f"interrupted in plugin {self.info.name} ({self.info.origin})")
            raise
        except (Exception, SystemExit) as error:
            self.fail(error)


def load_plugins() -> list[Plugin]:
    """Every plugin, built-ins first; loaded unless disabled."""
    disabled = disabled_plugins()
    plugins: list[Plugin] = []
    for info in _found():
        plugin = Plugin(replace(info, status="disabled") if info.name in disabled else info)
        if plugin.info.status == "loaded":
            namesake = next((other for other in plugins if other.info.name == info.name), None)
            if namesake is None:
                plugin.load()
            else:
                plugin.fail(ValueError(f"{namesake.info.origin} has a plugin of this name already"))
        plugins.append(plugin)
    return plugins


def describe(error: BaseException) -> str:
    """The exception in one line."""
    return textwrap.shorten(f"{type(error).__name__}: {error}".removesuffix(": "), 240, placeholder=" ...")


def _found() -> Iterator[PluginInfo]:
    """Built-ins that are present, then entry points, then files; a module is listed once."""
    for module in BUILTINS:
        package = module.partition(".")[0]
        if _is_package(package):
            yield PluginInfo(package, module, __version__, "built-in", "loaded")
    for entry in sorted(metadata.entry_points(group="muomni"), key=lambda entry: (entry.name, entry.value)):
        if entry.value not in BUILTINS:
            origin, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
            yield PluginInfo(entry.name, entry.value, version, origin, "loaded")
    for file in files():
        yield PluginInfo(file.stem, file.stem, "", str(file), "loaded", file=file)


def absent_builtins() -> list[str]:
    """Built-in plugins that are not installed."""
    return [package for module in BUILTINS if not _is_package(package := module.partition(".")[0])]


def _is_package(name: str) -> bool:
    """A folder without ``__init__.py``, such as a leftover of an uninstalled package, does not count."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def files() -> list[Path]:
    return [Path(name) for name in os.environ.get(FILES, "").split(os.pathsep) if name]


def add_file(path: str) -> None:
    """Load the plugin in a Python file, in this process and its child processes. Raises RequestError: no such file, or
    its name is taken by another module."""
    file = Path(path).expanduser().resolve()
    if not file.is_file() or file.suffix != ".py":
        raise RequestError(f"{path} is not a Python file", "name the file of a plugin: --plugin my_encoder.py")
    spec = importlib.util.find_spec(file.stem) if file.stem.isidentifier() else None
    is_taken = spec is not None and (spec.origin is None or Path(spec.origin).resolve() != file)
    if not file.stem.isidentifier() or is_taken:
        raise RequestError(
            f"a plugin cannot be called {file.name}: the name is taken by another module or not an identifier",
            "give the file another name: letters, digits and _",
        )
    os.environ[FILES] = os.pathsep.join(str(one) for one in dict.fromkeys([*files(), file]))


def _import_file(info: PluginInfo) -> ModuleType:
    """Import under the file's own name, so that declarations can refer to its attributes."""
    assert info.file is not None
    spec = importlib.util.spec_from_file_location(info.module, info.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{info.file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[info.module] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[info.module]
        raise
    return module


def _declarations(hooks: pluggy.PluginManager) -> Iterator[Declaration]:
    seen: set[tuple[str, str]] = set()
    for hook in DECLARES:
        for returned in getattr(hooks.hook, hook)():
            if not isinstance(returned, (list, tuple)):
                raise TypeError(f"{hook} returned {type(returned).__name__}, not a list")
            for declared in returned:
                part = check_declaration(hook, declared)
                if (part.kind, part.name) in seen:
                    raise ValueError(f"declares {part.kind} {part.name} twice")
                seen.add((part.kind, part.name))
                yield part

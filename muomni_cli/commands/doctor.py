"""``muomni doctor``: check that this machine has what muomni needs, with a fix for each failure."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import typer

from muomni_cli.commands.options import JsonOption
from muomni_cli.core.console import print_json, print_table
from muomni_cli.core.errors import __version__, extras, how_to_install
from muomni_cli.core.files import cache_folder, config_folder
from muomni_cli.registry.loading import describe
from muomni_cli.registry.registry import get_registry

GIB = 2**30
PACKAGES = ("numpy", "tokenizers", "safetensors", "torchaudio", "matplotlib", "psutil", "onnx", "onnxscript")
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")  # they install into the same folder, so only one can be installed

# Instruction sets that speed up bfloat16 training and int8 bundles.
CPU_FEATURES = {
    *("avx2", "avx512f", "avx512_bf16", "amx_bf16", "neon", "asimd", "bf16"),
    *("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"),
}


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Result of one check. ``broken``: some command will fail because of it; ``note``: it may matter."""

    name: str
    status: Literal["ok", "note", "broken"]
    found: str


def examine() -> list[Diagnostic]:
    """Run all checks, in the order of the report."""
    folders = {"config folder": config_folder(), "cache folder": cache_folder(), "working folder": Path.cwd()}
    checked = [_folder(name, folder) for name, folder in folders.items()]
    return [*_versions(), *_runtimes(), *_torch(), _processor(), *_plugins(), *checked, _terminal()]


def _versions() -> Iterator[Diagnostic]:
    yield Diagnostic("muomni", "ok", f"{__version__} in {Path(__file__).parent}")
    yield Diagnostic("python", "ok", f"{platform.python_version()} at {sys.executable}, {platform.platform()}")
    known = extras()
    for package in PACKAGES:
        version = _version(package)
        fix = f"not installed: {how_to_install([package])}" if package in known else "not installed"
        yield Diagnostic(package, "ok" if version else "note", version or fix)


def _version(package: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def _runtimes() -> Iterator[Diagnostic]:
    """onnxruntime or onnxruntime-gpu, which run bundles. If both are installed, their files overwrite each other."""
    there = {name: version for name in RUNTIMES if (version := _version(name))}
    found = " and ".join(f"{name} {version}" for name, version in there.items())
    if len(there) > 1:
        fix = f"keep one: pip uninstall -y {' '.join(there)} && pip install 'onnxruntime-gpu[cuda,cudnn]'"
        yield Diagnostic("runtime", "broken", f"{found} in one folder; {fix}")
        return
    if not there:
        yield Diagnostic("runtime", "note", "not installed; bundles need it: pip install onnxruntime")
        return
    try:
        providers = importlib.import_module("onnxruntime").get_available_providers()
    except Exception as error:
        yield Diagnostic("runtime", "broken", f"{found}: {describe(error)}")
        return
    able = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    yield Diagnostic("runtime", "ok", f"{found}, {able}")


def _torch() -> Iterator[Diagnostic]:
    """PyTorch may be missing (chat with a bundle works without); if installed, it must be importable."""
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError as error:
        absent = error.name == "torch"
        found = "not installed; training needs it: pip install 'muomni[train]'" if absent else describe(error)
        yield Diagnostic("torch", "note" if absent else "broken", found)
        return
    except Exception as error:
        yield Diagnostic("torch", "broken", describe(error))
        return
    yield Diagnostic("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield Diagnostic("device", "ok", "cpu only")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Diagnostic("device", "ok", f"cuda:{index} {properties.name}, {properties.total_memory / GIB:.0f} GiB")


def _processor() -> Diagnostic:
    lines: list[str] = []
    with contextlib.suppress(OSError):  # only Linux has it
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    flags = " ".join(line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))).split()
    known = ", ".join(sorted(CPU_FEATURES.intersection(flags))) or "features unknown"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Diagnostic("cpu", "ok", f"{usable} of {os.cpu_count()} cores, {platform.machine()}, {known}")


def _plugins() -> Iterator[Diagnostic]:
    for info in (plugin.info for plugin in get_registry().plugins):
        if info.status == "broken":
            yield Diagnostic(f"plugin {info.name}", "broken", info.reason)
        else:
            yield Diagnostic(f"plugin {info.name}", "ok", f"{info.status}, {info.origin} {info.version}")


def _folder(name: str, folder: Path) -> Diagnostic:
    """Check that the folder (or its nearest existing parent) is writable, and report free space."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            free = shutil.disk_usage(nearest).free
    except OSError as error:
        return Diagnostic(name, "broken", f"{folder} cannot be written: {error.strerror}")
    return Diagnostic(name, "ok" if free > GIB else "note", f"{folder}, {free / GIB:.1f} GiB free")


def _terminal() -> Diagnostic:
    if not sys.stderr.isatty():
        return Diagnostic("terminal", "ok", "none on stderr: progress is printed as plain lines")
    width, height = shutil.get_terminal_size()
    kind = os.environ.get("TERM", "unknown")
    return Diagnostic("terminal", "ok", f"{kind}, {width} x {height}, {sys.stderr.encoding}")


def doctor(json: JsonOption = False) -> None:
    """Report versions, devices, folders and plugins; exit 1 if something is broken."""
    checks = examine()
    if json:
        print_json([asdict(check) for check in checks])
    else:
        print_table(("", "WHAT", "FOUND"), [(check.status, check.name, check.found) for check in checks])
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(1)

"""Where graphs run: the providers and cores that this machine really has. Knows onnxruntime."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import math
import os
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import onnxruntime

from muomni_cli.api import RequestError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
ON_CPU = "use --device cpu, or auto, which takes CUDA only where it works"


@dataclass(frozen=True, slots=True)
class Place:
    """A provider of onnxruntime, and which of its devices."""

    provider: str
    index: int = 0

    @property
    def device(self) -> str:
        """What onnxruntime calls the device when it puts tensors there."""
        return "cuda" if self.provider == CUDA else "cpu"


def places(device: str) -> list[Place]:
    """Where to open graphs, best first.

    Args:
        device: ``cpu``; ``cuda`` or ``cuda:1``; ``auto`` for CUDA if it works, else the CPU.

    Raises:
        RequestError: there is no such device, or CUDA was asked for and cannot work here.
    """
    if device in ("cpu", "auto"):
        cuda = [] if device == "cpu" or no_cuda() else [Place(CUDA)]
        return [*cuda, Place(CPU)]
    named = re.fullmatch(r"cuda(?::(\d+))?", device)
    if named is None:
        raise RequestError(f"there is no device {device!r}", "write --device auto, cpu, cuda or cuda:0")
    lack, index = no_cuda(), int(named[1] or 0)
    if lack is not None:
        raise lack
    if index >= count_devices():
        raise RequestError(f"there is no device {device!r}: NVIDIA's driver shows {count_devices()}", ON_CPU)
    return [Place(CUDA, index)]


def no_cuda() -> RequestError | None:
    """Why CUDA cannot work here, as far as can be known without opening a graph; None if it may."""
    if CUDA not in onnxruntime.get_available_providers():
        return _both_installed() or RequestError(
            f"onnxruntime-gpu is not installed, and onnxruntime {onnxruntime.__version__} knows no CUDA",
            "pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]' (one folder: never both)",
        )
    if count_devices() == 0:
        return RequestError("there is no CUDA device: NVIDIA's driver is missing, or shows none", ON_CPU)
    return None


def _both_installed() -> RequestError | None:
    """onnxruntime and onnxruntime-gpu own one folder: what was installed last has overwritten the other."""
    try:
        for package in ("onnxruntime", "onnxruntime-gpu"):
            metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
    return RequestError(
        "onnxruntime and onnxruntime-gpu are both installed, and the former lies over the latter's files",
        "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'onnxruntime-gpu[cuda,cudnn]'",
    )


@functools.cache
def count_devices() -> int:
    """CUDA devices that the driver shows to this process; 0 if there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


@functools.cache
def load_cuda() -> None:
    """Load CUDA's libraries from NVIDIA's wheels, if those are installed; what fails shows when a graph is opened."""
    onnxruntime.set_default_logger_severity(4)  # what it says when a provider fails, why_not_cuda says
    load = getattr(onnxruntime, "preload_dlls", None)  # 1.21 and later
    if load is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            load()


def why_not_cuda() -> RequestError:
    """Why a graph did not open on CUDA although a device is there. To be asked after it failed, and not before: the
    provider's library must first be loaded by onnxruntime, which gives it what it starts with."""
    names = {"win32": "onnxruntime_providers_cuda.dll"}
    library = Path(onnxruntime.__file__).parent / "capi" / names.get(sys.platform, "libonnxruntime_providers_cuda.so")
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return RequestError(
            f"CUDA libraries are missing: {error}", "pip install 'onnxruntime-gpu[cuda,cudnn]', or use --device cpu"
        )
    return RequestError(
        f"onnxruntime {onnxruntime.__version__} cannot use this CUDA device",
        "its driver may be too old for this onnxruntime-gpu: upgrade the driver, or use --device cpu",
    )


@functools.cache
def cores() -> int:
    """Cores that this process may use: those it is bound to, hyperthreads counted once, within its group's quota."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    physical = {
        _read(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list", number) for number in usable
    }
    return max(1, math.ceil(min(len(physical), _quota())))


def _quota() -> float:
    """Cores' worth of time that this process's control group is given; infinite if it is not limited."""
    words = _read("/sys/fs/cgroup/cpu.max").split()  # version 2
    if not words:
        folder = "/sys/fs/cgroup/cpu/cpu.cfs_"
        words = [_read(f"{folder}quota_us").strip(), _read(f"{folder}period_us").strip()]
    try:
        quota, period = (float(word) for word in words)
    except ValueError:  # "max", or nothing
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def _read(path: str, default: object = "") -> str:
    """What a file of the kernel says."""
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return str(default)

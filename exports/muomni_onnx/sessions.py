"""onnxruntime sessions: the machine's execution providers and cores, and graphs as functions of arrays.

States that a graph carries from call to call (a key/value cache, a stream's state) are numpy arrays on the CPU, where
binding is no faster than ``run``, which copies nothing either. On CUDA they stay on the device as ``OrtValue``.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import math
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from muomni_cli.api import RequestError
from muomni_onnx.providers import OTHERS, device_of, options_of, require_provider, require_used

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
ON_CPU = "use --device cpu, or auto, which takes CUDA only where it works"

T = TypeVar("T")
Arrays = Mapping[str, "NDArray[Any]"]
Value = Any  # a numpy array or, on a device, an OrtValue

Watcher = Callable[[Mapping[str, Value], Mapping[str, Value], float], None]
"""Called with the inputs of a graph, its outputs, and its seconds."""

DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}  # others have numpy's names: ``tensor(int64)``

WORK = re.compile("MatMul|Gemm|Conv|Attention")
"""In the names of operators that do a graph's work. On CUDA, onnxruntime leaves shape arithmetic to the CPU, as it
should, and silently also operators without a CUDA kernel (Attention before 1.25)."""

CUDA_OPTIONS = {
    "use_tf32": "0",  # it rounds fp32 to 10 bits, and parity is lost
    "cudnn_conv_algo_search": "HEURISTIC",  # the default tries all algorithms for every new length
    "arena_extend_strategy": "kSameAsRequested",
}


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """An execution provider of onnxruntime, and the index of its device."""

    provider: str
    index: int = 0

    @property
    def device(self) -> str:
        """onnxruntime's name of the device that holds tensors."""
        return "cuda" if self.provider == CUDA else "cpu"

    @property
    def name(self) -> str:
        """The device as :func:`places` takes it."""
        return "cpu" if self.provider == CPU else device_of(self.provider) or f"cuda:{self.index}"

    @property
    def configured(self) -> Any:
        """The provider as a session takes it."""
        if self.provider == CUDA:
            return (CUDA, {"device_id": str(self.index), **CUDA_OPTIONS})
        return CPU if self.provider == CPU else (self.provider, options_of(self.provider))


def places(device: str) -> list[ProviderChoice]:
    """Where to open graphs, best first.

    Args:
        device: ``cpu``; ``cuda`` or ``cuda:1``; ``auto`` for CUDA if it works, else the CPU; or one of
            :data:`muomni_onnx.providers.OTHERS`.

    Raises:
        RequestError: there is no such device, or CUDA or another provider was requested and cannot work here.
    """
    if device in ("cpu", "auto"):
        cuda = [] if device == "cpu" or no_cuda() else [ProviderChoice(CUDA)]
        return [*cuda, ProviderChoice(CPU)]
    if device in OTHERS:
        return [ProviderChoice(require_provider(device))]
    named = re.fullmatch(r"cuda(?::(\d+))?", device)
    if named is None:
        names = ", ".join(OTHERS)
        raise RequestError(f"there is no device {device!r}", f"write --device auto, cpu, cuda or cuda:0, or {names}")
    if lack := no_cuda():
        raise lack
    index = int(named[1] or 0)
    if index >= count_devices():
        raise RequestError(f"there is no device {device!r}: NVIDIA's driver shows {count_devices()}", ON_CPU)
    return [ProviderChoice(CUDA, index)]


def no_cuda() -> RequestError | None:
    """Why CUDA cannot work here, as far as is known before a graph is opened; None if it may."""
    if CUDA in onnxruntime.get_available_providers():
        if count_devices():
            return None
        return RequestError("there is no CUDA device: NVIDIA's driver is missing, or shows none", ON_CPU)
    with contextlib.suppress(metadata.PackageNotFoundError):
        for package in ("onnxruntime", "onnxruntime-gpu"):
            metadata.version(package)
        return RequestError(  # they share a folder: the later installation overwrites the other
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files",
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )
    return RequestError(
        f"onnxruntime-gpu is not installed, and onnxruntime {onnxruntime.__version__} does not support CUDA",
        "pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]' (one folder: never both)",
    )


@functools.cache
def count_devices() -> int:
    """CUDA devices visible to this process; 0 without a driver."""
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
    """Load CUDA's libraries from NVIDIA's wheels, if installed; failures show when a graph is opened."""
    onnxruntime.set_default_logger_severity(4)  # why_not_cuda reports what fails
    load = getattr(onnxruntime, "preload_dlls", None)  # 1.21 and later
    if load is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints missing libraries
            load()


def why_not_cuda() -> RequestError:
    """Why a graph did not open on CUDA although there is a device. Call it only after the failure: onnxruntime itself
    must load the provider's library first, to initialize it."""
    name = "onnxruntime_providers_cuda.dll" if sys.platform == "win32" else "libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(str(Path(onnxruntime.__file__).parent / "capi" / name))
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
    """Physical cores that this process may use, within its affinity and its control group's quota."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    physical = {
        _read(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list", number) for number in usable
    }
    words = _read("/sys/fs/cgroup/cpu.max").split()  # control groups version 2, else version 1
    if not words:
        words = [_read(f"/sys/fs/cgroup/cpu/cpu.cfs_{what}_us").strip() for what in ("quota", "period")]
    quota = period = 0.0
    with contextlib.suppress(ValueError):  # "max", or nothing
        quota, period = (float(word) for word in words)
    limit = quota / period if quota > 0 and period > 0 else math.inf
    return max(1, math.ceil(min(len(physical), limit)))


def _read(path: str, default: object = "") -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return str(default)


def _unusable(error: Exception) -> RequestError:
    reason = " ".join(str(error).split())[:200]
    return RequestError(f"a graph of the bundle cannot be run: {reason}", "export the model again, or copy it again")


class GraphSession:
    """One open graph.

    Args:
        path: the file.
        threads: CPU threads; all cores by default.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto``: CUDA if the graph opens on it, else the CPU.
        kept: outputs that stay on the device, to be passed to a later call.
        bind: whether calls use IO binding; by default on CUDA.

    Raises:
        RequestError: it is not a complete ONNX file; or CUDA was requested and cannot run it, with the reason.
    """

    def __init__(
        self,
        path: Path,
        threads: int | None = None,
        device: str = "cpu",
        kept: Collection[str] = (),
        *,
        bind: bool | None = None,
    ) -> None:
        def opened(place: ProviderChoice) -> tuple[ProviderChoice, Any]:
            return place, _open(path, threads or cores(), place)

        self._place, self._session = _on_best(device, opened)
        self._kept = frozenset(kept)
        self._bind = self._place.provider == CUDA if bind is None else bind
        self._types = _types(self._session.get_inputs())
        self.inputs: list[str] = list(self._types)
        self._halves = frozenset(name for name, kind in self._types.items() if kind == np.float16)
        self.outputs: list[str] = [output.name for output in self._session.get_outputs()]
        self.watcher: Watcher | None = None  # called after every call
        self.seconds = 0.0  # that onnxruntime took so far for its calls, of all threads together

    @property
    def provider(self) -> str:
        return self._place.provider

    @property
    def device(self) -> str:
        return self._place.name

    def keep(self, *outputs: str) -> None:
        """Let these outputs stay on the device, too."""
        self._kept |= frozenset(outputs)

    def type(self, name: str) -> np.dtype[Any]:
        return self._types[name]

    def shape(self, name: str) -> list[int | str]:
        """The axes of an output, as sizes or names."""
        return list(self._session.get_outputs()[self.outputs.index(name)].shape)

    def __call__(self, feeds: Mapping[str, Value], wanted: Sequence[str] | None = None) -> dict[str, Value]:
        """All outputs, or the ``wanted`` ones, by name: arrays, except kept ones, for :func:`fetch`. ``feeds``: arrays
        and kept outputs of earlier calls; float32 arrays are cast to the float16 of caches."""
        begin = time.perf_counter()
        try:
            made = self._called(feeds, wanted)
        except RuntimeError as error:
            raise _unusable(error) from error
        except Exception as error:  # those of onnxruntime have no common base
            if type(error).__module__.startswith("onnxruntime"):
                raise _unusable(error) from error
            raise
        if self.watcher is not None:
            self.watcher(feeds, made, time.perf_counter() - begin)
        return made

    def _called(self, feeds: Mapping[str, Value], wanted: Sequence[str] | None) -> dict[str, Value]:
        names = list(wanted) if wanted is not None else self.outputs
        taken = feeds
        if self._halves:
            taken = {name: _halved(value) if name in self._halves else value for name, value in feeds.items()}
        if not self._bind:
            begin = time.perf_counter()
            outputs = self._session.run(names, taken)
            self.seconds += time.perf_counter() - begin
            return dict(zip(names, outputs, strict=True))
        binding = self._session.io_binding()
        for name, value in taken.items():
            if isinstance(value, onnxruntime.OrtValue):
                binding.bind_ortvalue_input(name, value)
            elif name in self._types:
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            else:  # an input with a default, which the other way does not know
                array = np.ascontiguousarray(value)
                binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
        for name in names:
            if name in self._kept:
                binding.bind_output(name, self._place.device, self._place.index)
            else:
                binding.bind_output(name)
        begin = time.perf_counter()
        self._session.run_with_iobinding(binding)
        self.seconds += time.perf_counter() - begin
        made = dict(zip(names, binding.get_outputs(), strict=True))
        return {name: value if name in self._kept else value.numpy() for name, value in made.items()}

    def takes(self, arrays: Arrays) -> bool:
        """Whether the arrays have the types of the inputs and outputs of their names."""
        types = self._types | _types(self._session.get_outputs())
        return all(types[name] == array.dtype for name, array in arrays.items())

    def bind(self, arrays: Mapping[str, NDArray[Any]]) -> Callable[[], None]:
        """A call on the CPU with fixed arrays, which copies and allocates nothing: it reads the inputs among ``arrays``
        anew each time, and writes the outputs. One array may be both."""
        binding = self._session.io_binding()
        values: dict[int, Any] = {}  # by array
        for name, array in arrays.items():
            value = values.setdefault(id(array), onnxruntime.OrtValue.ortvalue_from_numpy(array))
            (binding.bind_ortvalue_input if name in self._types else binding.bind_ortvalue_output)(name, value)
        # the binding itself keeps no array alive
        inputs = {name: array for name, array in arrays.items() if name in self._types}
        outputs = {name: array for name, array in arrays.items() if name not in inputs}
        session = self._session

        def run() -> None:
            begin = time.perf_counter()
            try:
                session.run_with_iobinding(binding)
            except Exception as error:  # those of onnxruntime have no common base
                raise _unusable(error) from error
            seconds = time.perf_counter() - begin
            self.seconds += seconds
            if self.watcher is not None:
                self.watcher(inputs, outputs, seconds)

        return run

    def put(self, array: NDArray[Any]) -> Value:
        """``array`` where this session keeps states, the inverse of :func:`fetch`."""
        if not self._bind:
            return array
        contiguous = np.ascontiguousarray(array)
        return onnxruntime.OrtValue.ortvalue_from_numpy(contiguous, self._place.device, self._place.index)


def _types(declared: Sequence[Any]) -> dict[str, np.dtype[Any]]:
    """Of inputs or outputs, by name."""
    return {one.name: np.dtype(DTYPES.get(one.type, one.type[len("tensor(") : -1])) for one in declared}


def _halved(value: Value) -> Value:
    """A float32 array in float16; anything else as it is."""
    return value.astype(np.float16) if isinstance(value, np.ndarray) and value.dtype == np.float32 else value


def fetch(value: Value) -> NDArray[Any]:
    """An output as an array."""
    array: NDArray[Any] = value.numpy() if isinstance(value, onnxruntime.OrtValue) else value
    return array


def open_sessions(
    paths: Mapping[str, Path],
    device: str = "auto",
    threads: int | None = None,
    kept: Mapping[str, Collection[str]] | None = None,
) -> dict[str, GraphSession]:
    """Open several graphs concurrently, all on one device.

    Args:
        paths: name -> file.
        device: see :class:`GraphSession`; ``auto`` is CUDA if every graph opens on it.
        threads: CPU threads of each graph; graphs run one after the other.
        kept: name -> outputs that stay on the device.

    Raises:
        RequestError: as :class:`GraphSession` does, for the first that cannot be opened.
    """

    def open_all(place: ProviderChoice) -> dict[str, GraphSession]:
        with ThreadPoolExecutor(max(1, min(len(paths), cores()))) as pool:
            outputs = kept or {}
            opened = pool.map(lambda name: GraphSession(paths[name], threads, place.name, outputs.get(name, ())), paths)
            return dict(zip(paths, opened, strict=True))

    return _on_best(device, open_all)


def _on_best(device: str, open_on: Callable[[ProviderChoice], T]) -> T:
    """What ``open_on`` returns for the first of the :func:`places` where it works; the last one's error counts."""
    *better, last = places(device)
    for place in better:
        with contextlib.suppress(RequestError):  # of CUDA; or of the file, which the CPU reports
            return open_on(place)
    return open_on(last)


def _open(path: Path, threads: int, place: ProviderChoice) -> Any:
    """A session in one place. RequestError if the graph does not open there, or the CPU would do some of its work."""
    if place.provider == CUDA:
        load_cuda()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # plans memory for one shape, and a cache has another at every step
    # The arena of each graph keeps the most that its calls ever held at once, in steps that double: two threads in one
    # graph were enough for another step, after any time. malloc is as fast for these graphs.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting must not eat a busy CPU
    # An x86 CPU without VNNI (Intel before 2019, AMD before Zen 4) sums pairs of 8-bit products in 16 bits, which
    # silently saturates. With this option, onnxruntime makes the weights unsigned there and sums in 32 bits.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if place.provider == CUDA:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = onnxruntime.InferenceSession(
            str(path),
            sess_options=options,
            providers=[place.configured],
            disabled_optimizers=["QDQS8ToU8Transformer"],  # gives zero points of quantized blocks an invalid shape
            enable_fallback=0,
        )
    except Exception as error:  # its errors have no common base
        why = f"cannot be opened: {str(error).partition(chr(10))[0][:300]}" if path.is_file() else "is missing"
        fix = "export the model again" if place.provider in (CPU, CUDA) else "use --device cpu"
        raise RequestError(f"{path} {why}", fix) from error
    if place.provider not in (CPU, CUDA):
        require_used(session, place.provider, path)
        return session
    if place.provider not in session.get_providers():  # it falls back to the CPU silently
        raise why_not_cuda()
    ask = getattr(session, "get_provider_graph_assignment_info", None)  # onnxruntime 1.24 and later
    parts = ask() if ask is not None and place.provider != CPU else []
    others = {node.op_type for part in parts if part.ep_name != place.provider for node in part.get_nodes()}
    if left := sorted(operator for operator in others if WORK.search(operator)):
        raise RequestError(
            f"{path}: {place.provider} has no {', '.join(left)} for this precision, so the CPU would run it",
            "export with a precision for CUDA (fp16 or fp32), or use --device cpu",
        )
    return session

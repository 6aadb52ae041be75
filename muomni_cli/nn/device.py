"""Hardware queries: device, threads, autocast, memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import psutil  # type: ignore[import-untyped]
import torch

from muomni_cli.core.errors import RequestError

KINDS = ("cuda", "mps", "xpu")  # of accelerators, in the order of preference
KNOWN = "auto, cpu, cuda, cuda:0, mps or xpu"
_NO_MEMORY = (
    *("can't allocate memory", "not enough memory", "out of memory", "overflow", "Invalid buffer size"),
    *("array is too big", "Maximum allowed dimension"),
)


def choose_device(wanted: str) -> torch.device:
    """``"auto"`` is the first of CUDA, MPS and XPU that is there, else the CPU. RequestError if this machine or this
    PyTorch lacks the device."""
    if wanted == "auto":
        return torch.device(next((kind for kind in KINDS if device_count(kind)), "cpu"))
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise RequestError(f"there is no device {wanted!r}", f"write device = {KNOWN}") from error
    if device.type not in ("cpu", *KINDS):
        raise RequestError(f"device {wanted!r} is not supported", f"write device = {KNOWN}")
    if device.type in KINDS and (device.index or 0) >= (there := device_count(device.type)):
        raise RequestError(
            f"device {wanted!r} was asked for, but PyTorch sees {there} {device.type.upper()} devices",
            "write device=cpu (or device=auto), or look at `muomni doctor`",
        )
    return device


def device_count(kind: str) -> int:
    """Number of devices of a kind of :data:`KINDS` on this machine, as far as this PyTorch knows them."""
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return torch.cuda.device_count() if kind == "cuda" else torch.xpu.device_count()


def set_threads(threads: int) -> None:
    """Use ``threads`` CPU threads; 0 keeps PyTorch's setting."""
    if threads > 0:
        torch.set_num_threads(threads)


@cache
def multiplies_bf16(kind: str) -> bool:
    """Whether devices of this kind (``"cpu"``, ``"cuda"``) have bfloat16 instructions. On a CPU without them, PyTorch's
    bfloat16 products are some fifty times slower than fp32; on MPS they are not known to be faster."""
    if kind in ("mps", "xpu"):
        return kind == "xpu"
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def quick_dtype(device: torch.device) -> torch.dtype:
    """The faster dtype for products that need little precision: bfloat16, or fp32 where that is emulated."""
    return torch.bfloat16 if multiplies_bf16(device.type) else torch.float32


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """bfloat16 autocast if requested and supported; weights and optimizer state stay fp32."""
    if precision == "bf16" and multiplies_bf16(device.type):
        context: AbstractContextManager[None] = torch.autocast(device.type, dtype=torch.bfloat16)
        return context
    return nullcontext()


def memory_bytes(device: torch.device) -> int:
    """Peak tensor memory of a CUDA device, or the process's resident memory without pages of mapped data files, which
    the system drops when it needs the space."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    if device.type == "xpu":
        return int(torch.xpu.max_memory_allocated(device))
    info = psutil.Process().memory_info()
    return int(info.rss - getattr(info, "shared", 0))  # only Linux tells them apart


def release_memory(device: torch.device) -> None:
    """Give freed memory back to the system. Batches of many lengths leave the heap of the C library in pieces, so that
    resident memory doubles within some hundred steps on the CPU; CUDA has an allocator of its own."""
    if device.type == "cpu" and hasattr(psutil, "heap_trim"):  # not with every C library
        psutil.heap_trim()


def total_memory(device: torch.device) -> int:
    """Bytes of memory that the device has, used or not."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "xpu":
        return int(torch.xpu.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` of torch or numpy says that memory is short, or that no memory could hold what is wanted."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError | ValueError) and any(words in str(error) for words in _NO_MEMORY)


@contextmanager
def memory_errors_told(what: str, fix: str) -> Iterator[None]:
    """Turn errors of memory into a RequestError: ``what`` ran out of memory."""
    try:
        yield
    except (MemoryError, RuntimeError, ValueError) as error:
        if not ran_out_of_memory(error):
            raise
        raise RequestError(f"{what} ran out of memory", fix) from error

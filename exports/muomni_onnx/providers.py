"""Execution providers of onnxruntime besides the CPU and CUDA, by the names that ``--device`` takes.

What is known of bundles on each is said when it is used. ``auto`` takes none of them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from muomni_cli.api import RequestError
from muomni_cli.core.console import say


@dataclass(frozen=True, slots=True)
class OtherProvider:
    """An execution provider.

    Args:
        provider: onnxruntime's name.
        package: what to install in the place of ``onnxruntime``, and where it exists.
        options: for every session.
        known: what is known of bundles on it.
    """

    provider: str
    package: str
    options: tuple[tuple[str, str], ...] = ()
    known: str = "untested"


OTHERS = {
    "coreml": OtherProvider(
        "CoreMLExecutionProvider", "onnxruntime on macOS", (("ModelFormat", "MLProgram"), ("MLComputeUnits", "ALL"))
    ),
    "directml": OtherProvider("DmlExecutionProvider", "onnxruntime-directml on Windows"),
    "openvino": OtherProvider(
        "OpenVINOExecutionProvider",
        "onnxruntime-openvino",
        (("device_type", "CPU"), ("precision", "FP32")),
        "tested with onnxruntime-openvino 1.24: encoders and codecs open, and Thinkers and Talkers do not",
    ),
    "tensorrt": OtherProvider("TensorrtExecutionProvider", "onnxruntime-gpu with TensorRT"),
    "webgpu": OtherProvider("WebGpuExecutionProvider", "a build of onnxruntime with WebGPU"),
}
"""By the name that ``--device`` takes."""


def require_provider(device: str) -> str:
    """onnxruntime's name of the provider for one of :data:`OTHERS`. RequestError if this onnxruntime has none."""
    other = OTHERS[device]
    if other.provider not in onnxruntime.get_available_providers():
        raise RequestError(
            f"onnxruntime {onnxruntime.__version__} here has no {other.provider}",
            f"install {other.package} in its place, or use --device cpu",
        )
    _tell(device)
    return other.provider


@functools.cache
def _tell(device: str) -> None:
    """Once per process."""
    say(f"--device {device} is {OTHERS[device].known}; compare with --device cpu")


def options_of(provider: str) -> dict[str, str]:
    """Options of a provider among :data:`OTHERS`."""
    return dict(next(other.options for other in OTHERS.values() if other.provider == provider))


def device_of(provider: str) -> str | None:
    """The name for ``--device`` of a provider among :data:`OTHERS`; None for any other."""
    return next((name for name, other in OTHERS.items() if other.provider == provider), None)


def require_used(session: Any, provider: str, path: Path) -> None:
    """RequestError if a session fell back to the CPU entirely, which onnxruntime does silently."""
    if provider not in session.get_providers():
        raise RequestError(f"{path} does not open with {provider}", "use --device cpu")

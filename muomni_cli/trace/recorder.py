"""Records calls inside of modules of PyTorch. Knows tensors and calls, no model.

A call inside of a model is seen by standing in its place for a while: a module's ``forward``, or a method, of this one
object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from muomni_cli.contract.tracing import Step
from muomni_cli.core.errors import MuomniError
from muomni_cli.trace.log import Log


class Recorder(Log):
    """A log of steps on a device.

    Args:
        device: waited for before the clock is read.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @contextmanager
    def watching(self, module: nn.Module, steps: Sequence[Step]) -> Iterator[None]:
        """Record these calls inside of ``module`` whenever they happen.

        Raises:
            MuomniError: a step names what is not there.
        """
        places = [_place(module, step) for step in steps]
        try:
            for step, (owner, name) in zip(steps, places, strict=True):
                setattr(owner, name, self._standing_in(step, getattr(owner, name)))
            yield
        finally:
            for owner, name in places:
                owner.__dict__.pop(name, None)

    def _standing_in(self, step: Step, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            return self.measure(step, call, *args, **kwargs)

        return recorded


def _place(module: nn.Module, step: Step) -> tuple[nn.Module, str]:
    """The object and its method that a step is."""
    owner: Any = module
    try:
        *path, last = step.at.split(".")
        for name in path:
            owner = getattr(owner, name)
        found = getattr(owner, last)
    except AttributeError:
        found = None
    if isinstance(found, nn.Module):
        return found, "forward"
    if not isinstance(owner, nn.Module) or not callable(found):
        raise MuomniError(
            f"{type(module).__name__} has no submodule or method {step.at!r}, which its steps name",
            "the plugin that declares them must be mended",
        )
    return owner, last


def steps_of(module: nn.Module) -> list[Step]:
    """What to watch in a part that declares no steps: its top-level submodules, and the elements of its lists."""
    found = []
    for name, child in module.named_children():
        inner = child.named_children() if isinstance(child, nn.ModuleList | nn.ModuleDict) else [("", child)]
        found += [
            Step(at=f"{name}.{key}".rstrip("."), title=f"{name} {key}".strip(), what=type(one).__name__)
            for key, one in inner
        ]
    return found

"""The part under test: its declaration, its test config, and the module built from them. Imports torch lazily."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from muomni_cli.contract.checks import CheckSkipped
from muomni_cli.contract.declarations import Part, PartConfig, ThinkerPart
from muomni_cli.contract.speech import CodeShape, MelConfig
from muomni_cli.registry.loading import PluginInfo
from muomni_cli.registry.registry import resolve

if TYPE_CHECKING:
    from torch import nn

Made = TypeVar("Made")

VOCABULARY = 61
"""Vocabulary size of Thinkers under test."""

MEL = MelConfig(sample_rate=8000, n_fft=256, window=160, hop=40, n_mels=20)
"""For vocoders."""

CODES = CodeShape(codebooks=2, size=32, seconds=0.08)
"""For Talkers."""

VOICES = ("one", "two")
"""For Talkers."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "thinker": {"vocab_size": VOCABULARY},
    "vocoder": {"mel": MEL},
    "talker": {"codes": CODES, "voices": VOICES, "thinker_width": 0},
}
"""Arguments of ``build`` besides the config, by kind."""

SEED = 20
"""For all random numbers."""


class LoadedPart:
    """A :class:`muomni_cli.contract.checks.PartUnderTest`; its files are deleted on exit, or when it is
    garbage-collected.

    Args:
        part: the declaration.
        plugin: the plugin that declares it; None if only the declaration is known.
    """

    def __init__(self, part: Part, plugin: PluginInfo | None = None) -> None:
        self.part, self.plugin = part, plugin
        self._made: dict[str, Any] = {}
        self._forget: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        return self.once("lively", lambda: enliven(self.fresh()).eval().requires_grad_(False))

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

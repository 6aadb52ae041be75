"""Exported bundles: the runtime that opens a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from muomni_cli.contract.declarations import RuntimePart
from muomni_cli.contract.engine import Engine
from muomni_cli.registry.registry import get_registry, resolve


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """A bundle and the runtime that opens it."""

    root: Path
    runtime: RuntimePart

    def open(self, device: str = "auto", threads: int | None = None) -> Engine:
        """Read its manifest; parts are loaded when first used. RequestError if it is damaged or too new."""
        build = resolve(self.runtime.build, f"runtime {self.runtime.name}")
        opened: Engine = build(self.runtime.config(), self.root, device, threads)
        return opened


def bundle_at(root: Path) -> BundleFolder | None:
    """The bundle in ``root``; None if no installed runtime recognizes its marker file."""
    for offer in get_registry().all(RuntimePart.kind):
        assert isinstance(offer.part, RuntimePart), "all parts of that kind are"
        if (root / offer.part.marker).is_file():
            return BundleFolder(root, offer.part)
    return None

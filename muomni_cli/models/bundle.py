"""Models that run without PyTorch: who opens a folder, and what hears, answers and speaks of one. Knows declarations,
no runtime by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muomni_cli.contract.declarations import EncoderPart, PartConfig, RuntimePart
from muomni_cli.contract.models import Answers
from muomni_cli.contract.packed import Packed
from muomni_cli.core.errors import RequestError
from muomni_cli.data.shares import Sense, sense_of
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.folder import open_entry

if TYPE_CHECKING:
    pass


JOINT = {"encoder", "projector"}
"""Graphs of an encoder that only takes something in for the Thinker; any other belongs to what it learned by itself."""


@dataclass(frozen=True, slots=True)
class PackedFolder:
    """A folder and the runtime that opens it."""

    root: Path
    runtime: RuntimePart

    def open(self, device: str = "auto", threads: int | None = None) -> Packed:
        """Open its description; parts follow when they are used. RequestError if it is damaged or too new."""
        build = resolve(self.runtime.build, f"runtime {self.runtime.name}")
        opened: Packed = build(self.runtime.config(), self.root, device, threads)
        return opened


def packed_at(root: Path) -> PackedFolder | None:
    """``root``, if a runtime opens it."""
    for offer in get_registry().all(RuntimePart.kind):
        assert isinstance(offer.part, RuntimePart), "all parts of that kind are"
        if (root / offer.part.marker).is_file():
            return PackedFolder(root, offer.part)
    return None


def senses_of(packed: Packed) -> dict[str, Sense]:
    """What it takes besides text, in the order in which the tokens stand before it."""
    return {modality: sense_of(*open_entry(packed.parts[modality])) for modality in packed.senses}


def encoders_of(packed: Packed) -> Iterator[tuple[str, EncoderPart, PartConfig]]:
    """The name of each encoder that has what its own stage learned, its declaration and its config."""
    for name, entry in packed.parts.items():
        if entry["kind"] == EncoderPart.kind and entry["graphs"].keys() - JOINT:
            registered, config = open_entry(entry)
            assert isinstance(registered.part, EncoderPart), "of that kind"
            yield name, registered.part, config


def ear_of(packed: Packed) -> tuple[str, EncoderPart, PartConfig]:
    """The encoder that transcribes: its name, its declaration and its config. RequestError if there is none."""
    for name, part, config in encoders_of(packed):
        if part.transcribe and part.runs:
            return name, part, config
    raise RequestError(f"{packed.label} has no encoder that transcribes", "name another model with -m")


def answers_of(packed: Packed, modality: str) -> Answers:
    """Who answers questions about one modality by itself. RequestError if nobody does."""
    for name, part, _ in encoders_of(packed):
        if part.modality == modality and part.answer and part.runs:
            answers: Answers = packed.runner(name)
            return answers
    raise RequestError(
        f"{packed.label} has nothing that the stage {modality} learned", "train that stage, and export the run again"
    )

"""What of a run is exported: each trained part with the graphs that it declares. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from muomni_cli.api import Graph, Port, RequestError
from muomni_cli.registry import Registered, resolve
from muomni_cli.runs.folder import open_entry
from muomni_cli.runs.model import ModelFolder
from muomni_cli.runs.parts import omni_entries, open_part

SPEAKING = ("codec", "talker", "vocoder")


@dataclass(frozen=True, slots=True)
class Exported:
    """A part on its way into a bundle.

    Args:
        name: what the bundle calls it: its kind, or the modality of an encoder.
        entry: what ``model.json`` says of it.
        module: with its weights, on the CPU, in evaluation mode.
        graphs: what it declares; empty if it declares nothing.
    """

    name: str
    entry: Mapping[str, Any]
    module: nn.Module
    graphs: Sequence[Graph]


class Projecting(nn.Module):
    """(B,T,W) tokens of an encoder -> (B,T,D), as wide as the Thinker's embeddings."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, tokens: Any) -> tuple[Any]:
        """One tensor in, one out."""
        return (self.linear(tokens),)


def parts_of(found: ModelFolder) -> list[Exported]:
    """Everything that the model consists of, the Thinker first, then its encoders in their order."""
    opened = found.open("cpu")
    thinker: Any = opened.thinker
    if opened.omni is None:
        parts = [_exported("thinker", found.parts["thinker"], thinker)]
    else:
        entries = omni_entries(found.run)
        parts = [_exported("thinker", entries["thinker"], thinker)]
        for modality, encoder in opened.omni.encoders.items():
            projector: Any = opened.omni.projectors[modality]
            parts.append(_exported(modality, entries[modality], encoder, _projection(projector)))
    for stage in SPEAKING:
        if found.run.status(stage) != "missing":
            module, _ = open_part(found.run, stage, f"muomni train {stage} RECIPE")
            parts.append(_exported(stage, found.parts[stage], module.eval().requires_grad_(False)))
    return parts


def those_with_graphs(parts: Sequence[Exported], *, partial: bool) -> list[Exported]:
    """The parts that can be exported.

    Raises:
        RequestError: a part declares no graphs, and the rest alone was not asked for; or the Thinker is without.
    """
    without = [part for part in parts if not part.graphs]
    for part in without:
        name = f"{part.entry['kind']} {part.entry['use']} (plugin {part.entry['plugin']})"
        if not partial or part.name == "thinker":
            fix = "its plugin must declare graphs=" + ("" if part.name == "thinker" else "; --partial exports the rest")
            raise RequestError(f"{name} declares no graphs, so it cannot be exported", fix)
    return [part for part in parts if part.graphs]


def _exported(name: str, entry: Mapping[str, Any], module: Any, more: Sequence[Graph] = ()) -> Exported:
    registered, _ = open_entry(entry)
    declared = _declared(registered, module)
    return Exported(name, entry, module, [*declared, *more] if declared else [])


def _declared(registered: Registered, module: nn.Module) -> list[Graph]:
    reference = registered.part.graphs
    if reference is None:
        return []
    return list(resolve(reference, f"{registered.part.kind} {registered.part.name}")(module))


def _projection(linear: nn.Linear) -> list[Graph]:
    """What makes an encoder's tokens as wide as the Thinker's embeddings."""
    return [
        Graph(
            name="projector",
            module=Projecting(linear),
            inputs=[Port("tokens", ("batch", "tokens", linear.in_features))],
            outputs=["inputs_embeds"],
            cases={"traced": {"batch": 2, "tokens": 3}, "one token": {"batch": 1, "tokens": 1}},
        )
    ]

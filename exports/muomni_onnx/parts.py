"""Parts on their way into a bundle: each with its weights and the graphs that it declares. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from muomni_cli.api import EncoderPart, Graph, Part, Port, RequestError, Tokenizer
from muomni_cli.registry.registry import Registered, resolve
from muomni_cli.runs.folder import open_entry

THINKER = "thinker"


@dataclass(frozen=True, slots=True)
class Exported:
    """A part on its way into a bundle.

    Args:
        name: what the bundle calls it: its kind, or the modality of an encoder.
        entry: what ``model.json`` says of it.
        module: with its weights, on the CPU, in evaluation mode.
        graphs: what it declares; empty if it declares nothing.
        weights: the checkpoints that they came from; none for fresh ones.
    """

    name: str
    entry: Mapping[str, Any]
    module: nn.Module
    graphs: Sequence[Graph]
    weights: tuple[Path, ...] = ()

    @property
    def label(self) -> str:
        """What to call it in an error."""
        return f"{self.entry['kind']} {self.entry['use']} (plugin {self.entry['plugin']})"


@dataclass(frozen=True, slots=True)
class Model:
    """All that becomes one bundle.

    Args:
        name: what to call it.
        parts: the Thinker first, then its encoders in their order.
        chat: how it answers unless asked otherwise.
        tokenizer: with what ``model.json`` says of it; None for a model that knows no text.
        provenance: where it came from.
    """

    name: str
    parts: Sequence[Exported]
    chat: Mapping[str, Any]
    tokenizer: tuple[Tokenizer, Mapping[str, Any]] | None
    provenance: Mapping[str, Any]

    def part(self, name: str) -> Exported | None:
        """The part of that name, if it has it."""
        return next((part for part in self.parts if part.name == name), None)


class Projecting(nn.Module):
    """(B,T,W) tokens of an encoder -> (B,T,D), as wide as the Thinker's embeddings."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, tokens: Any) -> tuple[Any]:
        """One tensor in, one out."""
        return (self.linear(tokens),)


def those_with_graphs(parts: Sequence[Exported], *, partial: bool) -> list[Exported]:
    """The parts that can be exported.

    Raises:
        RequestError: a part declares no graphs, and the rest alone was not asked for; or the Thinker is without.
    """
    for part in parts:
        if not part.graphs and (not partial or part.name == THINKER):
            fix = "its plugin must declare graphs=" + ("" if part.name == THINKER else "; --partial exports the rest")
            raise RequestError(f"{part.label} declares no graphs, so it cannot be exported", fix)
    kept = [part for part in parts if part.graphs]
    if not kept:
        raise RequestError("there is nothing to export", "name a run that has trained a part that declares graphs")
    return kept


def exported(name: str, entry: Mapping[str, Any], module: Any, *weights: Path, more: Sequence[Graph] = ()) -> Exported:
    """A part with the graphs that it declares, and ``more`` beside them."""
    registered, _ = open_entry(entry)
    ready = module.eval().requires_grad_(False)
    graphs = _called(registered.part, registered.part.graphs, ready)
    return Exported(name, entry, ready, [*graphs, *more] if graphs else [], weights)


def head_of(registered: Registered, lesson: nn.Module) -> list[Graph]:
    """The graphs of what an encoder's own stage learned on top of it; none if it declares none.

    Args:
        registered: the encoder's declaration.
        lesson: what its ``answer`` or ``transcribe`` built, with its weights.
    """
    part = registered.part
    assert isinstance(part, EncoderPart), "only encoders have a head of their own"
    return _called(part, part.head_graphs, lesson.eval().requires_grad_(False))


def lesson_of(registered: Registered, config: Any, learned: Mapping[str, Any] | None) -> Any:
    """The encoder as ``encoder`` with the head that its own stage trains, with fresh weights; None where it declares
    no graphs of it, or where it is not known what it would have learned.

    Args:
        registered: the encoder's declaration.
        config: of the encoder.
        learned: what its stage learned besides weights; None if it has not been trained.
    """
    part, name = registered.part, f"encoder {registered.part.name}"
    if not isinstance(part, EncoderPart) or part.head_graphs is None:
        return None
    if part.answer is not None and learned is not None:
        return resolve(part.answer, name)(config, learned)
    return resolve(part.transcribe, name)(config) if part.transcribe is not None else None


def projection(linear: nn.Linear) -> list[Graph]:
    """What makes an encoder's tokens as wide as the Thinker's embeddings."""
    return [
        Graph(
            name="projector",
            module=Projecting(linear),
            inputs=[Port("tokens", ("batch", "tokens", linear.in_features))],
            outputs=["inputs_embeds"],
            cases={
                "traced": {"batch": 2, "tokens": 3},
                "one token": {"batch": 1, "tokens": 1},
                "many": {"batch": 3, "tokens": 64},
            },
        )
    ]


def _called(part: Part, reference: str | None, module: nn.Module) -> list[Graph]:
    return list(resolve(reference, f"{part.kind} {part.name}")(module)) if reference is not None else []

"""The protocol of a trained model that runs without PyTorch: what a runtime opens and commands use.

Shapes use the letters B batch, T tokens, D width of the Thinker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from muomni_cli.contract.backend import Backend
    from muomni_cli.contract.models import Tokenizer


@dataclass(frozen=True, slots=True)
class GraphCall:
    """One run of a graph.

    Args:
        part: of the model.
        graph: of the part.
        inputs, outputs: what went in and what came out, by name.
        seconds: how long it took.
    """

    part: str
    graph: str
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    seconds: float


class Packed(Protocol):
    """A model as ``RuntimePart.build`` opened it. Each part is opened when it is first asked for, and only then."""

    @property
    def label(self) -> str:
        """What to call it: the folder, and what runs it where."""
        ...

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """What there is: ``thinker``, ``codec``, ``talker``, ``vocoder``, and each encoder by its modality. Each says
        kind, use, plugin, config and what else its ``build`` takes, as ``model.json`` of a run does; ``graphs`` are
        those that it has, by name."""
        ...

    @property
    def senses(self) -> list[str]:
        """Modalities that the Thinker takes, in the order in which their tokens stand before the text."""
        ...

    @property
    def chat(self) -> Mapping[str, Any]:
        """How it answers unless asked otherwise: the recipe's table ``[chat]``."""
        ...

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where it comes from, as far as that is known. ``data``: list of the recipe -> its sources, each with ``use``,
        ``task`` and ``licence``."""
        ...

    def verify(self) -> int:
        """Compare every file with its digest; how many there are. RequestError for one that is missing, changed or
        more."""
        ...

    def tokenizer(self) -> Tokenizer:
        """The Thinker's. RequestError if there is none."""
        ...

    def backend(self, *, keep: bool = False, hidden: bool = False) -> Backend[Any]:
        """What the generation loop runs on.

        Args:
            keep: remember the rows after a request, so that a prompt that begins alike runs only what is new.
            hidden: keep the Thinker's states as well.

        Raises:
            RequestError: there is no Thinker.
        """
        ...

    def score(self, ids: NDArray[Any]) -> NDArray[Any]:
        """(T,) ids, no more than the context holds -> (T,V) float32 logits of what follows each.

        Raises:
            RequestError: there is no Thinker.
        """
        ...

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[Any]:
        """One input, as ``EncoderPart.read`` gives it -> (T,D) float32 tokens as wide as the Thinker's embeddings."""
        ...

    def watched(self, tell: Callable[[GraphCall], None]) -> AbstractContextManager[None]:
        """Inside of it ``tell`` is told of every graph that is run, once it has been."""
        ...

    def runner(self, part: str) -> Any:
        """What the part's ``runs`` gives for its graphs; the same object each time.

        Raises:
            RequestError: there is no such part, or it does not say who runs it.
        """
        ...

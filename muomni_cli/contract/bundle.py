"""The graphs that a part declares for export.

``Part.graphs`` names ``graphs(module) -> Sequence[Graph]``, called with the trained part on the CPU in evaluation mode.
The exporter traces each :class:`Graph`, checks it against PyTorch and writes it. Shapes: B batch, T tokens, D width of
the Thinker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from muomni_cli.contract.declarations import PartConfig
from muomni_cli.contract.models import Tokenizer

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor, nn

# A loaded graph: inputs by name -> outputs by name.
GraphFn = Callable[[Mapping[str, "NDArray[Any]"]], Mapping[str, "NDArray[Any]"]]


class RowsGraph(Protocol):
    """A graph with a growing key/value cache that serves rows of any lengths in one call, each with its own cache."""

    def begin(self) -> Any:
        """The empty cache of a new row; it is free again once nothing refers to it."""

    def __call__(self, rows: Sequence[Any], feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Append one place to each of B ``rows``. Inputs (B,1,...) by name, without the cache -> outputs (B,1,...). Not
        for rows of which another call is running."""


@runtime_checkable
class RowsGraphFn(Protocol):
    """A :data:`GraphFn` that may have such a form."""

    def __call__(self, feeds: Mapping[str, NDArray[Any]], /) -> Mapping[str, NDArray[Any]]: ...

    def rows(self) -> RowsGraph | None:
        """None if the bundle has none, or this runtime or device does not run it."""


class BindableGraphFn(Protocol):
    """A :data:`GraphFn` that may be bound to arrays, for a graph that is called often with little to compute."""

    def __call__(self, feeds: Mapping[str, NDArray[Any]], /) -> Mapping[str, NDArray[Any]]: ...

    def bind(self, arrays: Mapping[str, NDArray[Any]]) -> Callable[[], None] | None:
        """A call that reads the inputs among the contiguous ``arrays`` anew each time and writes the outputs, in the
        types of the graph. For one thread at a time. None if this device or precision does not allow it."""


# (random generator, shape) -> random values of that shape, in the dtype that the graph takes.
InputSampler = Callable[["Generator", tuple[int, ...]], "NDArray[Any]"]


def _normal(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return random.standard_normal(shape, dtype="float32")


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One input of a graph."""

    name: str  # name in the graph
    # the size of each axis, or its name if it is dynamic; axes of the same name have the same size
    axes: tuple[int | str, ...]
    sampler: InputSampler = _normal  # random values for the parity check
    # whether a call may leave it out, which is 0 everywhere; it must broadcast from size 1
    optional: bool = False

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Shape for these ``sizes`` of the named axes."""
        return tuple(axis if isinstance(axis, int) else sizes[axis] for axis in self.axes)

    normal = staticmethod(_normal)  # standard normal float32 values, the default ``sampler``

    @staticmethod
    def below(limit: int, dtype: str = "int64") -> InputSampler:
        """A ``sampler`` of integers from 0 to ``limit`` - 1."""

        def draw(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
            return random.integers(0, limit, shape, dtype=dtype)

        return draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One graph of a part: flat tensors in, flat tensors out. State (a KV cache, the state of a stream) is passed in
    and out.

    Names depend on the kind of part, so that a runtime can use the graph:

    - thinker, ``embed``: ``input_ids`` (B,T) int64 -> ``inputs_embeds`` (B,T,D)
    - thinker, ``thinker``: ``inputs_embeds`` and states -> ``logits`` (B,T,V), ``hidden`` (B,T,D) and states. A KV
      cache is named ``past_key_values.N.key`` and ``.value`` (B,H,S,Dh) for each layer N -> ``present.N.key`` ...; its
      axis S, along which it grows and can be truncated, is named ``past``. With an optional input ``padding`` (B,)
      int64, how many of the S places of each row are empty, from the first on, rows of different lengths share a call.
      Any other state, such as that of a recurrence, has another name (``past_states.N.state`` ->
      ``present_states.N.state``) and a fixed size; rows of different lengths then share a call, too. The axes of rows
      and new tokens are named ``batch`` and ``time``; a state without ``batch`` belongs to a single row.
    - encoder, ``encoder``: ``inputs`` (B, ...), as ``EncoderPart.read`` returns them -> ``tokens`` (B,T,W)
    """

    name: str  # lower case letters, digits, ``-`` and ``_``; unique within the part
    # Its ``forward`` takes ``inputs`` by position and returns a tuple of the ``outputs``. No value-dependent Python.
    module: nn.Module
    inputs: Sequence[GraphInput]  # in the order of ``forward``
    outputs: Sequence[str]  # their names, in order
    # Name -> sizes of the named axes to check with. The graph is traced with the first (use sizes of at least 2, all
    # different); the others are edge cases, such as one token with no past.
    cases: Mapping[str, Mapping[str, int]]
    # Input -> output that becomes this input in the next call. Zeros in the first call.
    states: Mapping[str, str] = field(default_factory=dict)
    # Sizes of the named axes in the first call of a run. Axes that occur only in states then follow the outputs.
    initial_sizes: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0  # consecutive calls that the parity check makes, passing states on; needs ``states``
    # The original computation, if ``module`` is a variant written for tracing; outputs are checked against it.
    reference: Callable[..., Sequence[Tensor]] | None = None
    # Largest absolute difference of an output from the reference. For a state, relative to its typical size if that is
    # above 1, since a state may be a sum over the whole input.
    tolerance: float = 1e-4
    # Outputs excluded from the parity check because they are numerically ambiguous (e.g. phases near silence). If they
    # are states, every one of the ``calls`` starts from PyTorch's values, and the part's output for a whole input is
    # not compared either.
    unchecked: frozenset[str] = frozenset()
    # Largest fraction of an integer output that may differ, where rounding decides which of two codes is nearer.
    max_mismatch_fraction: float = 0.0

    def sample_inputs(self, sizes: Mapping[str, int], random: Generator) -> list[NDArray[Any]]:
        """Random inputs for these ``sizes`` of the named axes, in order."""
        return [graph_input.sampler(random, graph_input.shape(sizes)) for graph_input in self.inputs]


@dataclass(frozen=True, slots=True)
class TextModel:
    """A trained Thinker with its tokenizer, for :class:`~muomni_cli.contract.declarations.ExporterPart`.

    Args:
        name: of the model.
        thinker: the module, on the CPU in evaluation mode; see :class:`muomni_cli.contract.models.Thinker`.
        config: its settings.
        entry: its entry in ``model.json``.
        tokenizer: see :class:`muomni_cli.contract.models.Tokenizer`.
        chat: the model's chat settings.
        weights: the checkpoint of the Thinker's stage.
    """

    name: str
    thinker: Any
    config: PartConfig
    entry: Mapping[str, Any]
    tokenizer: Tokenizer
    chat: Mapping[str, Any]
    weights: Path | None = None


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export in another format, and how far it was from PyTorch when it was read back."""

    name: str
    precision: str
    error: float
    allowed: float
    says: str  # one line for the user

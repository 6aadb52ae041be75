"""Parts without PyTorch: the graphs that a part declares for export, and the protocol of an exported model that a
runtime opens.

A part's ``graphs="package.module:attr"`` names ``graphs(module) -> Sequence[Graph]``, called with the trained part on
the CPU in evaluation mode. The exporter traces, checks and writes what :class:`Graph` describes.

Shapes: B batch, T tokens, D width of the Thinker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor, nn

GraphFn = Callable[[Mapping[str, "NDArray[Any]"]], Mapping[str, "NDArray[Any]"]]
"""A graph that was opened: inputs by name to outputs by name."""

InputSampler = Callable[["Generator", tuple[int, ...]], "NDArray[Any]"]
"""Makes random values of a shape, of the dtype that the graph takes."""


def _normal(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return random.standard_normal(shape, dtype="float32")


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One input of a graph.

    Args:
        name: what it is called in the graph.
        axes: of each axis its size, or the name of what sets it: axes of one name have one size.
        sampler: random values for the parity check.
    """

    name: str
    axes: tuple[int | str, ...]
    sampler: InputSampler = _normal

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape where the named axes have these ``sizes``."""
        return tuple(axis if isinstance(axis, int) else sizes[axis] for axis in self.axes)

    @staticmethod
    def normal(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        """float32 around 0, of deviation 1: what ``sampler`` is by default."""
        return _normal(random, shape)

    @staticmethod
    def below(limit: int, dtype: str = "int64") -> InputSampler:
        """A ``sampler`` of whole numbers from 0 to ``limit`` - 1."""

        def draw(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
            return random.integers(0, limit, shape, dtype=dtype)

        return draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One graph of a part: flat tensors in, flat tensors out. What it must remember from one call to the next is among
    them: a cache of keys and values that grows, or the state of a stream.

    The names are those of the part's kind, so that a runtime finds its way:

    - thinker, ``embed``: ``input_ids`` (B,T) int64 -> ``inputs_embeds`` (B,T,D)
    - thinker, ``thinker``: ``inputs_embeds`` and states -> ``logits`` (B,T,V), ``hidden`` (B,T,D) and states. A cache
      is called ``past_key_values.N.key`` and ``.value`` (B,H,S,Dh) for each layer N -> ``present.N.key`` ...; its axis
      S, along which it grows, is named ``past``, and what stands there can be cut off again. Anything else that is
      remembered, such as the state of a recurrence, has any other name (``past_states.N.state`` ->
      ``present_states.N.state``) and no such axis: it has one size, and rows that have read unequally much share a
      call. The axes of rows and new tokens are named ``batch`` and ``time``; a state without ``batch`` is one row's.
    - encoder, ``encoder``: ``inputs`` (B, ...), what ``EncoderPart.read`` gives -> ``tokens`` (B,T,W)

    Args:
        name: lower case letters, digits, ``-`` and ``_``; unique within the part.
        module: its ``forward`` takes one tensor for each of ``inputs``, by position, and gives a tuple of one for each
            of ``outputs``. No Python that depends on values.
        inputs: in the order of ``forward``.
        outputs: their names, in order.
        cases: sizes of the named axes to check with, by what to call the case: first what the graph is traced with
            (2 or more everywhere, and no two alike by chance), then the edges, such as one token with no past.
        states: input -> output that is this input at the next call. At the first call such an input is zeros.
        initial_sizes: sizes of the named axes at the first call of a run; axes of states only are set by what came out.
        calls: how many calls in a row the parity check makes, each with the states of the one before; needs ``states``.
        reference: the same by the model's own way, where ``module`` is another one made for tracing; what comes out
            is checked against it.
        tolerance: largest absolute difference of any output from the reference; of a state, in units of its usual size
            where that is above 1, since a state may sum up all that was read.
        unchecked: outputs that need not agree, since rounding decides between several that are equally good, such as
            phases of what is nearly silent. As they are states, each of the ``calls`` begins with those of PyTorch,
            and what the part makes of a whole input is not compared number by number.
        max_mismatch_fraction: largest share of an output's whole numbers that may be others, where rounding decides
            which of two codes is nearer.
    """

    name: str
    module: nn.Module
    inputs: Sequence[GraphInput]
    outputs: Sequence[str]
    cases: Mapping[str, Mapping[str, int]]
    states: Mapping[str, str] = field(default_factory=dict)
    initial_sizes: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    reference: Callable[..., Sequence[Tensor]] | None = None
    tolerance: float = 1e-4
    unchecked: frozenset[str] = frozenset()
    max_mismatch_fraction: float = 0.0

    def sample_inputs(self, sizes: Mapping[str, int], random: Generator) -> list[NDArray[Any]]:
        """Random inputs with axes of these ``sizes``, in order."""
        return [graph_input.sampler(random, graph_input.shape(sizes)) for graph_input in self.inputs]

"""Protocols of text models: tokenizers, Thinkers, encoders, the backend that the generation loop runs them through,
and the peers that they are measured against.

Shapes: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

PADDED_ROW = -1
"""In place of a token: this row is finished and takes nothing."""

CheckState = TypeVar("CheckState")


class Tokenizer(Protocol):
    """Text to ids and back. Torch-free."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def specials(self) -> Mapping[str, int]:
        """Ids of ``pad`` (0), ``bos`` (1), ``eos`` (2), ``system``, ``user`` and ``assistant``."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of ``text`` without special tokens. Text that spells a special token is encoded as plain text."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """``[encode(t) for t in texts]``, in parallel where the tokenizer can."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``; special tokens give nothing, bytes that are not UTF-8 give U+FFFD."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one token stands for; empty for special tokens."""
        ...

    def save(self, folder: Path) -> None:
        """Write what ``build`` needs to open this tokenizer again."""
        ...


class Cache(Protocol):
    """What a Thinker remembers of the tokens it has seen: keys and values, a state of one size, or anything else. One
    object a batch, created by :meth:`Thinker.new_cache`."""

    @property
    def lengths(self) -> list[int]:
        """Tokens held for each row of the batch."""
        ...

    @property
    def capacity(self) -> int:
        """Most tokens a row can hold; what has one size says what it was made for."""
        ...

    def truncate(self, lengths: Sequence[int]) -> None:
        """Forget all but the first ``lengths[b]`` tokens of row b. Only with :attr:`Capability.TRUNCATE`."""
        ...


@dataclass(slots=True)
class ThinkerOutput:
    """``logits`` (B,T,V), or (B,1,V) of each row's last real token with ``last_only``; ``hidden`` (B,T,D) after the
    final norm."""

    logits: Tensor
    hidden: Tensor


class Thinker(Protocol):
    """A causal model over tokens. Also an ``nn.Module``."""

    config: Any
    vocab_size: int
    blocks: Iterable[nn.Module]
    """The repeated layers, for activation checkpointing and compilation; may be empty."""

    @property
    def embedding_params(self) -> frozenset[str]:
        """Names of the parameters that are embedding tables or output heads; see :attr:`Objective.adamw_params`."""
        ...

    @property
    def head_weight(self) -> Tensor:
        """(V,D): logits are ``hidden @ head_weight.T``. Losses make them chunk by chunk."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """(B,T) ids -> (B,T,D) embeddings."""
        ...

    def __call__(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: Cache | None = None,
        lengths: Sequence[int] | None = None,
        last_only: bool = False,
    ) -> ThinkerOutput:
        """Run over (B,T) ``ids`` or (B,T,D) ``embeds`` (one of the two).

        Args:
            cache: continue after what it holds, and add the T new tokens to it.
            lengths: how many of the T tokens are real in each row (padding is on the right); all of them by default.
            last_only: compute logits for each row's last real token only.
        """
        ...

    def hidden(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: Cache | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """(B,T,D) states after the final norm; arguments as for a call, and no logits."""
        ...

    def new_cache(self, batch: int, capacity: int) -> Cache:
        """An empty cache on the module's device and in its dtype."""
        ...


@dataclass(slots=True)
class EncoderOutput:
    """``tokens`` (B,T,W): T tokens of the encoder's own width W; ``lengths[b]`` of them are real (padding is on the
    right)."""

    tokens: Tensor
    lengths: list[int]


class Encoder(Protocol):
    """Turns one modality into tokens. Also an ``nn.Module``. A linear projector of the host's makes them as wide as the
    Thinker's embeddings."""

    config: Any

    @property
    def width(self) -> int:
        """W, the width of its tokens."""
        ...

    def __call__(self, inputs: Tensor, lengths: Sequence[int] | None = None) -> EncoderOutput:
        """Encode a batch of what ``EncoderPart.read`` gives, padded on the right to (B, ...).

        Args:
            inputs: for pictures (B,3,S,S), for sound (B,N).
            lengths: real size of each row along its first axis of unequal size; all of it by default. Padding changes
                nothing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Word:
    """One word that was heard, and when: seconds from the beginning."""

    text: str
    start: float
    end: float


class Transcriber(Protocol):
    """An encoder with the head that reads its tokens as words. Of ``EncoderPart.transcribe`` it is an ``nn.Module`` as
    well, with its ``encoder``; of ``EncoderPart.runner`` it needs no PyTorch."""

    def words(self, inputs: NDArray[Any], *, beam: int = 0) -> Iterator[Word]:
        """The words of one input, as ``EncoderPart.read`` gives it, in order and each as soon as it is sure.

        Args:
            inputs: of any length; long ones are heard in windows that overlap.
            beam: texts kept in prefix-beam search; 0 is greedy.
        """
        ...

    def stream(self, pieces: Iterable[NDArray[Any]], *, beam: int = 0) -> Iterator[Word]:
        """:meth:`words` of an input that comes in pieces (see ``EncoderPart.read_chunks``), in bounded memory."""
        ...


class Predictor(Protocol):
    """An encoder with the head that its own stage trains, asked about inputs, whatever runs it."""

    @property
    def answer_modes(self) -> Mapping[str, bool]:
        """What the share of right answers is called for each way to answer, and whether it is to choose from what a
        task's right answers are (else freely)."""
        ...

    @property
    def vocabulary(self) -> Sequence[str]:
        """All free answers there are; empty where they cannot be counted."""
        ...

    def expected(self, text: str, label: str | None) -> str:
        """The right answer to an example with this text and label, as :meth:`answers` would give it."""
        ...

    def answers(self, inputs: Sequence[NDArray[Any]], choices: Sequence[str] | None = None) -> list[str]:
        """An answer to each input, as ``EncoderPart.read`` gives it: the likeliest of ``choices``, or a free one."""
        ...


class PredictorModule(Predictor, Protocol):
    """:class:`Predictor` of PyTorch (``EncoderPart.predictor``). Also an ``nn.Module``, in evaluation mode."""

    encoder: Encoder


class Peer(Protocol):
    """Other people's implementation of a Thinker, to measure speed against. What ``Part.peers`` names, called with the
    part's config and the vocabulary size."""

    module: nn.Module

    def loss(self, tokens: Tensor) -> Tensor:
        """(B,T+1) tokens -> mean next-token loss, a scalar in nats."""
        ...

    def generate(self, ids: Tensor, count: int) -> Tensor:
        """Greedy continuation by the peer's own loop: (B,T) -> (B,T+count)."""
        ...


class Backend(Protocol[CheckState]):
    """Runs a Thinker one token at a time for a batch of B rows. ``CheckState`` is its own: what it remembers of the
    rows."""

    @property
    def context(self) -> int:
        """Most tokens a row can hold."""
        ...

    def add_embeddings(self, rows: NDArray[np.float32]) -> list[int]:
        """Take (T,D) embeddings of a picture or a sound; gives the negative ids that stand for them in prompts."""
        ...

    def begin(self, prompts: Sequence[Sequence[int]], capacity: int) -> tuple[CheckState, NDArray[np.float32]]:
        """Read the prompts, with room for ``capacity`` tokens a row.

        Returns:
            The state, and logits (B,V) for the first new token of each row.
        """
        ...

    def step(self, state: CheckState, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Add (B,) ``tokens`` to the rows and give logits (B,V) for the next; rows given :data:`PADDED_ROW` stay as
        they are and their logits mean nothing."""
        ...

    def hidden(self, state: CheckState) -> NDArray[np.float32]:
        """(B,D) states behind the logits that were given last: what the Thinker thought as it chose the next tokens.
        Those of rows that were :data:`PADDED_ROW` mean nothing. Only where the backend was told to keep them."""
        ...

"""Protocols of text models: tokenizers, Thinkers, encoders, the backend of the generation loop, and peers that are used
as speed references. Shapes: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

PADDED_ROW = -1  # in place of a token: the row is finished and gets no token
CheckState = TypeVar("CheckState")


class Tokenizer(Protocol):
    """Text to ids and back. Torch-free."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def specials(self) -> Mapping[str, int]:
        """Ids of ``pad``, ``bos``, ``eos``, ``system``, ``user`` and ``assistant``; 0 to 5 for tokenizers that are
        trained here. Those of others may lack ``bos`` and the roles, and their ``pad`` may be ``eos``."""

    def encode(self, text: str) -> list[int]:
        """Ids of ``text`` without special tokens. The spelling of a special token is encoded as plain text."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """``[encode(t) for t in texts]``, in parallel if possible."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``; special tokens are skipped, invalid UTF-8 becomes U+FFFD."""

    def token_bytes(self, token: int) -> bytes:
        """Bytes of one token; empty for special tokens. Answers with a form need exact bytes, and tokens for
        the single bytes of the form."""

    def save(self, folder: Path) -> None:
        """Write what ``build`` needs to open the tokenizer again."""


class ChatTokenizer(Tokenizer, Protocol):
    """A tokenizer that brings its own layout of conversations (``chat.template = "own"``).

    Any tokenizer may also have ``end_ids``: ids that end an answer besides ``eos``.
    """

    @property
    def special_texts(self) -> Sequence[str]: ...  # spellings of special tokens

    @property
    def chat_template(self) -> Callable[..., str] | None:
        """``chat_template(messages, reply=)``: messages with ``role`` and ``content`` -> the text of the conversation,
        with the opening of the assistant's turn if ``reply``. None without a template."""

    def encode_marked(self, text: str) -> list[tuple[int, int, int]]:
        """Ids with the first and last character of each; the spelling of a special token is that token."""


class Cache(Protocol):
    """A Thinker's state of a batch: keys and values, a recurrent state, or anything else. Created by
    :meth:`Thinker.new_cache`."""

    @property
    def lengths(self) -> list[int]: ...  # tokens held for each row

    @property
    def capacity(self) -> int:
        """Maximum tokens per row; a state of fixed size returns the capacity that it was created with."""

    def truncate(self, lengths: Sequence[int]) -> None:
        """Keep the first ``lengths[b]`` tokens of row b. Only with :attr:`Capability.TRUNCATE`."""

    def copy_rows(self, start: int, source: Any, rows: Sequence[int]) -> None:
        """Replace the rows from ``start`` on by ``rows`` of ``source``, a cache of the same Thinker. Only with
        :attr:`Capability.JOIN`."""


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
    blocks: Iterable[nn.Module]  # the repeated layers, for activation checkpointing and compilation; may be empty

    @property
    def embedding_params(self) -> frozenset[str]:
        """Names of parameters that are embedding tables or output heads; see :attr:`Objective.adamw_params`."""

    @property
    def head_weight(self) -> Tensor: ...  # (V,D): logits are ``hidden @ head_weight.T``. Losses compute them in chunks.

    def embed(self, ids: Tensor) -> Tensor:
        """(B,T) ids -> (B,T,D) embeddings."""

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
            cache: continue after its contents and append the T new tokens.
            lengths: real tokens in each row (padding is on the right); default all.
            last_only: compute logits only for each row's last real token.
        """

    def hidden(
        self,
        ids: Tensor | None = None,
        *,
        embeds: Tensor | None = None,
        cache: Cache | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """(B,T,D) states after the final norm, without logits; arguments as for a call."""

    def new_cache(self, batch: int, capacity: int) -> Cache:
        """An empty cache on the module's device and in its dtype."""


@dataclass(slots=True)
class EncoderOutput:
    """``tokens`` (B,T,W) of the encoder's own width W; ``lengths[b]`` of them are real (padding is on the right)."""

    tokens: Tensor
    lengths: list[int]


class Encoder(Protocol):
    """Turns one modality into tokens. Also an ``nn.Module``. The host projects them linearly to the width of the
    Thinker's embeddings."""

    config: Any

    @property
    def width(self) -> int: ...  # W, the width of its tokens

    def __call__(self, inputs: Tensor, lengths: Sequence[int] | None = None) -> EncoderOutput:
        """Encode a batch of what ``EncoderPart.read`` returns, padded on the right: images (B,3,S,S), audio (B,N) ...
        ``lengths``: real size of each row along its first padded axis; default all. Padding does not change the result.
        """


@dataclass(frozen=True, slots=True)
class Word:
    """One recognized word with its start and end in seconds."""

    text: str
    start: float
    end: float


class Transcriber(Protocol):
    """An encoder with a head that reads its tokens as words. From ``EncoderPart.transcribe`` it is also an
    ``nn.Module`` with the attribute ``encoder``; from ``EncoderPart.runner`` it needs no PyTorch."""

    def words(self, inputs: NDArray[Any], *, beam: int = 0) -> Iterator[Word]:
        """The words of one input, as ``EncoderPart.read`` returns it, each yielded as soon as it is final. It may be of
        any length: long inputs are processed in overlapping windows. ``beam``: hypotheses in prefix beam search; 0 is
        greedy."""

    def stream(self, pieces: Iterable[NDArray[Any]], *, beam: int = 0) -> Iterator[Word]:
        """:meth:`words` of an input in pieces (see ``EncoderPart.read_chunks``), in bounded memory."""


class Responder(Protocol):
    """A :class:`Transcriber` that answers an input by itself (``EncoderPart.respond``)."""

    def respond(self, inputs: NDArray[Any]) -> str:
        """The answer to one input, as ``EncoderPart.read`` returns it: one line."""

    def expected_response(self, text: str, label: str | None) -> str:
        """The right answer to an example with this text and label."""


class Predictor(Protocol):
    """Inference interface of an encoder with the head that its own stage trains."""

    @property
    def answer_modes(self) -> Mapping[str, bool]:
        """Metric name -> True if the answer is chosen from the task's label set (closed), False if it is open-ended."""

    @property
    def vocabulary(self) -> Sequence[str]: ...  # all open-ended answers; empty if there is no finite list

    def expected(self, text: str, label: str | None) -> str:
        """The right answer for an example with this text and label, in the form of :meth:`answers`."""

    def answers(self, inputs: Sequence[NDArray[Any]], choices: Sequence[str] | None = None) -> list[str]:
        """An answer to each input, as ``EncoderPart.read`` returns it: the likeliest of ``choices``, or open-ended."""


class PredictorModule(Predictor, Protocol):
    """:class:`Predictor` in PyTorch (``EncoderPart.predictor``). Also an ``nn.Module``, in evaluation mode."""

    encoder: Encoder


class Peer(Protocol):
    """Another implementation of a Thinker, used as a speed reference: ``Part.peers``, called with the part's config and
    the vocabulary size."""

    module: nn.Module

    def loss(self, tokens: Tensor) -> Tensor:
        """(B,T+1) tokens -> mean next-token loss, a scalar in nats."""

    def generate(self, ids: Tensor, count: int) -> Tensor:
        """Greedy continuation with the peer's own loop: (B,T) -> (B,T+count)."""


class Backend(Protocol[CheckState]):
    """Runs a Thinker token by token for a batch of B rows. ``CheckState`` is the backend's own type of batch state."""

    @property
    def context(self) -> int: ...  # maximum tokens per row

    def add_embeddings(self, rows: NDArray[np.float32]) -> list[int]:
        """Add (T,D) embeddings of an image or audio clip; returns the negative ids that stand for them in prompts."""

    def begin(self, prompts: Sequence[Sequence[int]], capacity: int) -> tuple[CheckState, NDArray[np.float32]]:
        """Read the prompts, with room for ``capacity`` tokens per row -> the state, and logits (B,V) for the first new
        token of each row."""

    def step(self, state: CheckState, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Append (B,) ``tokens`` to the rows and return logits (B,V) for the next. Rows with :data:`PADDED_ROW` do not
        change; their logits are undefined."""

    def select(self, state: CheckState, rows: Sequence[int]) -> CheckState:
        """The state of ``rows`` alone, in increasing order, after which ``state`` is not used any more. Rows that
        :meth:`begin` was given together may have to stay together."""

    def merge(self, states: Sequence[CheckState]) -> CheckState:
        """One state of the rows of all ``states``, one after the other, which are not used any more. They may come from
        another backend of the same model."""

    def hidden(self, state: CheckState) -> NDArray[np.float32]:
        """(B,D) hidden states that produced the last logits; undefined for :data:`PADDED_ROW` rows. Only if the backend
        was created with ``hidden``."""

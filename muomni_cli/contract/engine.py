"""The inference protocol of a trained model. PyTorch implements it, and so does every runtime that opens bundles.

Shapes use the letters B batch, T tokens, D width of the Thinker, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from muomni_cli.contract.codecs import WaveCodecRunner
    from muomni_cli.contract.models import Backend, Predictor, Tokenizer, Transcriber
    from muomni_cli.contract.speech import CodecRunner, SpeechGenerator, VocoderRunner


@dataclass(frozen=True, slots=True)
class GraphCall:
    """One run of the graph ``graph`` of the part ``part``, with tensors by name and its duration in ``seconds``."""

    part: str
    graph: str
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    seconds: float


class Engine(Protocol):
    """A trained model opened for inference, in numpy arrays. Each part is loaded when it is first used."""

    @property
    def label(self) -> str: ...  # name for messages: the folder, and the execution provider once one is chosen

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """Trained parts: ``thinker``, ``codec``, ``talker``, ``vocoder``, and each encoder by its modality. The values
        are entries of ``model.json``: kind, use, plugin, config and the other arguments of ``build``. Those of bundles
        also have ``graphs``."""

    @property
    def modalities(self) -> Sequence[str]:
        """Modalities fused with the Thinker, in the order in which their tokens precede the text."""

    @property
    def thinker_stages(self) -> Sequence[str]:
        """Stages whose Thinker :meth:`at` opens. A run may have both ``thinker`` and ``omni``, a bundle has one."""

    def at(self, stage: str) -> Engine:
        """This model with the Thinker that one of :attr:`thinker_stages` trained. RequestError if there is none."""

    @property
    def alignment(self) -> int | None:
        """Rows that are decoded together give the tokens that each gives alone if their numbers of tokens are equal
        modulo this. None if they may not: sums depend on the other rows in their last bit, which quantization of the
        activations magnifies. RequestError if there is no Thinker."""

    @property
    def heads(self) -> Mapping[str, Mapping[str, Any]]:
        """Modality -> entry of the encoder with the head that its own stage trained."""

    @property
    def chat(self) -> Mapping[str, Any]: ...  # default chat settings: the recipe's table ``[chat]``

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the model comes from, as far as known. ``data``: data table -> its sources, each with ``use``, ``task``
        and ``license``."""

    def source(self, part: str) -> str:
        """Name for messages of the weights of one part: a checkpoint, or the bundle."""

    def verify(self) -> int:
        """Check every file against its digest and return the number of files. RequestError for a missing, changed or
        extra file."""

    def tokenizer(self) -> Tokenizer:
        """The Thinker's tokenizer. RequestError if there is none."""

    @property
    def batches(self) -> int:
        """How many batches of rows, each in a thread of its own, decode the most tokens a second."""

    def backend(self, *, prefix_cache: bool = False, hidden: bool = False, share: int = 1) -> Backend[Any]:
        """A new backend for the generation loop. ``prefix_cache``: reuse the cache of the previous request for a prompt
        that begins alike. ``hidden``: also return hidden states. ``share``: how many such backends run at the same
        time, each on its share of the cores. RequestError if there is no Thinker."""

    def score(self, ids: NDArray[Any]) -> NDArray[Any]:
        """(T,) ids, at most the context -> (T,V) float32 next-token logits. RequestError if there is no Thinker."""

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[Any]:
        """One input, as ``EncoderPart.read`` returns it -> (T,D) float32 embeddings for the Thinker. RequestError if no
        encoder of that modality is fused with it."""

    def predictor(self, modality: str) -> Predictor:
        """The encoder with the head of its own stage. RequestError if that was not trained, or answers nothing."""

    def transcriber(self) -> Transcriber:
        """The encoder that transcribes, with its head; its modality is :func:`muomni_cli.models.engines.transcribing`.
        RequestError if there is none."""

    def talker(self) -> SpeechGenerator:
        """The Talker. RequestError if there is none."""

    @property
    def voice_models(self) -> Mapping[str, Engine]:
        """Voices that were added to the model, each with a Talker, codec and vocoder of its own, by name."""

    def codec(self) -> CodecRunner | WaveCodecRunner:
        """The codec. RequestError if there is none."""

    @property
    def vocoders(self) -> Sequence[str]: ...  # names accepted by :meth:`vocoder`, the model's own first

    def vocoder_name(self, name: str | None = None) -> str:
        """The vocoder called ``name``, or the default one. RequestError if it cannot be used; lists the others."""

    def vocoder(self, name: str) -> VocoderRunner:
        """The vocoder of a :meth:`vocoder_name`."""

    @property
    def graph_seconds(self) -> float: ...  # that the runs of all graphs took so far; 0 where there are none

    def watched(self, notify: Callable[[GraphCall], None]) -> AbstractContextManager[None]:
        """Inside this context ``notify`` is called after every run of a graph. PyTorch runs none."""

    def close(self) -> None:
        """Release the memory of all parts."""

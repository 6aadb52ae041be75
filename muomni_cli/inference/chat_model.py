"""A model that answers: generation backend, tokenizer and encoders. Prompts in, pieces of text out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import Media, Message
from muomni_cli.contract.engine import Engine
from muomni_cli.contract.models import Tokenizer
from muomni_cli.contract.speech import TextChunk
from muomni_cli.core.errors import RequestError
from muomni_cli.data.media import Modality
from muomni_cli.data.prompt import chat_ids, one_shot_ids, require_room
from muomni_cli.generation import Backend, Finish, Request, generate
from muomni_cli.generation.batch import ContinuousBatch
from muomni_cli.inference.media_input import Encode, MediaEmbeddings, ModalityEncoders
from muomni_cli.inference.settings import GenerationSettings
from muomni_cli.models.engines import modalities_of


@dataclass(slots=True)
class Answer:
    """An answer so far. ``finish`` is None while it is being generated, or when it was interrupted."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    finish: Finish | None = None
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Tokens per second, prefill included."""
        return len(self.tokens) / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a conversation, which is generated while this is iterated: final pieces of text, with hidden states
    if they were requested. ``answer`` is updated before each piece; abandoning the iteration ends the generation.
    ``context``: most tokens of prompt and answer together."""

    prompt_tokens: int
    answer: Answer
    pieces: Iterator[TextChunk]
    context: int

    def __iter__(self) -> Iterator[TextChunk]:
        return self.pieces


EncodedTurn: TypeAlias = tuple[Message, MediaEmbeddings]


def _no_encoders(modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
    raise AssertionError(f"no encoder for {modality} {inputs.shape}")


def _ignore(_: str) -> None:
    """Default for notices."""


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A model ready to answer.

    Args:
        backend: runs the Thinker.
        tokenizer: of the Thinker.
        label: name for messages.
        encode: one input of a modality -> (T,D) embeddings.
        modalities: encoders by modality, in the order in which their tokens precede the text.
        notice: called when an input is truncated.
        hidden: the backend returns hidden states.
        batch: decodes answers together with those of other chat models; None: alone.
    """

    backend: Backend[Any]
    tokenizer: Tokenizer
    label: str = ""
    encode: Encode = _no_encoders
    modalities: Mapping[str, Modality] = field(default_factory=dict)
    notice: Callable[[str], None] = _ignore
    hidden: bool = False
    batch: ContinuousBatch | None = None

    @property
    def context(self) -> int:
        """Context length in tokens."""
        return self.backend.context

    @property
    def encoders(self) -> ModalityEncoders:
        """Read and encode media."""
        return ModalityEncoders(self.encode, self.modalities, self.context, self.notice)

    def encode_media(self, media: Sequence[Media]) -> MediaEmbeddings:
        """Media of one message, each with its embeddings (T,D), in the order in which they precede the text.
        RequestError if one cannot be read, the model has no encoder for it, or they do not fit."""
        return self.encoders(media)

    def question(self, text: str, taken: MediaEmbeddings) -> tuple[Message, list[int]]:
        """A user message about encoded media, and the placeholder ids of their embeddings."""
        media_ids = [token for _, rows in taken for token in self.backend.add_embeddings(rows)]
        return Message("user", text, tuple(one for one, _ in taken)), media_ids

    def prompt(self, text: str, media: Sequence[Media], settings: GenerationSettings) -> list[int]:
        """Ids of a question about ``media``, ready for the answer. RequestError if it is empty or does not fit the
        context, or one of the media cannot be used."""
        message, media_ids = self.question(text, self.encode_media(media))
        whole = iter([media_ids])  # the media of a message come together
        return one_shot_ids(
            self.tokenizer, message, self.context, settings.template, settings.system, lambda _: next(whole, ())
        )

    def conversation(self, messages: Sequence[Message], settings: GenerationSettings) -> list[int]:
        """Ids of a whole conversation that ends with a user's message, ready for the answer. The system message of the
        settings comes first unless the conversation has its own. RequestError if the last message is empty, the
        conversation does not fit the context, or one of the media cannot be used."""
        return self.laid_out(self.encoded_turns(messages, settings), settings)

    def encoded_turns(self, messages: Sequence[Message], settings: GenerationSettings) -> list[EncodedTurn]:
        """The turns of :meth:`conversation`, each with its encoded media. RequestError as there."""
        last = messages[-1] if messages else None
        if last is None or last.role != "user" or not (last.text.strip() or last.media):
            raise RequestError("the conversation does not end with a question", "end it with a user's message")
        system = [Message("system", settings.system)] if settings.system and messages[0].role != "system" else []
        return [(message, self.encode_media(message.media)) for message in (*system, *messages)]

    def laid_out(self, turns: Sequence[EncodedTurn], settings: GenerationSettings) -> list[int]:
        """Ids of :meth:`encoded_turns`. RequestError if they do not fit the context."""
        media_ids = iter([self.backend.add_embeddings(rows) for _, taken in turns for _, rows in taken])
        shown = [Message(message.role, message.text, tuple(one for one, _ in taken)) for message, taken in turns]
        laid_out = chat_ids(self.tokenizer, shown, settings.template, reply=True, media_ids=lambda _: next(media_ids))
        require_room(laid_out.ids, self.context)
        return laid_out.ids

    def answer(self, ids: Sequence[int], settings: GenerationSettings, answer: Answer) -> Iterator[TextChunk]:
        """Generate after ``ids``: final pieces of text, with hidden states where the backend returns them. ``answer``
        is updated before each piece. RequestError at once if the prompt is empty or does not fit, or no answer of the
        form fits."""
        own = settings.sampling, settings.seed, settings.max_tokens, settings.stop, settings.loop_guard, settings.form
        begin = time.perf_counter()
        request = Request(ids, *own)
        if self.batch is None:
            events = generate(self.backend, self.tokenizer, [request], hidden=self.hidden)
        else:
            events = self.batch.generate(request, self.backend, hidden=self.hidden)

        def pieces() -> Iterator[TextChunk]:
            for event in events:
                answer.text += event.text
                answer.tokens.append(event.token)
                answer.finish = event.finish
                answer.seconds = time.perf_counter() - begin
                if event.text:
                    yield TextChunk(event.text, event.hidden)

        return pieces()


def chat_model(
    engine: Engine,
    notice: Callable[[str], None] = _ignore,
    *,
    prefix_cache: bool = False,
    hidden: bool = False,
    batch: ContinuousBatch | None = None,
) -> ChatModel:
    """The chat model of an engine.

    Args:
        engine: an open model.
        notice: called when an input is truncated.
        prefix_cache: for a conversation: reuse the cache between its turns.
        hidden: return the Thinker's hidden states, which a Talker can use.
        batch: of this engine, to decode the answers together with others.

    Raises:
        RequestError: the model has no Thinker or no tokenizer.
    """
    backend = engine.backend(prefix_cache=prefix_cache, hidden=hidden)
    return ChatModel(
        backend,
        engine.tokenizer(),
        engine.source("thinker"),
        engine.encode,
        modalities_of(engine),
        notice,
        hidden,
        batch,
    )

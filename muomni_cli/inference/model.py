"""A trained model as a Python object: chat, speech, transcription and embeddings, with or without PyTorch."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from muomni_cli.audio.dsp import resampled
from muomni_cli.contract.data import Media, Message
from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.engine import Engine
from muomni_cli.contract.models import Responder, Word
from muomni_cli.contract.speech import SpeechReport, TextChunk
from muomni_cli.core.errors import RequestError
from muomni_cli.data.media import Modality, modality_of
from muomni_cli.generation.batch import MOST_ROWS, ContinuousBatch, batch_for
from muomni_cli.inference.chat_model import Answer, Reply, chat_model
from muomni_cli.inference.history import LOG, ChatSession, attached
from muomni_cli.inference.media_input import MediaInput, MediaInputs, media_of
from muomni_cli.inference.occlusion import occlusion_map
from muomni_cli.inference.settings import ChatOptions, SpeechOptions, settings_of
from muomni_cli.models.engines import CAN_CHAT, open_found, responding, transcribing
from muomni_cli.models.locate import makes_samples, resolve_model
from muomni_cli.registry.entries import open_entry
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.voice.synthesis import Speech, SpeechChunk, SpeechSampling, SpeechStats, Voice, voice_of, with_words

Spoken = str | Iterable[str | TextChunk]
LONGEST = 4 * 3600.0  # default limit of the audio that is transcribed, in seconds


def load(spec: str | os.PathLike[str] | None = None, *, device: str = "auto", threads: int | None = None) -> Model:
    """Open a trained model::

        from muomni_cli import load

        with load("nano") as model:
            model.chat("What do you see?", image="x.png")        # "A big purple triangle ..."
            for piece in model.chat_stream("Tell me a story"):   # as it is generated
                print(piece, end="", flush=True)
            session = model.session(system="Be brief.")          # earlier turns are remembered
            session.ask("I am Ann.")
            samples, rate = model.speak("hello")                 # (N,) float32, 16000
            model.transcribe((samples, rate))                    # "hello"

    Args:
        spec: a run, checkpoint or bundle (its path, or its name under ``runs/``), or an installed model. None:
            ``$MUOMNI_MODEL``, else the newest run that can chat, else an installed model.
        device: ``auto`` (CUDA where it works, else the CPU), ``cpu``, ``cuda``, ``cuda:1``.
        threads: CPU threads of one call; None for all cores. With PyTorch it applies to the whole process.

    Raises:
        RequestError: there is no such model, or it is damaged. A missing device or a changed file may only be detected
            when a part is first used.
        MuomniError: it is a run, and PyTorch is not installed.
    """
    found = resolve_model(None if spec is None else os.fspath(spec), CAN_CHAT)
    return Model(open_found(found, device=device, threads=threads), found.name)


class Model:
    """An open model; made by :func:`load`. Also a context manager, which closes it.

    Parts are loaded lazily, once. All methods are thread-safe, and answers do not depend on other threads; a
    :class:`ChatSession` is for one thread at a time.

    Every method raises :class:`muomni_cli.RequestError` for an invalid request: ``what`` says what is wrong, ``fix``
    what to do, one line each.

    Args:
        engine: runs the parts.
        name: of the model: as installed, else of its folder.
    """

    def __init__(self, engine: Engine, name: str = "") -> None:
        self._engine: Engine | None = engine
        self.name = name
        self._reading = threading.RLock()  # reading an image silences Pillow's warnings in all threads
        self._opening = threading.RLock()
        self._voices: dict[str | None, Voice] = {}  # by vocoder
        self._batches: list[ContinuousBatch] = []  # of the replies that are decoded together

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the memory of all parts once running calls have ended. The model cannot be used afterwards."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None
        self._batches.clear()
        self._voices.clear()

    @property
    def engine(self) -> Engine:
        """The engine that runs the parts. RequestError if the model is closed."""
        if self._engine is None:
            raise RequestError("this model is closed", "open it again: load(...)")
        return self._engine

    @property
    def label(self) -> str:
        """Name for messages."""
        return self.engine.label

    @property
    def modalities(self) -> list[str]:
        """Modalities of questions besides text: ``image``, ``audio``, or the modality of a plugin."""
        return list(self.engine.modalities)

    @property
    def capabilities(self) -> frozenset[str]:
        """What the model can do, of ``chat``, ``speak`` and ``transcribe``, and its modalities."""
        engine = self.engine
        heads = [open_entry(entry)[0].part for entry in engine.heads.values()]
        answers = responding(engine)
        able = {
            "chat": "thinker" in engine.parts or answers is not None,
            "speak": {"talker", "codec"} <= engine.parts.keys()
            and (bool(engine.vocoders) or makes_samples(engine.parts["codec"])),
            "transcribe": any(isinstance(part, EncoderPart) and part.transcribe for part in heads),
        }
        taken = {*engine.modalities, *([] if answers is None else [answers[0].modality])}
        return frozenset(taken | {name for name, holds in able.items() if holds})

    @property
    def voices(self) -> list[str]:
        """Voice names; empty for a single unnamed voice. RequestError if the model does not speak."""
        return [name for name in self.voice().names if name]

    @property
    def sample_rate(self) -> int:
        """Sample rate of :meth:`speak` in Hz. RequestError if the model does not speak."""
        return self.voice().sample_rate

    def chat(
        self,
        text: str = "",
        *,
        image: MediaInputs = None,
        audio: MediaInputs = None,
        attach: Mapping[str, MediaInputs] | None = None,
        **options: Unpack[ChatOptions],
    ) -> str:
        """Answer one question without memory of earlier ones (for those, see :meth:`session`).

        Args:
            text: the question; may be empty with an image or audio.
            image: one or several images, see :data:`muomni_cli.inference.media_input.MediaInput`.
            audio: one or several audio inputs.
            attach: inputs of other modalities, by name.
            options: see :class:`muomni_cli.inference.settings.ChatOptions`.

        Raises:
            RequestError: the model has no Thinker; the question is empty or does not fit the context; a file cannot be
                read, or the model has no encoder for it; a setting is out of range.
        """
        return "".join(self.chat_stream(text, image=image, audio=audio, attach=attach, **options))

    def chat_stream(
        self,
        text: str = "",
        *,
        image: MediaInputs = None,
        audio: MediaInputs = None,
        attach: Mapping[str, MediaInputs] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Iterator[str]:
        """:meth:`chat` piece by piece, each as soon as it is final. Errors are raised at once, not with the first
        piece; the iteration may be abandoned."""
        media = attached(image, audio, attach)
        if responding(self.engine) is not None:
            return iter([self.respond(text, media)])
        settings, model = settings_of(self.engine, options), chat_model(self.engine, LOG.info)
        with self._reading:
            ids = model.prompt(text, media, settings)
        return (said.text for said in model.answer(ids, settings, Answer()))

    def respond(self, text: str, media: Sequence[Media]) -> str:
        """The answer of a model without a Thinker, whose encoder answers by itself, such as with the command in a
        recording.

        Raises:
            RequestError: the model has a Thinker, or no such encoder; ``text`` is not empty, or ``media`` are not one
                input of the encoder.
        """
        found = responding(self.engine)
        if found is None:
            raise RequestError(f"{self.label} has no encoder that answers by itself", "ask it with chat")
        part, config = found
        if text.strip():
            raise RequestError(f"{self.label} takes no text: it answers {part.modality} alone", "leave the text out")
        if [one.modality for one in media] != [part.modality]:
            raise RequestError(
                f"{self.label} answers one input of {part.modality} at a time", f"give one: --{part.modality} FILE"
            )
        with self._reading:
            inputs = Modality(part, config).read(media[0])
        answered: str = cast("Responder", self.engine.transcriber()).respond(inputs)
        return answered

    def reply(
        self,
        messages: Sequence[Message],
        *,
        hidden: bool = False,
        together: bool = False,
        notice: Callable[[str], None] = LOG.info,
        **options: Unpack[ChatOptions],
    ) -> Reply:
        """Answer a conversation that the caller keeps. All errors are raised at once.

        Args:
            messages: the turns in order, with their media; a system message may come first, a user's comes last.
            hidden: the pieces carry the Thinker's hidden states, which :meth:`speech` uses.
            together: decode it in one batch with the other such replies that are iterated at the same time, in other
                threads: several times the throughput. Its tokens do not depend on the others, and are those without
                ``together``, if ``engine.alignment`` is not None.
            notice: called with a line for each input that is truncated.
            options: see :class:`muomni_cli.inference.settings.ChatOptions`.

        Raises:
            RequestError: as :meth:`chat`; nothing of a conversation that does not fit the context is left out. A model
                without a Thinker answers one message.
        """
        if responding(self.engine) is not None:
            return self._responded(messages)
        batch = self._together() if together else None
        settings, model = settings_of(self.engine, options), chat_model(self.engine, notice, hidden=hidden, batch=batch)
        with self._reading:
            ids = model.conversation(messages, settings)
        answer = Answer()
        return Reply(len(ids), answer, model.answer(ids, settings, answer), model.context)

    def occlusion(
        self, messages: Sequence[Message], tokens: Sequence[int], *, cells: int = 6, **options: Unpack[ChatOptions]
    ) -> NDArray[np.float32] | None:
        """Which parts of the last image of a conversation an answer depends on: (cells, cells), in nats, how much less
        likely it gets when each part is covered; None without an image.

        Args:
            messages: as of :meth:`reply`.
            tokens: ``answer.tokens`` of its reply.
            cells: rows and columns into which the image is divided; each costs as much as reading the conversation.
            options: those of the reply.

        Raises:
            RequestError: as :meth:`reply`; the model has no Thinker.
        """
        settings, model = settings_of(self.engine, options), chat_model(self.engine, LOG.info)
        with self._reading:
            return occlusion_map(model, messages, tokens, settings, cells)

    def _responded(self, messages: Sequence[Message]) -> Reply:
        if len(messages) != 1:
            raise RequestError(f"{self.label} remembers nothing: it answers one message", "send the last one alone")
        begin = time.perf_counter()
        text = self.respond(messages[0].text, messages[0].media)
        answer = Answer(text, finish="eos", seconds=time.perf_counter() - begin)
        return Reply(0, answer, iter([TextChunk(text)]), 0)

    def session(self, **options: Unpack[ChatOptions]) -> ChatSession:
        """A conversation that remembers its turns.

        Raises:
            RequestError: the model has no Thinker, or a setting is out of range.
        """
        settings = settings_of(self.engine, options)
        return ChatSession(chat_model(self.engine, LOG.info, prefix_cache=True), settings, self._reading)

    def speak(
        self, text: str | Iterable[str], *, report: SpeechReport | None = None, **options: Unpack[SpeechOptions]
    ) -> tuple[NDArray[np.float32], int]:
        """Speak a text: samples (N,), full scale 1, and their rate in Hz. What is left out of the text is logged as a
        warning.

        Args:
            text: one string, or pieces of text.
            report: receives what is left out (``skipped`` and ``cut``) and the ``words`` that are spoken, as they are
                written in the text, with start and end in seconds.
            options: ``voice`` (one of :attr:`voices`), ``speed``, ``seed``, ``temperature`` and ``max_seconds``, see
                :class:`muomni_cli.inference.settings.SpeechOptions`.

        Raises:
            RequestError: the model does not speak, or has no such voice; nothing of the text can be spoken; a setting
                is out of range.
        """
        speech = SpeechStats(self.sample_rate)
        speech.report = report or speech.report
        pieces = list(self._say(text, options, speech))
        speech.require()
        return np.concatenate(pieces), self.sample_rate

    def speak_stream(
        self, text: str | Iterable[str], *, report: SpeechReport | None = None, **options: Unpack[SpeechOptions]
    ) -> Iterator[NDArray[np.float32]]:
        """:meth:`speak` chunk by chunk (n,), each as soon as it can be computed.

        ``text`` is consumed lazily, so an answer can be spoken while it is generated:
        ``model.speak_stream(model.chat_stream("tell me a story"))``. The chunks together equal :meth:`speak` of the
        same text, however it is split. There are none if nothing can be spoken; other errors are raised at once.
        """
        speech = SpeechStats(self.sample_rate)
        speech.report = report or speech.report
        return self._say(text, options, speech)

    def speak_words(
        self, text: str | Iterable[str], *, report: SpeechReport | None = None, **options: Unpack[SpeechOptions]
    ) -> Iterator[SpeechChunk]:
        """:meth:`speak_stream` with times: each chunk has samples (n,), and the words of the text that are complete
        with it, as they are written, with start and end in seconds since the start of the speech. A number or an
        abbreviation is one word; what cannot be spoken is none. The words together are ``report.words`` of
        :meth:`speak`. A Talker of a plugin may not know its times; then there are none."""
        speech = SpeechStats(self.sample_rate)
        speech.report = report or speech.report
        return with_words(self._say(text, options, speech), speech)

    def speech(self, text: Spoken, *, together: bool = False, **options: Unpack[SpeechOptions]) -> Speech:
        """:meth:`speak_stream` with its statistics; ``text`` may be the pieces of a :meth:`reply`. ``together``: decode
        its frames in one batch with those of the other such speeches that are iterated at the same time. It does not
        depend on them."""
        stats = SpeechStats(self.sample_rate)
        return Speech(stats, self._say(text, options, stats, together=together))

    def words(self, audio: MediaInput, *, beam: int = 0, max_seconds: float = LONGEST) -> Iterator[Word]:
        """Transcribe audio of any length: words with their times in seconds, each as soon as it is final.

        Args:
            audio: a path, the bytes of a file, or (samples, rate).
            beam: beam size; 0 is greedy decoding.
            max_seconds: maximum length of the audio.

        Raises:
            RequestError: the model does not transcribe; while iterating: the audio cannot be read, or is too long.
        """
        part, _ = transcribing(self.engine)
        return self.words_of(*media_of(part.modality, [audio]), beam=beam, max_seconds=max_seconds)

    def words_of(self, media: Media, *, beam: int = 0, max_seconds: float = LONGEST) -> Iterator[Word]:
        """:meth:`words` of a media file."""
        if not isinstance(beam, int | np.integer) or beam < 0:
            raise RequestError(f"beam is {beam!r}", "beam must be 0 (greedy) or more")
        if not isinstance(max_seconds, int | float | np.number) or not max_seconds > 0:
            raise RequestError(f"max_seconds is {max_seconds!r}", "give a number of seconds above 0")
        part, config = transcribing(self.engine)
        transcriber = self.engine.transcriber()

        def stream() -> Iterator[Word]:
            assert part.read_chunks is not None, "a part that transcribes reads in chunks"
            with media.open() as file:
                pieces = resolve(part.read_chunks)(config, file, media.name, max_seconds)
                yield from transcriber.stream(pieces, beam=beam)

        return stream()

    def words_of_pieces(self, pieces: Iterable[NDArray[np.float32]], rate: int, *, beam: int = 0) -> Iterator[Word]:
        """:meth:`words` of a sound that is still being recorded: the same words as of the whole sound. ``pieces`` is
        consumed lazily, in the thread that iterates.

        Args:
            pieces: samples (n,) each, full scale 1, cut anywhere.
            rate: their sample rate in Hz.
            beam: beam size; 0 is greedy decoding.

        Raises:
            RequestError: the model does not transcribe, or transcribes something else than audio.
        """
        _, config = transcribing(self.engine)
        target = getattr(config, "sample_rate", None)
        if not isinstance(target, int):
            raise RequestError(f"{self.label} does not transcribe audio", "use a model with an encoder of audio")
        return self.engine.transcriber().stream(resampled(pieces, rate, target), beam=beam)

    @staticmethod
    def turn_ended(samples: NDArray[np.float32], rate: int) -> bool | None:
        """Whether a speaker who pauses has ended the turn of samples (N,): what the first plugin says whose hook
        ``end_of_turn`` knows; None if none does."""
        for plugin in get_registry().plugins:
            if (said := plugin.end_of_turn(samples, rate)) is not None:
                return said
        return None

    def transcribe(self, audio: MediaInput, *, beam: int = 0, max_seconds: float = LONGEST) -> str:
        """:meth:`words` as text."""
        return " ".join(word.text for word in self.words(audio, beam=beam, max_seconds=max_seconds))

    def encode(self, modality: str, media: MediaInput) -> NDArray[np.float32]:
        """Embeddings (T,D) of one input, as the Thinker receives them.

        Raises:
            RequestError: the model has no encoder of that modality, or the input cannot be read.
        """
        if modality not in self.engine.modalities:
            known = " and ".join(self.engine.modalities) or "text alone"
            raise RequestError(f"{self.label} has no encoder for {modality}", f"it takes {known}")
        (one,) = media_of(modality, [media])
        with self._reading:
            inputs = modality_of(*open_entry(self.engine.parts[modality])).read(one)
        made: NDArray[np.float32] = self.engine.encode(modality, inputs)
        return made

    def voice(self, vocoder: str | None = None) -> Voice:
        """Talker, codec and vocoder; the model's own vocoder if ``vocoder`` is None.

        Raises:
            RequestError: the model does not speak, or has no such vocoder.
        """
        engine = self.engine
        with self._opening:
            if vocoder not in self._voices:
                self._voices[vocoder] = voice_of(engine, vocoder)
            return self._voices[vocoder]

    def _together(self) -> ContinuousBatch:
        engine = self.engine
        with self._opening:
            count = engine.batches
            rows, alignment = max(1, MOST_ROWS // count), engine.alignment or 1
            while len(self._batches) < count:
                backend = engine.backend(hidden=True, share=count)
                self._batches.append(ContinuousBatch(backend, engine.tokenizer(), rows, alignment))
            return batch_for(self._batches)

    def _say(
        self, text: Spoken, options: SpeechOptions, stats: SpeechStats, *, together: bool = False
    ) -> Iterator[NDArray[np.float32]]:
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        voice = self.voice()
        settings = voice.voice_settings(given.pop("voice", None), given.pop("speed", 1.0), together=together)
        pieces: Iterable[str | TextChunk] = [text] if isinstance(text, str) else text
        chunks = (TextChunk(piece) if isinstance(piece, str) else piece for piece in pieces)
        made = voice.say(chunks, settings, SpeechSampling(**given), stats)

        def told() -> Iterator[NDArray[np.float32]]:
            yield from made
            for loss in stats.losses:
                LOG.warning("%s", loss)

        return told()

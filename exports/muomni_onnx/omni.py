"""An exported model as a library: ask it, let it speak, let it listen. Silent: nothing is printed, mistakes are raised.

Knows no torch and no terminal; the answers, samples and words are those that ``muomni chat``, ``tts`` and ``listen``
give for the same folder, text and seed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import Media, RequestError, Said, Word
from muomni_cli.chat.once import question_ids
from muomni_cli.chat.open import settings_of, speaker_of
from muomni_cli.chat.settings import Changes
from muomni_cli.chat.speaker import Answer
from muomni_cli.listening.model import OpenEar
from muomni_cli.models.bundle import ear_of
from muomni_cli.models.find import of_package
from muomni_cli.speaking.bundle import voice_of
from muomni_cli.speaking.speech import Drawing, Speech
from muomni_cli.speaking.voice import Voice
from muomni_onnx.bundle import open_bundle
from muomni_onnx.given import Given, Many, media_of
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.talk import LOG, Talk, shown

LONGEST = 4 * 3600.0
"""Seconds of the longest sound that is listened to, unless asked otherwise."""


class Omni:
    """A folder that ``muomni export --onnx`` wrote, or that an installed package brings, open.

    ::

        from muomni_onnx import Omni

        omni = Omni("my-bundle")
        omni.chat("what is this?", image="x.png")          # "a cat"
        for piece in omni.stream("tell me a story"):       # as it is thought
            print(piece, end="", flush=True)
        talk = omni.talk(system="be brief")                # a conversation
        talk.ask("I am Ann")
        talk.ask("who am I?")
        samples, rate = omni.speak("hello", voice="slt")   # (N,) float32, 16000
        omni.transcribe("y.wav")                           # "hello"
        omni.listen("y.wav")                               # [Word("hello", 0.12, 0.56)]
        omni.close()                                       # or: with Omni("my-bundle") as omni

    Each part is opened when it is first needed, once. All methods may be called by several threads at the same time;
    what they give does not depend on what other threads ask. A :class:`Talk` is for one thread at a time.

    Every method raises :class:`muomni_onnx.RequestError` where what is asked for cannot be: its ``what`` says what is
    wrong, its ``fix`` what to do about it, one line each.

    Args:
        folder: the bundle, or the name of an installed model that has one: ``Omni("nano")``.
        device: ``auto`` (CUDA where it works, else the CPU), ``cpu``, ``cuda``, ``cuda:1``.
        threads: CPU threads of one call; as many as there are cores if None.

    Raises:
        RequestError: there is no bundle, it is damaged, or of a newer format. That a device is not there, or a graph
            was changed, is found when a part is opened.
    """

    def __init__(self, folder: str | os.PathLike[str], *, device: str = "auto", threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise RequestError(f"threads is {threads}", "threads must be 1 or more")
        self._model: OnnxModel | None = OnnxModel(open_bundle(_bundle(folder)), device, threads)
        self._reading = threading.RLock()  # Pillow's warnings are silenced for all threads while a picture is read
        self._opening = threading.Lock()
        self._voice: Voice | None = None
        self._ear: OpenEar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory of all parts back, as soon as what is still being made is done. Nothing can be asked then."""
        self._model = self._voice = self._ear = None

    @property
    def label(self) -> str:
        """The folder and, once a part is open, the provider that runs it."""
        return self._open.label

    @property
    def senses(self) -> list[str]:
        """What questions can be about besides text: ``image``, ``audio``, or a plugin's own modality."""
        return self._open.senses

    @property
    def voices(self) -> list[str]:
        """Names of the voices; empty for one voice without a name. RequestError if it does not speak."""
        return [name for name in self._speaking().talker.voices if name]

    @property
    def sample_rate(self) -> int:
        """Samples a second of :meth:`speak`. RequestError if it does not speak."""
        return self._speaking().sample_rate

    def chat(
        self,
        text: str,
        *,
        image: Many = None,
        audio: Many = None,
        attach: Mapping[str, Many] | None = None,
        system: str | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
        loop_guard: bool | None = None,
    ) -> str:
        """Answer one question; earlier ones are not known (see :meth:`talk`).

        What is None is as the model's recipe says; see :class:`muomni_cli.generation.sampling.Sampling`.

        Args:
            text: the question; may be empty if something is shown or played.
            image: a picture to show, or several: see :data:`muomni_onnx.given.Given`.
            audio: a sound to play, or several.
            attach: inputs of other modalities, by name.
            system: the system message.
            temperature: 0 takes the most likely token.
            top_k: draw from the k most likely tokens; 0 for all.
            top_p: draw from the fewest tokens that hold this probability.
            min_p: leave out tokens less likely than this share of the best.
            repetition_penalty: above 1 makes repeating less likely.
            max_tokens: longest answer.
            stop: end before one of these texts.
            seed: same seed, same answer; 0 if None.
            loop_guard: end an answer before it repeats 1 to 8 tokens for the second of four times in a row.

        Raises:
            RequestError: the model has no Thinker; the question is empty or does not fit the context; a file cannot be
                read, or the model has no encoder for it; a setting is out of range.
        """
        changes = Changes(
            system=system,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            max_tokens=max_tokens,
            stop=stop,
            seed=seed,
            loop_guard=loop_guard,
        )
        return "".join(self._answer(text, shown(image, audio, attach), changes))

    def stream(
        self,
        text: str,
        *,
        image: Many = None,
        audio: Many = None,
        attach: Mapping[str, Many] | None = None,
        system: str | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
        loop_guard: bool | None = None,
    ) -> Iterator[str]:
        """:meth:`chat` piece by piece, each as soon as it is sure; joined they are what :meth:`chat` gives. Mistakes
        are raised at once, not with the first piece. Leaving off early is fine."""
        changes = Changes(
            system=system,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            max_tokens=max_tokens,
            stop=stop,
            seed=seed,
            loop_guard=loop_guard,
        )
        return self._answer(text, shown(image, audio, attach), changes)

    def talk(
        self,
        *,
        system: str | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        max_tokens: int | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
        loop_guard: bool | None = None,
    ) -> Talk:
        """Begin a conversation, in which earlier turns are known; settings as of :meth:`chat`.

        Raises:
            RequestError: the model has no Thinker, or a setting is out of range.
        """
        changes = Changes(
            system=system,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
            max_tokens=max_tokens,
            stop=stop,
            seed=seed,
            loop_guard=loop_guard,
        )
        settings = settings_of(self._open, changes)
        return Talk(speaker_of(self._open, LOG.info, keep=True), settings, self._reading)

    def speak(
        self,
        text: str | Iterable[str],
        *,
        voice: str | None = None,
        speed: float = 1.0,
        seed: int = 0,
        temperature: float | None = None,
        max_seconds: float = float("inf"),
    ) -> tuple[NDArray[np.float32], int]:
        """Speak a text: its samples (N,), full scale 1, and their number a second.

        Args:
            text: what to speak, whole or in pieces.
            voice: a name of :attr:`voices`; the first if None.
            speed: from 0.5 to 2, relative to the voice's own.
            seed: same seed, same samples.
            temperature: 0 takes the most likely code; the model's own if None.
            max_seconds: the speech is cut there.

        Raises:
            RequestError: the model does not speak, or has no such voice; nothing of the text can be spoken; a setting
                is out of range.
        """
        speech = Speech(self.sample_rate)
        drawing = Drawing(seed, temperature, max_seconds)
        pieces = list(self._say(text, voice, speed, drawing, speech))
        speech.require()
        return np.concatenate(pieces), self.sample_rate

    def speak_chunks(
        self,
        text: str | Iterable[str],
        *,
        voice: str | None = None,
        speed: float = 1.0,
        seed: int = 0,
        temperature: float | None = None,
        max_seconds: float = float("inf"),
    ) -> Iterator[NDArray[np.float32]]:
        """:meth:`speak` chunk by chunk (n,), each as soon as it can be made; :attr:`sample_rate` samples a second.

        More of ``text`` is asked for only when more is needed, so that an answer is heard while it is thought:
        ``omni.speak_chunks(omni.stream("tell me a story"))``. Joined, the chunks are what :meth:`speak` gives of the
        same text, however that is cut. There are none where nothing can be spoken; other mistakes are raised at once.
        """
        return self._say(text, voice, speed, Drawing(seed, temperature, max_seconds), None)

    def listen(self, sound: Given, *, beam: int = 0, max_seconds: float = LONGEST) -> list[Word]:
        """What is said in a sound of any length: its words, with ``text``, and ``begin`` and ``end`` in seconds.

        Args:
            sound: a path, the bytes of a file, or (samples, rate): see :data:`muomni_onnx.given.Given`.
            beam: texts kept in the search; 0 is greedy.
            max_seconds: longest sound.

        Raises:
            RequestError: the model does not transcribe; the sound cannot be read, or is longer.
        """
        return list(self.words(sound, beam=beam, max_seconds=max_seconds))

    def words(self, sound: Given, *, beam: int = 0, max_seconds: float = LONGEST) -> Iterator[Word]:
        """:meth:`listen` word by word, each as soon as it is sure. What is wrong with the sound is found when it is
        read, which is while the words are asked for."""
        if beam < 0:
            raise RequestError(f"beam is {beam}", "beam must be 0 (greedy) or more")
        ear = self._hearing()
        (media,) = media_of(ear.part.modality, [sound])
        return ear.words(media, beam=beam, max_seconds=max_seconds)

    def transcribe(self, sound: Given, *, beam: int = 0, max_seconds: float = LONGEST) -> str:
        """:meth:`listen` as text, a space between two words."""
        return " ".join(word.text for word in self.words(sound, beam=beam, max_seconds=max_seconds))

    @property
    def _open(self) -> OnnxModel:
        model = self._model
        if model is None:
            raise RequestError("this model is closed", "open it again: Omni(folder)")
        return model

    def _answer(self, text: str, media: Sequence[Media], changes: Changes) -> Iterator[str]:
        settings, speaker = settings_of(self._open, changes), speaker_of(self._open, LOG.info)
        with self._reading:
            ids = question_ids(speaker, settings, text, media)
        return (said.text for said in speaker.answer(ids, settings, Answer()))

    def _say(
        self, text: str | Iterable[str], voice: str | None, speed: float, drawing: Drawing, speech: Speech | None
    ) -> Iterator[NDArray[np.float32]]:
        speaking = self._speaking()
        pieces = [text] if isinstance(text, str) else text
        return speaking.say(map(Said, pieces), speaking.manner(voice, speed), drawing, speech)

    def _speaking(self) -> Voice:
        model = self._open
        with self._opening:
            if self._voice is None:
                self._voice = voice_of(model)
            return self._voice

    def _hearing(self) -> OpenEar:
        model = self._open
        with self._opening:
            if self._ear is None:
                name, part, config = ear_of(model)
                self._ear = OpenEar(part, config, model.runner(name))
            return self._ear


def _bundle(folder: str | os.PathLike[str]) -> Path:
    """A folder that is there, or else that of the installed model of that name."""
    path = Path(folder).expanduser()
    found = None if path.exists() else of_package(str(folder))
    if found is None:
        return path
    if found.bundle is None:
        raise RequestError(f"the model {folder} comes without a bundle", f"make one: muomni export --onnx -m {folder}")
    return found.bundle.root

"""Cards of the stages that make speech, on held-out sounds: what is understood of them as they are, and after each
part. Knows no part by name, and no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError, Said
from muomni_cli.data.examples import open_examples
from muomni_cli.evaluation.card import Card, Shown, card_of
from muomni_cli.evaluation.exhibits import sound, worth_showing
from muomni_cli.evaluation.hearing import MUTE, Heard, Hearing, Wave, hearing
from muomni_cli.evaluation.lexicon import words_of
from muomni_cli.evaluation.model import any_vocoder, codec_format, decode, own_vocoder, synthesize
from muomni_cli.sound.log_mel import log_mel, whole_frames
from muomni_cli.speaking.bound import most_frames
from muomni_cli.speaking.speech import Drawing, Speech
from muomni_cli.speaking.voice import Voice, voice_of

if TYPE_CHECKING:
    from muomni_cli.data.examples import Examples
    from muomni_cli.evaluation.subject import Subject

PLAYED = 6
"""Sentences of a card that a person can hear."""

USUAL = 100
"""Sentences of each source that are heard, if no limit is set."""


def speech_cards(subject: Subject, stage: str) -> Iterator[Card]:
    """Cards of ``codec``, ``vocoder`` or ``talker``, source by source."""
    yield from _speech(subject).of(stage)


class Sentences:
    """Those of one source that are asked about.

    Args:
        task: name of the source.
        rows: of the examples, in order.
        others: texts that could have been said as well.
        rate: samples a second.
        progress: told what cannot be judged.
    """

    def __init__(
        self,
        task: str,
        examples: Examples,
        rows: Sequence[int],
        others: Sequence[str],
        rate: int,
        progress: Callable[[str], None],
    ) -> None:
        self.task, self.rate, self._others, self._progress = task, rate, others, progress
        self.texts = [examples.texts[row] for row in rows]
        self.waves: list[Wave] = [np.array(examples.inputs[row]) for row in rows]
        self.voices = [examples.voices[row] for row in rows]
        self.keys = [examples.keys[row] for row in rows]

    @cached_property
    def hearing(self) -> Hearing | None:
        """Who hears them, if anybody does."""
        return hearing(self.texts, self._others, self._progress)

    @cached_property
    def original(self) -> Heard | None:
        """What is understood of them as they are."""
        return self.heard(self.waves)

    def heard(self, waves: Sequence[Wave]) -> Heard | None:
        """What is understood of one sound for each of them."""
        if self.hearing is None:
            return None
        return self.hearing.of([waves[row] for row in self.hearing.rows], self.rate)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a voice said: samples, and code frames that it took."""

    wave: Wave
    frames: int


@dataclass(frozen=True, slots=True)
class Coded:
    """Sentences through the codec: (T,Q) codes, (M,F) log-mel and (N,) samples of each."""

    codes: list[NDArray[np.integer]]
    mels: list[NDArray[np.float32]]
    heard: Heard | None


class SpeechCards:
    """The speech of a model, and what is said of it.

    Raises:
        RequestError: the recipe has no codec, or its data are not there.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject, self._engine, self._recipe = subject, subject.model, subject.recipe
        data = open_examples(subject.recipe, "codec", subject.recipe.seed, subject.progress)
        examples, rest = (data.train, data.val) if subject.split == "train" else (data.val, data.train)
        self._format = codec_format(subject.model, subject.recipe)
        self._coded: dict[str, Coded] = {}
        self._sentences = [self._chosen(task, number, examples, rest) for number, task in enumerate(data.names)]

    def _chosen(self, task: str, number: int, examples: Examples, rest: Examples) -> Sentences:
        rows = _of_source(examples, number)
        chosen = self._subject.limited(rows, USUAL)
        kept = set(chosen)
        left = [examples.texts[row] for row in rows if row not in kept]
        learned = [rest.texts[row] for row in _of_source(rest, number)]
        rng = np.random.default_rng(0)
        others = [texts[place] for texts in (left, learned) for place in rng.permutation(len(texts)).tolist()]
        rate = self._format.mel.sample_rate
        return Sentences(task, examples, chosen, others, rate, self._subject.progress)

    def of(self, stage: str) -> Iterator[Card]:
        """Cards of ``codec``, ``vocoder`` or ``talker``, source by source."""
        make = {"codec": self._codec, "vocoder": self._vocoder, "talker": self._talker}[stage]
        for sentences in self._sentences:
            if sentences.texts:
                yield from make(sentences)

    def _codec(self, sentences: Sentences) -> Iterator[Card]:
        """Resynthesis: log-mel to codes and back, heard through a vocoder."""
        task, size = sentences.task, self._format.codebook_size
        coded = self._through_codes(sentences)
        apart = [
            float(np.abs(self._mel(wave) - mel).mean()) for wave, mel in zip(sentences.waves, coded.mels, strict=True)
        ]
        yield card_of("codec", task, "mel_l1", apart, sentences.keys)
        for number, used in enumerate(np.concatenate(coded.codes).T, start=1):
            yield Card("codec", task, f"use_{number}", len(np.unique(used)) / size)
        yield from _understood("codec", "wer_resynthesis", sentences, coded.heard)

    def _vocoder(self, sentences: Sentences) -> Iterator[Card]:
        """Copy synthesis: the true log-mel to samples."""
        mels = [self._mel(wave) for wave in sentences.waves]
        vocoder = own_vocoder(self._engine, self._recipe)
        if vocoder is None:
            raise RequestError(f"{self._engine.label} has no trained vocoder", "leave the vocoder out")
        made = self._synthesized(vocoder, mels, sentences.waves)
        apart = [float(np.abs(self._mel(wave) - mel).mean()) for wave, mel in zip(made, mels, strict=True)]
        yield card_of("vocoder", sentences.task, "mel_l1", apart, sentences.keys)
        yield from _understood("vocoder", "wer_copy", sentences, sentences.heard(made), made)

    def _talker(self, sentences: Sentences) -> Iterator[Card]:
        """The texts, spoken: understood or not, with their words in another order, and how long they are."""
        stage, task, said = "talker", sentences.task, self._spoken
        spoken = [said(text, name) for text, name in zip(sentences.texts, sentences.voices, strict=True)]
        heard = sentences.heard([one.wave for one in spoken])
        yield from _understood(stage, "wer_spoken", sentences, heard, [one.wave for one in spoken])
        between = self._through_codes(sentences).heard
        if between is not None:
            yield between.card(stage, task, "wer_resynthesis")
        if sentences.hearing is not None:
            rows = [row for row in sentences.hearing.rows if len(set(words_of(sentences.texts[row]))) > 1]
            turned = [said(shuffled(sentences.texts[row], row), sentences.voices[row]).wave for row in rows]
            if rows:
                yield sentences.hearing.of(turned, sentences.rate, rows).card(stage, task, "wer_shuffled")
        lengths = [one.wave.size / wave.size for one, wave in zip(spoken, sentences.waves, strict=True)]
        for name, number in (("median", np.median(lengths)), ("min", min(lengths)), ("max", max(lengths))):
            yield Card(stage, task, f"length_{name}", float(number))
        bounds = [most_frames(len(words_of(text))) for text in sentences.texts]
        hits = [float(one.frames >= bound) for one, bound in zip(spoken, bounds, strict=True)]
        yield card_of(stage, task, "at_bound", hits, sentences.keys)

    @cached_property
    def _voice(self) -> Voice:
        return voice_of(self._engine, any_vocoder(self._engine, self._recipe))

    def _spoken(self, text: str, name: str) -> Spoken:
        """The text in the voice called ``name``, or in the first where there is none."""
        voice = self._voice
        speech = Speech(voice.sample_rate)
        manner = voice.manner(name if name in voice.talker.voices else None)
        pieces = list(voice.say([Said(text)], manner, Drawing(seed=self._subject.recipe.seed), speech))
        return Spoken(np.concatenate(pieces) if pieces else np.zeros(0, np.float32), speech.frames)

    def _through_codes(self, sentences: Sentences) -> Coded:
        if sentences.task not in self._coded:
            codec = self._engine.codec()
            codes = [codec.encode(wave) for wave in sentences.waves]
            mels = [decode(codec, one) for one in codes]
            vocoder = any_vocoder(self._engine, self._recipe) if sentences.hearing else None
            if vocoder is None and sentences.hearing:
                self._subject.progress(MUTE)
            heard = sentences.heard(self._synthesized(vocoder, mels, sentences.waves)) if vocoder else None
            self._coded[sentences.task] = Coded(codes, mels, heard)
        return self._coded[sentences.task]

    def _synthesized(self, vocoder: str, mels: Sequence[NDArray[np.float32]], waves: Sequence[Wave]) -> list[Wave]:
        """(M,F) log-mel of each -> as many samples as the original has."""
        return [synthesize(self._engine, vocoder, mel)[: wave.size] for mel, wave in zip(mels, waves, strict=True)]

    def _mel(self, wave: Wave) -> NDArray[np.float32]:
        """(N,) samples -> (M,F) log-mel as the codec wants it, N filled up with silence to whole code frames."""
        mel = self._format.mel
        return log_mel(whole_frames(wave, self._format.frame * mel.hop), mel)


def _played(sentences: Sentences, heard: Heard, waves: Sequence[Wave]) -> list[Shown]:
    """What a judge heard of a few of them, with the sounds."""
    assert sentences.hearing is not None, "something was heard"
    rows = sentences.hearing.rows
    return [
        Shown(
            "",
            heard.said[place],
            heard.heard[place],
            heard.errors.edits[place] == 0,
            sound=sound(sentences.waves[rows[place]], sentences.rate),
            spoken=sound(waves[rows[place]], sentences.rate),
        )
        for place in worth_showing([edits == 0 for edits in heard.errors.edits])[:PLAYED]
    ]


def _of_source(examples: Examples, number: int) -> list[int]:
    """Rows of the examples of one source."""
    rows: list[int] = np.flatnonzero(np.asarray(examples.sources) == number).tolist()
    return rows


def shuffled(text: str, seed: int) -> str:
    """Its words in another order; there must be two that differ."""
    words = words_of(text)
    rng = np.random.default_rng(seed)
    while True:
        turned = [words[place] for place in rng.permutation(len(words)).tolist()]
        if turned != words:
            return " ".join(turned)


@lru_cache(maxsize=1)  # all stages of one subject go by the same sentences
def _speech(subject: Subject) -> SpeechCards:
    return SpeechCards(subject)


def _understood(
    stage: str, metric: str, sentences: Sentences, heard: Heard | None, waves: Sequence[Wave] = ()
) -> Iterator[Card]:
    """The word error rates of the originals, which are the ceiling, and of what was made of them, and how much higher
    the latter is."""
    if heard is None or sentences.original is None:
        return
    yield sentences.original.card(stage, sentences.task, "wer_original")
    card = replace(heard.card(stage, sentences.task, metric), ceiling=sentences.original.errors.rate)
    yield replace(card, samples=_played(sentences, heard, waves)) if waves else card
    yield heard.added(sentences.original, stage, sentences.task)

"""Metrics of codec, vocoder and Talker on held-out recordings: word error rates of the originals and after each part,
spectral distances and lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from muomni_cli.audio.dsp import log_mel, whole_frames
from muomni_cli.contract.codecs import is_waveform, sample_rate_of, samples_per_frame
from muomni_cli.contract.metrics import EvalSample, MetricResult
from muomni_cli.contract.speech import CodecRunner, MelConfig, TextChunk
from muomni_cli.core.errors import RequestError
from muomni_cli.core.html_page import wav
from muomni_cli.core.interval import bootstrap
from muomni_cli.data.examples import open_examples
from muomni_cli.eval.metrics import metric_result
from muomni_cli.eval.model import any_codec, any_vocoder, own_vocoder, streamed
from muomni_cli.eval.report import select_samples
from muomni_cli.speech.asr import words_of
from muomni_cli.speech.wer import NO_VOCODER_MESSAGE, Wave, WerEvaluator, WerResult, wer_evaluator
from muomni_cli.voice.synthesis import SpeechSampling, SpeechStats, Voice, voice_of

if TYPE_CHECKING:
    from muomni_cli.contract.data import Examples
    from muomni_cli.eval.model import EvalContext

MAX_SAMPLES = 6  # sentences of a metric that the report plays
DEFAULT_LIMIT = 100  # sentences per source


class Sentences:
    """Sentences of one source.

    Args:
        task: name of the source.
        examples: of the chosen side of the split.
        rows: indices of the examples, in order.
        others: further sentences for the language model of the recognizer.
        rate: sample rate in Hz.
        progress: receives a line about what cannot be recognized.
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
    def evaluator(self) -> WerEvaluator | None:
        """The recognizer of these sentences; None if it is not installed, or knows none of their words."""
        return wer_evaluator(self.texts, self._others, self._progress)

    @cached_property
    def original(self) -> WerResult | None:
        """Word errors of the original recordings."""
        return self.wer(self.waves)

    def wer(self, waves: Sequence[Wave]) -> WerResult | None:
        """Word errors of one recording of (N,) samples per sentence."""
        if self.evaluator is None:
            return None
        return self.evaluator.evaluate([waves[row] for row in self.evaluator.rows], self.rate)


@dataclass(frozen=True, slots=True)
class Resynthesized:
    """Sentences after the codec: (T,Q) codes and (M,F) log-mel of each, and word errors of the decoded speech."""

    codes: list[NDArray[np.integer]]
    mels: list[NDArray[np.float32]]
    wer: WerResult | None


class SpeechEvaluation:
    """A model and the recordings that its speech is compared with.

    Raises:
        RequestError: the recipe has no codec, or its data are not there.
    """

    def __init__(self, context: EvalContext) -> None:
        self._context, self._engine, self._recipe = context, context.model, context.recipe
        data = open_examples(context.recipe, "codec", context.recipe.seed, context.progress)
        examples, rest = (data.train, data.val) if context.split == "train" else (data.val, data.train)
        self._codec = any_codec(context.model, context.recipe)
        self._resynthesized: dict[str, Resynthesized] = {}
        self._sentences: list[Sentences] = []
        for number, task in enumerate(data.names):
            rows = _of_source(examples, number)
            chosen = context.limited(rows, DEFAULT_LIMIT)
            kept = set(chosen)
            left = [examples.texts[row] for row in rows if row not in kept]
            learned = [rest.texts[row] for row in _of_source(rest, number)]
            rng = np.random.default_rng(0)
            others = [texts[place] for texts in (left, learned) for place in rng.permutation(len(texts)).tolist()]
            rate = sample_rate_of(self._codec)
            self._sentences.append(Sentences(task, examples, chosen, others, rate, context.progress))

    def of(self, stage: str) -> Iterator[MetricResult]:
        """Metrics of ``codec``, ``vocoder`` or ``talker``, source by source."""
        make = {"codec": self._of_codec, "vocoder": self._of_vocoder, "talker": self._of_talker}[stage]
        for sentences in self._sentences:
            if sentences.texts:
                yield from make(sentences)

    def _of_codec(self, sentences: Sentences) -> Iterator[MetricResult]:
        """Resynthesis: log-mel to codes and back, then through a vocoder."""
        task, made = sentences.task, self._through_codes(sentences)
        yield metric_result("codec", task, "mel_l1", self._distances(sentences.waves, made.mels), sentences.keys)
        for number, used in enumerate(np.concatenate(made.codes).T, start=1):
            yield MetricResult("codec", task, f"use_{number}", len(np.unique(used)) / self._codec.codebook_size)
        yield from _word_errors("codec", "wer_resynthesis", sentences, made.wer)

    def _of_vocoder(self, sentences: Sentences) -> Iterator[MetricResult]:
        """Copy synthesis: the original log-mel to samples."""
        mels = [self._mel(wave) for wave in sentences.waves]
        vocoder = own_vocoder(self._engine, self._recipe)
        if vocoder is None:
            raise RequestError(f"{self._engine.label} has no trained vocoder", "leave the vocoder out")
        made = self._synthesized(vocoder, mels, sentences.waves)
        yield metric_result("vocoder", sentences.task, "mel_l1", self._distances(made, mels), sentences.keys)
        yield from _word_errors("vocoder", "wer_copy", sentences, sentences.wer(made), made)
        yield from self._hop_bend("vocoder", sentences, made)

    def _of_talker(self, sentences: Sentences) -> Iterator[MetricResult]:
        """Synthesis of the texts: word errors, also with shuffled words, and lengths."""
        stage, task, say = "talker", sentences.task, self._say
        spoken = [say(text, name) for text, name in zip(sentences.texts, sentences.voices, strict=True)]
        waves = [wave for wave, _ in spoken]
        yield from _word_errors(stage, "wer_spoken", sentences, sentences.wer(waves), waves)
        resynthesis = self._through_codes(sentences).wer
        if resynthesis is not None:
            yield resynthesis.card(stage, task, "wer_resynthesis")
        if sentences.evaluator is not None:
            rows = [row for row in sentences.evaluator.rows if len(set(words_of(sentences.texts[row]))) > 1]
            turned = [say(shuffled(sentences.texts[row], row), sentences.voices[row])[0] for row in rows]
            if rows:
                yield sentences.evaluator.evaluate(turned, sentences.rate, rows).card(stage, task, "wer_shuffled")
        lengths = [wave.size / original.size for wave, original in zip(waves, sentences.waves, strict=True)]
        for name, number in (("median", np.median(lengths)), ("min", min(lengths)), ("max", max(lengths))):
            yield MetricResult(stage, task, f"length_{name}", float(number))
        yield metric_result(stage, task, "at_bound", [float(cut) for _, cut in spoken], sentences.keys)
        yield from self._hop_bend(stage, sentences, waves)

    @cached_property
    def _voice(self) -> Voice:
        return voice_of(self._engine, any_vocoder(self._engine, self._recipe))

    def _hop_bend(self, stage: str, sentences: Sentences, waves: Sequence[Wave]) -> Iterator[MetricResult]:
        """See :func:`hop_bend`; the topline is that of the original recordings. The interval is that of the place which
        bends most."""
        hop = self._log_mel.hop
        profiles = [(hop_profile(wave, hop), key) for wave, key in zip(waves, sentences.keys, strict=True)]
        heard = [(profile, key) for profile, key in profiles if profile.any()]
        value = hop_bend([profile for profile, _ in heard])
        if value is None:
            return
        place = int(np.sum([profile for profile, _ in heard], axis=0).argmax())
        bends, sizes = [float(one[place]) for one, _ in heard], [float(one.mean()) for one, _ in heard]
        found = bootstrap(bends, [key for _, key in heard], sizes=sizes)
        yield MetricResult(
            stage,
            sentences.task,
            "hop_bend",
            value,
            found.low,
            found.high,
            len(heard),
            found.unit,
            found.keys,
            topline=hop_bend([hop_profile(wave, hop) for wave in sentences.waves]),
        )

    def _say(self, text: str, name: str) -> tuple[Wave, bool]:
        """Samples of the text, and whether it was cut short, in the voice called ``name`` or else the first."""
        voice = self._voice
        speech, sampling = SpeechStats(voice.sample_rate), SpeechSampling(seed=self._recipe.seed)
        settings = voice.voice_settings(name if name in voice.names else None)
        pieces = list(voice.say([TextChunk(text)], settings, sampling, speech))
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32), speech.cut

    def _through_codes(self, sentences: Sentences) -> Resynthesized:
        if sentences.task not in self._resynthesized:
            codec = self._engine.codec()
            codes = [codec.encode(wave) for wave in sentences.waves]
            made = [streamed(codec.stream(), one) for one in codes]
            if is_waveform(codec):
                waves = [one[: wave.size] for one, wave in zip(made, sentences.waves, strict=True)]
                mels = [self._mel(wave) for wave in waves]
                self._resynthesized[sentences.task] = Resynthesized(codes, mels, sentences.wer(waves))
                return self._resynthesized[sentences.task]
            mels = made
            vocoder = any_vocoder(self._engine, self._recipe) if sentences.evaluator else None
            if vocoder is None and sentences.evaluator:
                self._context.progress(NO_VOCODER_MESSAGE)
            wer = sentences.wer(self._synthesized(vocoder, mels, sentences.waves)) if vocoder else None
            self._resynthesized[sentences.task] = Resynthesized(codes, mels, wer)
        return self._resynthesized[sentences.task]

    def _synthesized(self, vocoder: str, mels: Sequence[NDArray[np.float32]], waves: Sequence[Wave]) -> list[Wave]:
        """(M,F) log-mel of each -> (N,) samples of each, as long as the originals."""
        runner = self._engine.vocoder(vocoder)
        return [streamed(runner.stream(), mel)[: wave.size] for mel, wave in zip(mels, waves, strict=True)]

    def _distances(self, waves: Sequence[Wave], mels: Sequence[NDArray[np.float32]]) -> list[float]:
        """The mean distance of the log-mel of each wave to one of ``mels``."""
        return [float(np.abs(self._mel(wave) - mel).mean()) for wave, mel in zip(waves, mels, strict=True)]

    def _mel(self, wave: Wave) -> NDArray[np.float32]:
        """(N,) samples -> (M,F) log-mel, padded with silence to whole code frames."""
        return log_mel(whole_frames(wave, samples_per_frame(self._codec)), self._log_mel)

    @cached_property
    def _log_mel(self) -> MelConfig:
        """The codec's, or the usual one at the rate of a codec of waveforms."""
        rate = sample_rate_of(self._codec)
        return MelConfig(sample_rate=rate) if is_waveform(self._codec) else cast("CodecRunner", self._codec).mel


def _of_source(examples: Examples, number: int) -> list[int]:
    rows: list[int] = np.flatnonzero(np.asarray(examples.sources) == number).tolist()
    return rows


LOUD = 1e-4  # mean square from which a hop counts as sound
_SMOOTH = 2.5  # hops over which it is taken


def hop_profile(wave: Wave, hop: int) -> NDArray[np.float64]:
    """(N,) samples -> (hop,) how much they bend at each place of a hop: the absolute second difference, summed over the
    hops with sound; zeros for silence."""
    bends = np.abs(np.diff(wave.astype(np.float64), 2))
    if bends.size < hop:
        return np.zeros(hop)
    width = max(1, round(_SMOOTH * hop))
    loud = np.convolve(wave.astype(np.float64) ** 2, np.full(width, 1 / width))[(width - 1) // 2 :] > LOUD
    count = bends.size // hop
    profile: NDArray[np.float64] = (
        bends[: count * hop].reshape(count, hop)[loud[: count * hop].reshape(count, hop).all(1)].sum(0)
    )
    return profile


def hop_bend(profiles: Sequence[NDArray[np.float64]]) -> float | None:
    """How much speech bends at one place of its hops: the greatest value of the sum of its :func:`hop_profile` relative
    to the mean. About 1 where nothing marks the frames, and a buzz far above; a few sentences scatter to 1.2 or 1.3.
    None for silence.

    The greatest, because a vocoder may bend anywhere in a hop: an all-pass filter only moves what is heard."""
    total = np.sum(profiles, axis=0) if len(profiles) else np.zeros(1)
    return float(total.max() / total.mean()) if total.any() else None


def shuffled(text: str, seed: int) -> str:
    """The words of a text in another order; at least two of them must differ."""
    words = words_of(text)
    rng = np.random.default_rng(seed)
    while True:
        turned = [words[place] for place in rng.permutation(len(words)).tolist()]
        if turned != words:
            return " ".join(turned)


_evaluation = lru_cache(maxsize=1)(SpeechEvaluation)  # the stages share the recordings and the recognizer


def speech_metrics(context: EvalContext, stage: str) -> Iterator[MetricResult]:
    """Metrics of ``codec``, ``vocoder`` or ``talker``, source by source."""
    yield from _evaluation(context).of(stage)


def _word_errors(
    stage: str, metric: str, sentences: Sentences, result: WerResult | None, waves: Sequence[Wave] = ()
) -> Iterator[MetricResult]:
    """Word error rates of the originals (the ceiling) and of the ``result``, and the difference. With the transcribed
    ``waves``, also samples for the report: originals, synthesized recordings, and what was recognized."""
    original = sentences.original
    if result is None or original is None:
        return
    yield original.card(stage, sentences.task, "wer_original")
    samples = []
    if waves:
        assert sentences.evaluator is not None, "it gave the result"
        rows = sentences.evaluator.rows
        right = [edits == 0 for edits in result.errors.edits]
        for place in select_samples(right)[:MAX_SAMPLES]:
            sound, spoken = (wav(those[rows[place]], sentences.rate) for those in (sentences.waves, waves))
            texts = result.texts[place], result.heard[place]
            samples.append(EvalSample("", *texts, right[place], sound=sound, spoken=spoken))
    made = result.card(stage, sentences.task, metric)
    yield replace(made, topline=original.errors.rate, samples=samples)
    yield result.increase(original, stage, sentences.task)

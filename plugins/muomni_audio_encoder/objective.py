"""How the audio encoder is trained on its own: CTC on characters, with augmented waveforms and log-mels.

Waveforms vary in speed, silence, loudness, noise and background voices; stripes of the log-mel are masked
(SpecAugment, arXiv:1904.08779). All random numbers come from the generator that is passed in, on the host, so the same
generator gives the same sound. Transcripts are scored by edit distance, in characters and in words.

Shapes: B batch, N samples, T frames or tokens, F mel bins, S stripes, L characters of all rows together.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muomni_audio_encoder import ctc
from muomni_audio_encoder.config import AudioAugmentConfig
from muomni_audio_encoder.model import AudioEncoder
from muomni_audio_encoder.recognizer import Recognizer, spelling_loss, summed_loss
from muomni_cli.api import Batch, Loss, Sample
from muomni_cli.audio.dsp import resample

if TYPE_CHECKING:
    from muomni_cli.api import StageContext

Wave = NDArray[np.float32]

SPEEDS = 100
"""Speeds are drawn in steps of one in so many, so that their filters are made once."""

TELEPHONE = 8000
"""Samples a second of telephones."""

NOISE_GRAIN = 512
"""Noise is drawn in multiples of so many samples: the Fourier transform of a prime number of them takes far longer."""

QUIETEST = 1e-4
"""Loudness (root mean square) that noise is measured against where a sound is quieter than this: silence gets some."""

SHOWN = 8
"""Transcripts in a sample."""


def vary(wave: Wave, other: Wave, config: AudioAugmentConfig, rate: int, rng: np.random.Generator) -> Wave:
    """(N,) samples at ``rate`` -> the same words said differently, as many samples as the new speed and silence take.

    Args:
        wave: what is said.
        other: another sound, which may be heard under it.
        config: how much of what.
        rate: samples a second.
        rng: where everything is drawn from.
    """
    wave = with_speed(wave, config.speed, rng)
    before, after = (int(rng.uniform(0, config.shift) * rate) for _ in range(2))
    wave = np.pad(wave, (before, after))
    loudness = max(_loudness(wave), QUIETEST)
    if rng.random() < config.babble:
        wave = wave + _at(fitted(other, wave.size, rng), loudness, config.babble_level, rng)
    if rng.random() < config.noise:
        wave = wave + _at(colored_noise(wave.size, rng), loudness, config.noise_level, rng)
    if config.narrow and rng.random() < config.narrow:
        wave = narrowed(wave, rate)
    return np.asarray(wave * 10 ** (rng.uniform(-config.gain, config.gain) / 20), np.float32)


def with_speed(wave: Wave, most: float, rng: np.random.Generator) -> Wave:
    """Played up to ``most`` faster or slower; its pitch moves along."""
    widest = int(most * SPEEDS)
    speed = SPEEDS + int(rng.integers(-widest, widest + 1))
    return resample(wave, speed, SPEEDS)


def narrowed(wave: Wave, rate: int) -> Wave:
    """(N,) samples at ``rate`` -> (N,) without what is above 4 kHz, as telephones and 8 kHz files have it."""
    if rate <= TELEPHONE:
        return wave
    return resample(resample(wave, rate, TELEPHONE), TELEPHONE, rate)[: wave.size]


def colored_noise(samples: int, rng: np.random.Generator) -> Wave:
    """(samples,) of noise whose power falls with frequency, by a power drawn from 0 (white) to 2 (brown)."""
    drawn = -(-samples // NOISE_GRAIN) * NOISE_GRAIN
    spectrum = np.fft.rfft(rng.standard_normal(drawn, np.float32))
    frequencies = np.maximum(np.arange(spectrum.size), 1 + drawn // 500)  # level below: no rumble that drowns all
    slope = np.asarray(frequencies ** (-rng.uniform(0, 2) / 2), np.float32)
    return np.asarray(np.fft.irfft(spectrum * slope, n=drawn)[:samples], np.float32)


def fitted(wave: Wave, samples: int, rng: np.random.Generator) -> Wave:
    """A part of ``wave`` of so many samples, or all of it somewhere in silence."""
    spare = samples - wave.size
    begin = int(rng.integers(0, abs(spare) + 1))
    return wave[begin : begin + samples] if spare < 0 else np.pad(wave, (begin, spare - begin))


def stripes(count: int, widest: float, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count,2): where each stripe begins and ends, ``end`` not included, up to ``widest`` of ``size`` places wide."""
    widths = (rng.random(count) * (int(widest) + 1)).astype(np.int64).clip(0, size)
    begins = (rng.random(count) * (size - widths + 1)).astype(np.int64)
    return np.stack([begins, begins + widths], axis=1)


def _loudness(wave: Wave) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


def _at(sound: Wave, loudness: float, level: tuple[float, float], rng: np.random.Generator) -> Wave:
    """``sound`` scaled to lie some dB, drawn from ``level``, below ``loudness``."""
    wanted = loudness * 10 ** (-rng.uniform(*level) / 20)
    return np.asarray(sound * (wanted / max(_loudness(sound), QUIETEST)), np.float32)


def edits(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and exchanges that make ``other`` of ``one`` (Levenshtein distance)."""
    row = list(range(len(other) + 1))
    for i, here in enumerate(one, start=1):
        corner, row[0] = row[0], i
        for j, there in enumerate(other, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (here != there))
    return row[-1]


class ErrorRates:
    """Counts over many transcripts."""

    def __init__(self) -> None:
        self._sounds = self._right = 0
        self._edits = {"character": 0, "word": 0}
        self._sizes = {"character": 0, "word": 0}

    def add(self, said: str, heard: str) -> None:
        """Count one transcript."""
        self._sounds += 1
        self._right += said == heard
        for unit, (true, found) in {"character": (said, heard), "word": (said.split(), heard.split())}.items():
            self._edits[unit] += edits(true, found)
            self._sizes[unit] += len(true)

    def rates(self) -> dict[str, float]:
        """``character_error_rate`` and ``word_error_rate``, edits over what was said, and ``exact``, the share of
        sounds without an error."""
        rates = {f"{unit}_error_rate": self._edits[unit] / max(self._sizes[unit], 1) for unit in self._edits}
        return {**rates, "exact": self._right / max(self._sounds, 1)}


class CtcObjective:
    """An :class:`muomni_cli.api.Objective`: the characters of every example's text."""

    unit = "seconds"
    adamw_params = frozenset({"head.weight"})

    def __init__(self, encoder: AudioEncoder, context: StageContext) -> None:
        self.module = Recognizer(encoder)
        self.blocks = list(encoder.blocks)
        self._config = encoder.config
        self._settings, self._seed = context.settings, context.seed
        data = context.examples()
        self._train, self._val = data.train, data.val
        self._texts = [self.module.alphabet.encode(text) for text in data.train.texts]
        self._warn(context)

    def batch(self, step: int, micro: int) -> Batch:
        """Share ``micro`` of the step's ``batch_size`` sounds, each varied as its row and the step have it: ``waves``
        (B,N), ``texts`` (L,), and the stripes to cut out, ``times`` (B,S,2) and ``bins`` (B,S,2)."""
        chosen = self._train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        rows = range(len(chosen) * micro // shares, len(chosen) * (micro + 1) // shares)
        made = [self._row(chosen[row], np.random.default_rng([self._seed, step, row])) for row in rows]
        waves, times, bins = zip(*made, strict=True)
        texts = [self._texts[chosen[row]] for row in rows]
        tensors = {
            "waves": padded(waves),
            "texts": flat(texts),
            "times": torch.from_numpy(np.stack(times)),
            "bins": torch.from_numpy(np.stack(bins)),
        }
        samples, sizes = [wave.size for wave in waves], [len(text) for text in texts]
        seconds = max(1, round(sum(samples) / self._config.sample_rate))
        return Batch(tensors, weight_of(sizes), seconds, {"samples": samples, "sizes": sizes})

    def loss(self, batch: Batch) -> Loss:
        """Nats, summed over the characters."""
        encoder, samples = self.module.encoder, batch.host["samples"]
        mel = encoder.mel(batch.tensors["waves"])
        hidden = striped(mel.shape[1], batch.tensors["times"])[:, :, None]
        hidden = hidden | striped(mel.shape[2], batch.tensors["bins"])[:, None]
        mel = mel.masked_fill(hidden, self._config.mel_mean)  # zero to the network
        frames = [n // self._config.hop for n in samples]
        real = None if min(frames) == max(frames) else torch.tensor(frames).to(mel.device, non_blocking=True)
        scores = self.module.score(encoder.hear(mel, real))
        lengths = [encoder.config.num_tokens(n) for n in samples]
        return Loss(summed_loss(scores, lengths, batch.tensors["texts"], batch.host["sizes"]))

    def validate(self) -> dict[str, float]:
        """``loss`` in nats a character, the error rates of greedy transcripts, and the share that is ``exact``."""
        nats, characters, errors = 0.0, 0.0, ErrorRates()
        batches = self._val.batches(self._settings.batch_size)
        for rows in itertools.islice(batches, self._settings.val_batches or None):
            scores, lengths = self._scores(rows)
            texts = [self.module.alphabet.encode(self._val.texts[row]) for row in rows]
            nats += spelling_loss(scores, lengths, texts).item()
            characters += weight_of([len(text) for text in texts])
            for said, heard in zip(texts, self._heard(scores, lengths), strict=True):
                errors.add(self.module.alphabet.decode(said), heard)
        return {"loss": nats / max(characters, 1.0), **errors.rates()}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """What a few held-out sounds say, and what was heard."""
        rows = np.linspace(0, len(self._val) - 1, min(SHOWN, len(self._val))).astype(int).tolist()
        heard = self._heard(*self._scores(rows))
        lines = (f"said:  {self._val.texts[row]}\nheard: {text}\n" for row, text in zip(rows, heard, strict=True))
        yield Sample("transcripts.txt", "\n".join(lines))

    def _row(self, index: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any]]:
        config, augment = self._config, self._config.augment
        other = self._train.inputs[int(rng.integers(len(self._train)))]
        wave = vary(self._train.inputs[index], other, augment, config.sample_rate, rng)
        wave = np.pad(wave, (0, max(0, config.shortest - wave.size)))
        frames = wave.size // config.hop
        longest = augment.time_seconds * config.sample_rate / config.hop
        times = stripes(augment.time_masks, min(augment.time_width * frames, longest), frames, rng)
        bins = stripes(augment.bin_masks, augment.bin_width * config.n_mels, config.n_mels, rng)
        return wave, times, bins

    @torch.no_grad()
    def _scores(self, rows: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Scores of held-out sounds and their lengths, by the model as it is used."""
        waves = [self._val.inputs[row] for row in rows]
        was_training = self.module.training
        self.module.eval()
        device = self.module.head.weight.device
        found: tuple[Tensor, list[int]] = self.module(padded(waves).to(device), [wave.size for wave in waves])
        self.module.train(was_training)
        return found

    def _heard(self, scores: Tensor, lengths: Sequence[int]) -> Iterator[str]:
        for row, length in zip(scores.cpu().numpy(), lengths, strict=True):
            yield self.module.spelled(ctc.greedy(row[:length]))

    def _warn(self, context: StageContext) -> None:
        """Texts that are longer than their sounds teach nothing, and are most often those of other sounds."""
        heard = (self.module.encoder.config.num_tokens(len(wave)) for wave in self._train.inputs)
        late = sum(ctc.needed(text) > tokens for text, tokens in zip(self._texts, heard, strict=True))
        if late:
            context.progress(
                f"warning: {late:,} of {len(self._texts):,} sounds are too short for their text, and teach nothing"
            )


def weight_of(sizes: Sequence[int]) -> float:
    """What the loss is divided by: characters; a sound in which nothing is said counts as one."""
    return float(sum(max(size, 1) for size in sizes))


def padded(waves: Sequence[NDArray[np.float32]]) -> Tensor:
    """(B,N) with silence after each sound."""
    rows = np.zeros((len(waves), max(wave.size for wave in waves)), np.float32)
    for row, wave in zip(rows, waves, strict=True):
        row[: wave.size] = wave
    return torch.from_numpy(rows)


def flat(texts: Sequence[Sequence[int]]) -> Tensor:
    """(L,) classes of all texts, one after the other."""
    return torch.tensor([symbol for text in texts for symbol in text], dtype=torch.long)


def striped(size: int, spans: Tensor) -> Tensor:
    """(B,S,2) begins and ends -> (B,size) bool: true inside of a stripe."""
    places = torch.arange(size, device=spans.device)
    return ((places >= spans[..., :1]) & (places < spans[..., 1:])).any(1)

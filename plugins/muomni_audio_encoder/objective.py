"""Training of the audio encoder on its own: CTC on characters, with augmented waveforms and log-mels.

Waveforms are varied (see :mod:`muomni_audio_encoder.augment`), and some are followed by others, whose text is
then learned behind theirs; stripes of the log-mel are masked (SpecAugment, arXiv:1904.08779). All randomness comes from
a NumPy generator that is passed in, so the same generator gives the same sound.

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
from muomni_audio_encoder.augment import crowd, joined, stripes, vary
from muomni_audio_encoder.model import AudioEncoder
from muomni_audio_encoder.recognizer import Recognizer, flat, padded, spelling_loss, summed_loss
from muomni_cli.api import Batch, Loss, RequestError, Sample
from muomni_cli.nn.collectives import share, totals

if TYPE_CHECKING:
    from muomni_cli.api import Examples, StageContext

SHOWN = 8  # transcripts in one sample
LATE = "are too short for their text and are ignored"
FOREIGN = "have a text without a letter that the encoder knows, and are learned as silence; see `characters`"


def edits(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, here in enumerate(one, start=1):
        corner, row[0] = row[0], i
        for j, there in enumerate(other, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (here != there))
    return row[-1]


class ErrorRates:
    """Accumulates character and word error rates over many transcripts, here and in other processes."""

    def __init__(self) -> None:
        self._sounds = self._right = 0
        self._edits = {"character": 0, "word": 0}
        self._sizes = {"character": 0, "word": 0}

    def add(self, said: str, heard: str) -> None:
        self._sounds += 1
        self._right += said == heard
        for unit, (true, found) in {"character": (said, heard), "word": (said.split(), heard.split())}.items():
            self._edits[unit] += edits(true, found)
            self._sizes[unit] += len(true)

    def rates(self) -> dict[str, float]:
        """``character_error_rate``, ``word_error_rate``, and ``exact``, the share of sounds without an error. All
        processes call it."""
        own = [self._sounds, self._right, *self._edits.values(), *self._sizes.values()]
        self._sounds, self._right, *counts = (round(number) for number in totals(own))
        self._edits = dict(zip(self._edits, counts[:2], strict=True))
        self._sizes = dict(zip(self._sizes, counts[2:], strict=True))
        rates = {f"{unit}_error_rate": self._edits[unit] / max(self._sizes[unit], 1) for unit in self._edits}
        return {**rates, "exact": self._right / max(self._sounds, 1)}


class CtcObjective:
    """A :class:`muomni_cli.api.Objective`: CTC on the characters of every example's text."""

    unit = "seconds"
    adamw_params = frozenset({"head.weight"})

    def __init__(self, encoder: AudioEncoder, context: StageContext) -> None:
        self.module = Recognizer(encoder)
        self.blocks = list(encoder.blocks)
        self._config = encoder.config
        self._settings, self._seed = context.settings, context.seed
        data = context.examples()
        self._train, self._val = data.train, data.val
        self._texts = self._spelled(data.train, "training", context)
        self._spelled(data.val, "validation", context)

    def _spelled(self, examples: Examples, side: str, context: StageContext) -> list[list[int]]:
        """The classes of every text. RequestError if no sound has a text to learn."""
        texts = [self.module.alphabet.encode(text) for text in examples.texts]
        tokens = [self._config.num_tokens(len(wave)) for wave in examples.inputs]
        # CTC ignores texts that are too long for their sounds, and most of these belong to other sounds.
        late = [ctc.needed(text) > count for text, count in zip(texts, tokens, strict=True)]
        foreign = [bool(text.strip()) and not own for text, own in zip(examples.texts, texts, strict=True)]
        if all(is_late or not text for is_late, text in zip(late, texts, strict=True)):
            raise RequestError(
                f"no sound for {side} has a text to learn from: {sum(late):,} are too short for theirs, "
                f"and {sum(foreign):,} have none with a letter that the encoder knows",
                "correct the texts, or `characters` of the encoder",
            )
        for count, reason in ((sum(late), LATE), (sum(foreign), FOREIGN)):
            if count:
                context.progress(f"warning: {count:,} of {len(texts):,} sounds for {side} {reason}")
        return texts

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of the step, augmented by seed, step and row: ``waves`` (B,N), ``texts`` (L,), and the
        stripes to mask, ``times`` (B,S,2) and ``bins`` (B,S,2)."""
        chosen = self._train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        rows = range(len(chosen) * micro // shares, len(chosen) * (micro + 1) // shares)
        made = [self._row(chosen[row], np.random.default_rng([self._seed, step, row])) for row in rows]
        waves, texts, times, bins = zip(*made, strict=True)
        tensors = {
            "waves": padded(waves),
            "texts": flat(texts),
            "times": torch.from_numpy(np.stack(times)),
            "bins": torch.from_numpy(np.stack(bins)),
        }
        samples, sizes = [wave.size for wave in waves], [len(text) for text in texts]
        weight = weight_of(texts, [self._config.num_tokens(count) for count in samples])
        seconds = max(1, round(sum(samples) / self._config.sample_rate))
        return Batch(tensors, weight, seconds, {"samples": samples, "sizes": sizes})

    def loss(self, batch: Batch) -> Loss:
        encoder, samples, waves = self.module.encoder, batch.host["samples"], batch.tensors["waves"]
        frames = [n // self._config.hop for n in samples]
        real = None if min(frames) == max(frames) else torch.tensor(frames).to(waves.device, non_blocking=True)
        mel = encoder.normalized(encoder.mel(waves), real)
        hidden = striped(mel.shape[1], batch.tensors["times"])[:, :, None]
        hidden = hidden | striped(mel.shape[2], batch.tensors["bins"])[:, None]
        mel = mel.masked_fill(hidden, self._config.mel_mean)  # zero after normalization
        scores = self.module.score(encoder.hear(mel, real))
        lengths = [encoder.config.num_tokens(n) for n in samples]
        return Loss(summed_loss(scores, lengths, batch.tensors["texts"], batch.host["sizes"]))

    def validate(self) -> dict[str, float]:
        """``loss`` in nats per character, and the error rates of greedy transcripts."""
        nats, characters, errors = 0.0, 0.0, ErrorRates()
        batches = self._val.batches(self._settings.batch_size)
        for rows in share(itertools.islice(batches, self._settings.val_batches or None)):
            scores, lengths = self._scores(rows)
            texts = [self.module.alphabet.encode(self._val.texts[row]) for row in rows]
            nats += spelling_loss(scores, lengths, texts).item()
            characters += weight_of(texts, lengths)
            for said, heard in zip(texts, self._heard(scores, lengths), strict=True):
                errors.add(self.module.alphabet.decode(said), heard)
        nats, characters = totals([nats, characters])
        if not characters:
            raise RequestError("every held-out sound is too short for its text", "see it: muomni data check RECIPE")
        return {"loss": nats / characters, **errors.rates()}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """References and greedy transcripts of a few held-out sounds."""
        rows = np.linspace(0, len(self._val) - 1, min(SHOWN, len(self._val))).astype(int).tolist()
        heard = self._heard(*self._scores(rows))
        lines = (f"said:  {self._val.texts[row]}\nheard: {text}\n" for row, text in zip(rows, heard, strict=True))
        yield Sample("transcripts.txt", "\n".join(lines))

    def _row(
        self, index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], list[int], NDArray[Any], NDArray[Any]]:
        """A sound, the classes of its text, and the stripes to mask."""
        config, augment = self._config, self._config.augment
        wave, text = self._train.inputs[index], self._texts[index]
        if augment.join and rng.random() < augment.join:
            next_one = int(rng.integers(len(self._train)))
            both = joined(wave, self._train.inputs[next_one], config.sample_rate, rng)
            if both.size <= augment.join_seconds * config.sample_rate:
                wave, space = both, self.module.alphabet.classes_of(" ")
                text = [*text, *(space if text and self._texts[next_one] else ()), *self._texts[next_one]]
        around = crowd(self._train.inputs, augment.crowd, wave.size, rng)
        wave = vary(wave, around, augment, config.sample_rate, rng)
        wave = np.pad(wave, (0, max(0, config.shortest - wave.size)))
        frames = wave.size // config.hop
        longest = augment.time_seconds * config.sample_rate / config.hop
        times = stripes(augment.time_masks, min(augment.time_width * frames, longest), frames, rng)
        bins = stripes(augment.bin_masks, augment.bin_width * config.n_mels, config.n_mels, rng)
        return wave, text, times, bins

    @torch.no_grad()
    def _scores(self, rows: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Scores of held-out sounds and their lengths, in eval mode."""
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


def weight_of(texts: Sequence[Sequence[int]], tokens: Sequence[int]) -> float:
    """Divisor of the loss: the number of characters of all texts that fit into their number of tokens, since others are
    ignored; an empty text counts as one."""
    fitting = (text for text, count in zip(texts, tokens, strict=True) if ctc.needed(text) <= count)
    return float(sum(max(len(text), 1) for text in fitting))


def striped(size: int, spans: Tensor) -> Tensor:
    """(B,S,2) begins and ends -> (B,size) bool: true inside a stripe."""
    places = torch.arange(size, device=spans.device)
    return ((places >= spans[..., :1]) & (places < spans[..., 1:])).any(1)

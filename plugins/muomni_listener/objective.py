"""How the audio encoder learns by itself: to spell what is said, from sounds that are different every time.

The loss is connectionist temporal classification on characters; stripes of the log-mel are cut out (SpecAugment,
arXiv:1904.08779). Knows the host's examples, not files or optimisers.

Shapes: B batch, N samples, T frames or tokens, F mel bins, S stripes, L characters of all rows together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.api import Batch, Loss, Sample
from muomni_listener import ctc
from muomni_listener.augment import stripes, vary
from muomni_listener.errors import ErrorRates
from muomni_listener.model import Listener
from muomni_listener.recognizer import Recognizer, spelling_loss, summed_loss

if TYPE_CHECKING:
    from muomni_cli.api import StageContext

SHOWN = 8
"""Transcripts in a sample."""


class Spelling:
    """An :class:`muomni_cli.api.Objective`: the characters of every example's text."""

    unit = "seconds"
    adam_only = frozenset({"head.weight"})

    def __init__(self, encoder: Listener, context: StageContext) -> None:
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
        chosen = self._train.draw(step, self._settings.batch_size)
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
        lengths = [encoder.config.heard(n) for n in samples]
        return Loss(summed_loss(scores, lengths, batch.tensors["texts"], batch.host["sizes"]))

    def validate(self) -> dict[str, float]:
        """``loss`` in nats a character, the error rates of greedy transcripts, and the share that is ``exact``."""
        nats, characters, errors = 0.0, 0.0, ErrorRates()
        batches = self._val.every(self._settings.batch_size)
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
        heard = (self.module.encoder.config.heard(len(wave)) for wave in self._train.inputs)
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

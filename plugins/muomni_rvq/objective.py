"""Training of the codec: reconstruct the log-mel of audio crops, first without quantization, then with it.

Gradients pass straight through the quantizer (arXiv:1308.3432). After the first share of the steps its codes start as
k-means of the encoder's frames.

Shapes: B batch, N samples, T code frames, M mel frames, F mel bins, D width of code vectors, Q codebooks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Batch, Loss, Sample
from muomni_cli.audio.mel import LogMel
from muomni_cli.nn.collectives import from_first, share, total, totals
from muomni_cli.nn.streaming import ConvNeXt
from muomni_rvq.model import RvqCodec

if TYPE_CHECKING:
    from muomni_cli.api import StageContext

POINTS = 16  # frames per code for k-means
BATCHES = 32  # most batches to collect them from
PAUSE = 0.25  # longest silence between two files in a crop, in seconds


class Reconstruction:
    """An :class:`muomni_cli.api.Objective`: log-mel through codes."""

    unit = "seconds"

    def __init__(self, codec: RvqCodec, context: StageContext) -> None:
        self.module = codec
        self.blocks = [layer for layer in codec.modules() if isinstance(layer, ConvNeXt)]
        self.always_run = ()  # they are called by methods of their own, where no hook gathers a share
        ends = {codec.encoder.patch, codec.inward, codec.outward, codec.decoder.layers[-1]}
        self.adamw_params = frozenset(
            f"{name}.weight" if isinstance(layer, nn.Linear) else f"{name}.proj.weight"
            for name, layer in codec.named_modules()
            if layer in ends
        )
        self._config = codec.config
        self._settings, self._seed, self._understood = context.settings, context.seed, context.understood
        data = context.examples()
        self._train, self._val = data.train, data.val
        self._mel = LogMel(codec.mel)
        self._free = round(codec.config.free_steps * context.settings.steps)
        self._frames = max(1, round(codec.config.crop_seconds * codec.config.sample_rate / codec.config.samples))
        self._coded: bool | None = None  # whether codes are initialized; read once from the restored module

    def batch(self, step: int, micro: int) -> Batch:
        """Part ``micro`` of the step's ``batch_size`` random crops: ``waves`` (B,N), and ``depths`` (B,), the number of
        codebooks that each is decoded from."""
        shares, size = self._settings.accumulate, self._settings.batch_size
        rows = range(size * micro // shares, size * (micro + 1) // shares)
        waves, draws = self._crops(step, rows)
        most, dropout = self._config.codebooks, self._config.codebook_dropout
        depths = [int(rng.integers(1, most + 1)) if rng.random() < dropout else most for rng in draws]
        tensors = {"waves": torch.from_numpy(waves), "depths": torch.tensor(depths)}
        seconds = max(1, round(len(rows) * self._frames * self._config.samples / self._config.sample_rate))
        return Batch(tensors, float(len(rows)), seconds, {"step": [step]})

    def _crops(self, step: int, rows: Sequence[int]) -> tuple[NDArray[np.float32], list[np.random.Generator]]:
        """(B,N) crops of these rows of a step, and the generator of each row after its crop."""
        chosen = self._train.batch(step, self._settings.batch_size)
        draws = [np.random.default_rng([self._seed, step, row]) for row in rows]
        return np.stack([self._crop(chosen[row], rng) for row, rng in zip(rows, draws, strict=True)]), draws

    def loss(self, batch: Batch) -> Loss:
        """The mean error over a row's log-mel, summed over rows; and the distance of frames from their codes."""
        step = batch.host["step"][0]
        mel = self._heard(batch.tensors["waves"])
        if self._coded is None:
            self._coded = bool(self.module.quantizer.ready)
        if not self._coded and step >= self._free:
            self._begin(step)
        points = self.module.inward(self.module.encoder(mel))
        if self._coded:
            coded, committed = self._through(points, batch.tensors["depths"])
        else:
            coded, committed = points, points.new_zeros(())
        config, frames = self._config, self.module.outward(coded)
        apart = (self.module.expand(frames) - mel).float() / config.mel_scale
        absolute, squared = apart.abs().mean(), apart.square().mean()
        total = absolute + config.squared * squared + config.commitment * committed
        if config.tie:  # to the mean log-mel of each frame's window
            mean = mel.reshape(*frames.shape[:2], config.frame, -1).mean(2)
            total = total + config.tie * F.l1_loss(frames.float(), (mean - config.mel_mean) / config.mel_scale)
        rows = batch.weight
        logs = {"l1": absolute * config.mel_scale * rows, "commitment": committed * rows}
        for number, counts in enumerate(self.module.quantizer.counts, 1):
            logs[f"perplexity_{number}"] = perplexity(counts) * rows
        return Loss(total * rows, logs)

    def after_step(self, step: int, skip: Tensor) -> None:
        """Move the codes towards the points of the whole step, in all processes."""
        self.module.quantizer.update(self._seed + step, skip)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Held-out audio through its codes: ``loss``, ``l1`` in nats and ``db`` of the log-mel, each codebook's used
        share and perplexity, and what a recognizer makes of it, if there is one.

        Before codes are initialized the loss is that of random ones, so such a codec is never the best one.
        """
        config, hits = self._config, torch.zeros_like(self.module.quantizer.counts)
        absolute = squared = count = 0.0
        batches = itertools.islice(self._val.batches(self._settings.batch_size), self._settings.val_batches or None)
        for rows in share(batches):
            waves = [self._val.inputs[row] for row in rows]
            sizes = [-(-wave.size // config.samples) for wave in waves]  # code frames
            padded = np.zeros((len(waves), max(sizes) * config.samples), np.float32)
            for row, wave in enumerate(waves):
                padded[row, : wave.size] = wave
            mel = self._heard(torch.from_numpy(padded).to(hits.device))
            codes = self.module.encode(self.module.windows(mel))
            made = self.module.expand(self.module.decode(codes))
            real = torch.arange(codes.shape[1], device=mel.device) < torch.tensor(sizes, device=mel.device)[:, None]
            apart = (made - mel).float().reshape(*codes.shape[:2], -1)[real] / config.mel_scale
            absolute, squared = absolute + apart.abs().sum().item(), squared + apart.square().sum().item()
            count += apart.numel()
            for number, code in enumerate(codes[real].unbind(-1)):
                hits[number] += torch.bincount(code, minlength=config.codebook_size)
        hits = total(hits)
        absolute, squared, count = totals([absolute, squared, count])
        l1 = absolute / count
        metrics = {"loss": l1 + config.squared * squared / count, "l1": l1 * config.mel_scale}
        metrics["db"] = metrics["l1"] * 10 / float(np.log(10))
        for number, counts in enumerate(hits, 1):
            metrics[f"use_{number}"] = (counts > 0).float().mean().item()
            metrics[f"perplexity_{number}"] = perplexity(counts).item()
        if not bool(self.module.quantizer.ready):
            return metrics
        return metrics | from_first(lambda: self._understood(self.module))

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002 - log-mel needs a vocoder to be heard
        return ()

    def _heard(self, waves: Tensor) -> Tensor:
        return self._mel.to(waves.device)(waves)  # type: ignore[no-any-return]

    def _crop(self, index: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """(N,) of one file from a random place; where it is too short, others follow after pauses."""
        row = np.zeros(self._frames * self._config.samples, np.float32)
        wave = self._train.inputs[index]
        wave = wave[int(rng.integers(max(1, wave.size - row.size + 1))) :]
        place, pause = 0, max(2, round(PAUSE * self._config.sample_rate))
        while place < row.size:
            taken = wave[: row.size - place]
            row[place : place + taken.size] = taken
            place += taken.size + int(rng.integers(1, pause))
            wave = self._train.inputs[int(rng.integers(len(self._train)))]
        return row

    def _through(self, points: Tensor, depths: Tensor) -> tuple[Tensor, Tensor]:
        """(B,T,D) -> the sum of its codes, with straight-through gradients; and the squared distance."""
        quantizer = self.module.quantizer
        exact = points.float()
        with torch.no_grad():
            codes = quantizer.encode(exact)
            found = quantizer.looked_up(codes)  # (B,T,Q,D)
            quantizer.collect(exact.flatten(0, 1), codes.flatten(0, 1))
        committed = F.mse_loss(exact, found.sum(2))
        kept = torch.arange(quantizer.codebooks, device=depths.device) < depths[:, None]  # (B,Q)
        coded = (found * kept[:, None, :, None]).sum(2)
        return exact + (coded - exact).detach(), committed

    @torch.no_grad()
    def _begin(self, step: int) -> None:
        """Initialize codes by k-means of the frames of this step and of the next ones, the same in every process."""
        config, quantizer = self._config, self.module.quantizer
        found: list[Tensor] = []
        for later in range(BATCHES):
            made, _ = self._crops(step + later, range(self._settings.batch_size))
            waves = torch.from_numpy(made).to(quantizer.table.device)
            found.append(self.module.inward(self.module.encoder(self._heard(waves))).float().flatten(0, 1))
            if sum(map(len, found)) >= POINTS * config.codebook_size:
                break
        quantizer.begin(torch.cat(found), len(found[0]), self._seed)
        self._coded = True


def perplexity(counts: Tensor) -> Tensor:
    """(K,) uses -> the number of codes that would have the same entropy if used equally; 1 for no use."""
    shares = counts / counts.sum().clamp_min(1e-9)
    return torch.exp(-torch.xlogy(shares, shares).sum())

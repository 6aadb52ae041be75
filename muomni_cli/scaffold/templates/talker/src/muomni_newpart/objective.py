"""Training of the Talker: teacher forcing on codes shifted by one, with durations from forced alignment.

Shapes: B batch, S symbols, T frames, Q codebooks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Batch, Loss, Sample
from muomni_newpart import symbols
from muomni_newpart.model import Newpart
from muomni_newpart.synthesis import pointer

if TYPE_CHECKING:
    from muomni_cli.api import StageContext


class TalkerObjective:
    """A :class:`muomni_cli.api.Objective`: the codes of every utterance, and the durations of its characters."""

    unit = "frames"

    def __init__(self, talker: Newpart, context: StageContext) -> None:
        self.module = talker
        self.blocks: Sequence[nn.Module] = ()
        kept = {"letters", "voice", "history", "tables", "heads", "duration", "elapsed"}
        self.adamw_params = frozenset(name for name, _ in talker.named_parameters() if name.split(".")[0] in kept)
        self._settings, self._seed, self._corrupt = context.settings, context.seed, talker.config.corrupt
        speech = context.speech(symbols.normalize)
        self._train, self._val = speech.train, speech.val

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of the step; corrupted codes are drawn by seed, step and micro-batch."""
        chosen = self._train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        rows = chosen[len(chosen) * micro // shares : len(chosen) * (micro + 1) // shares]
        return self._collate(self._train, rows, np.random.default_rng([self._seed, step, micro]))

    def loss(self, batch: Batch) -> Loss:
        """Cross-entropy of all codes, summed over frames, and absolute error of the durations, summed over symbols."""
        codes, lasting = self._losses(batch)
        return Loss(codes + lasting, {"codes": codes.detach(), "lasting": lasting.detach()})

    def validate(self) -> dict[str, float]:
        """``loss`` in nats per frame, teacher forced."""
        was_training, total, frames = self.module.training, 0.0, 0.0
        self.module.eval()
        device = self.module.letters.weight.device
        with torch.no_grad():
            for rows in itertools.islice(
                self._val.batches(self._settings.batch_size), self._settings.val_batches or None
            ):
                batch = self._collate(self._val, rows, None)
                batch.tensors = {name: tensor.to(device) for name, tensor in batch.tensors.items()}
                total += self._losses(batch)[0].item()
                frames += batch.weight
        self.module.train(was_training)
        return {"loss": total / max(frames, 1.0)}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """None; use `muomni tts`."""
        return ()

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        given = batch.tensors
        features, lasting = self.module.read(given["ids"], given["voice"])
        under = features.gather(1, given["under"][..., None].expand(-1, -1, features.shape[2]))
        states, _ = self.module.states(under, given["elapsed"], given["before"])
        logits = self.module.logits(states, given["codes"])[given["real"]].float()
        codes = F.cross_entropy(logits.flatten(0, 1), given["codes"][given["real"]].flatten(), reduction="sum")
        apart = (lasting - given["lasting"]).float() * (given["ids"] != symbols.PAD)
        return codes, apart.abs().sum()

    def _collate(self, speech: Any, rows: Sequence[int], random: np.random.Generator | None) -> Batch:
        """Utterances padded on the right; with ``random``, some of the previous codes are corrupted."""
        talker, seconds = self.module, self.module.codes.seconds
        ids = [symbols.numbers(speech.texts[row]) for row in rows]
        codes = [np.asarray(speech.codes[row], np.int64) for row in rows]
        lasting = [_lasting(speech.char_times[row] / seconds, len(one)) for row, one in zip(rows, codes, strict=True)]
        size, longest = max(map(len, ids)), max(map(len, codes))
        arrays: dict[str, NDArray[Any]] = {
            "ids": np.full((len(rows), size), symbols.PAD),
            "lasting": np.zeros((len(rows), size), np.float32),
            "under": np.zeros((len(rows), longest), np.int64),
            "elapsed": np.zeros((len(rows), longest), np.float32),
            "codes": np.zeros((len(rows), longest, talker.codes.codebooks), np.int64),
            "real": np.zeros((len(rows), longest), bool),
        }
        for place, own in enumerate(codes):
            arrays["ids"][place, : len(ids[place])] = ids[place]
            arrays["lasting"][place, : len(ids[place])] = lasting[place]
            under, elapsed = pointer(lasting[place], len(own))
            arrays["under"][place, : len(under)], arrays["elapsed"][place, : len(under)] = under, elapsed
            arrays["codes"][place, : len(own)], arrays["real"][place, : len(own)] = own, True
        before = np.roll(arrays["codes"], 1, axis=1)
        before[:, 0] = 0
        if random is not None:
            others = random.integers(0, talker.codes.size, before.shape)
            before = np.where(random.random((*before.shape[:2], 1)) < self._corrupt, others, before)
        names = list(talker.voices)
        voices = [names.index(speech.voices[row]) if speech.voices[row] in names else 0 for row in rows]
        tensors = {name: torch.from_numpy(array) for name, array in {**arrays, "before": before}.items()}
        frames = sum(map(len, codes))
        return Batch({**tensors, "voice": torch.tensor(voices)}, float(frames), frames)


def _lasting(edges: NDArray[Any], frames: int) -> NDArray[np.float32]:
    """(L+1,) boundaries of the characters in frames -> (L+2,) durations of the symbols, including silences."""
    whole = np.concatenate([[0.0], edges, [max(float(frames), float(edges[-1]))]])
    return np.diff(whole).clip(min=0.0).astype(np.float32)

"""How the encoder learns by itself: to name what is done in a recording."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import Batch, EncoderOutput, Loss, RequestError, Sample
from muomni_motion.model import Motion, Named

if TYPE_CHECKING:
    from muomni_cli.api import Examples, StageContext

SHOWN = 8
"""Recordings in a sample."""


class Activities:
    """An :class:`muomni_cli.api.Objective`: cross-entropy over labels."""

    unit = "recordings"
    adamw_params = frozenset({"head.weight"})

    def __init__(self, encoder: Motion, context: StageContext) -> None:
        data = context.examples()
        if None in (*data.train.labels, *data.val.labels):
            raise RequestError("a recording has no label", "name what is done in each")
        classes = sorted({label for label in data.train.labels if label is not None})
        if strange := {*data.val.labels} - {*classes}:
            raise RequestError(f"only held-out recordings have the label {min(map(str, strange))}", "add some to learn")
        self.head_metadata = {"classes": classes}
        self.module: nn.Module = Named(encoder, classes)
        self.blocks: Sequence[nn.Module] = list(encoder.blocks)
        self._places = {label: place for place, label in enumerate(classes)}
        self._settings, self._train, self._val = context.settings, data.train, data.val

    def batch(self, step: int, micro: int) -> Batch:
        """Share ``micro`` of the step's recordings."""
        rows = self._train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        return self._collate(self._train, rows[len(rows) * micro // shares : len(rows) * (micro + 1) // shares])

    def loss(self, batch: Batch) -> Loss:
        """Nats, summed over the recordings."""
        scores = self._scores(batch)
        return Loss(F.cross_entropy(scores, batch.tensors["classes"], reduction="sum"))

    def validate(self) -> dict[str, float]:
        """``loss`` in nats a recording, ``accuracy``, and ``n``, how many there were."""
        nats, right, count = 0.0, 0, 0
        for rows in self._val.batches(self._settings.batch_size):
            scores, classes = self._held_out(rows)
            nats += F.cross_entropy(scores, classes, reduction="sum").item()
            right += int((scores.argmax(1) == classes).sum())
            count += len(rows)
        return {"loss": nats / max(count, 1), "accuracy": right / max(count, 1), "n": float(count)}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """A few held-out recordings: what is done, and what the model says."""
        rows = np.linspace(0, len(self._val) - 1, min(SHOWN, len(self._val))).astype(int).tolist()
        said = self._held_out(rows)[0].argmax(1).tolist()
        lines = [
            f"{self._val.labels[r]}: {self.head_metadata['classes'][p]}\n" for r, p in zip(rows, said, strict=True)
        ]
        yield Sample("activities.txt", "".join(lines))

    def _held_out(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        batch = self._collate(self._val, rows)
        device = next(self.module.parameters()).device
        moved = Batch({name: t.to(device) for name, t in batch.tensors.items()}, batch.weight, batch.items, batch.host)
        was_training = self.module.training
        self.module.eval()
        with torch.no_grad():
            scores = self._scores(moved)
        self.module.train(was_training)
        return scores, moved.tensors["classes"]

    def _scores(self, batch: Batch) -> Tensor:
        assert isinstance(self.module, Named), "made above"
        output: EncoderOutput = self.module.encoder(batch.tensors["inputs"], batch.host["lengths"])
        return self.module.score(output).float()

    def _collate(self, examples: Examples, rows: Sequence[int]) -> Batch:
        lengths = [len(examples.inputs[row]) for row in rows]
        inputs = np.zeros((len(rows), max(lengths), 9), np.float32)
        for place, row in enumerate(rows):
            inputs[place, : lengths[place]] = examples.inputs[row]
        classes = torch.tensor([self._places[examples.labels[row] or ""] for row in rows])
        tensors = {"inputs": torch.from_numpy(inputs), "classes": classes}
        return Batch(tensors, float(len(rows)), len(rows), {"lengths": lengths})

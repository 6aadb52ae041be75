"""Training of the encoder on its own: classification."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import Batch, EncoderOutput, Loss, RequestError, Sample
from muomni_newpart.model import Classifier, Newpart

if TYPE_CHECKING:
    from muomni_cli.api import Examples, StageContext

SHOWN = 8
"""Number of held-out inputs in a sample."""


class ClassificationObjective:
    """A :class:`muomni_cli.api.Objective`: cross-entropy over labels."""

    unit = "inputs"
    adamw_params = frozenset({"head.weight"})

    def __init__(self, encoder: Newpart, context: StageContext) -> None:
        data = context.examples()
        if None in (*data.train.labels, *data.val.labels):
            raise RequestError("an input has no label", "give every example one")
        classes = sorted({label for label in data.train.labels if label is not None})
        if len(classes) < 2:
            raise RequestError(f"all inputs have the label {classes[0]}", "add inputs of another class")
        if unknown := {*data.val.labels} - {*classes}:
            label = min(map(str, unknown))
            raise RequestError(f"only held-out inputs have the label {label}", "add training inputs with that label")
        self.head_metadata = {"classes": classes}
        self.module: nn.Module = Classifier(encoder, classes)
        self.blocks: Sequence[nn.Module] = list(encoder.blocks)
        self._places = {label: place for place, label in enumerate(classes)}
        self._settings, self._train, self._val = context.settings, data.train, data.val
        self._channels = encoder.config.channels

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of the step."""
        rows = self._train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        return self._collate(self._train, rows[len(rows) * micro // shares : len(rows) * (micro + 1) // shares])

    def loss(self, batch: Batch) -> Loss:
        """Cross-entropy in nats, summed over the inputs."""
        scores = self._scores(batch)
        return Loss(F.cross_entropy(scores, batch.tensors["classes"], reduction="sum"))

    def validate(self) -> dict[str, float]:
        """``loss`` in nats per input, ``accuracy``, and ``n``, the number of inputs."""
        nats, right, count = 0.0, 0, 0
        for rows in self._val.batches(self._settings.batch_size):
            scores, classes = self._held_out(rows)
            nats += F.cross_entropy(scores, classes, reduction="sum").item()
            right += int((scores.argmax(1) == classes).sum())
            count += len(rows)
        return {"loss": nats / max(count, 1), "accuracy": right / max(count, 1), "n": float(count)}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """ClassificationObjective and predictions of a few held-out inputs."""
        rows = np.linspace(0, len(self._val) - 1, min(SHOWN, len(self._val))).astype(int).tolist()
        said = self._held_out(rows)[0].argmax(1).tolist()
        lines = [
            f"{self._val.labels[r]}: {self.head_metadata['classes'][p]}\n" for r, p in zip(rows, said, strict=True)
        ]
        yield Sample("labels.txt", "".join(lines))

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
        assert isinstance(self.module, Classifier)
        output: EncoderOutput = self.module.encoder(batch.tensors["inputs"], batch.host["lengths"])
        return self.module.score(output).float()

    def _collate(self, examples: Examples, rows: Sequence[int]) -> Batch:
        lengths = [len(examples.inputs[row]) for row in rows]
        inputs = np.zeros((len(rows), max(lengths), self._channels), np.float32)
        for place, row in enumerate(rows):
            inputs[place, : lengths[place]] = examples.inputs[row]
        classes = torch.tensor([self._places[examples.labels[row] or ""] for row in rows])
        tensors = {"inputs": torch.from_numpy(inputs), "classes": classes}
        return Batch(tensors, float(len(rows)), len(rows), {"lengths": lengths})

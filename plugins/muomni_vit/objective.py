"""Training of the image encoder on its own, on labels or texts, and image augmentation. All randomness comes from a
NumPy generator that is passed in, so the same generator gives the same pictures.

Shapes: B batch, S side, T tokens, W width.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from muomni_cli.api import Batch, Loss, RequestError, Sample
from muomni_cli.nn.collectives import share, totals
from muomni_vit.degradation import degraded
from muomni_vit.heads import CaptioningTask, ClassificationTask, ContrastiveTask, VisionTask, classes_of, text_of
from muomni_vit.model import Vit, build
from muomni_vit.plugin import ImageAugmentConfig, VitConfig

if TYPE_CHECKING:
    from muomni_cli.api import StageContext

Pictures = NDArray[np.uint8]
SHOWN = 8  # pictures in one sample


@dataclass(frozen=True, slots=True)
class ImageAugmentation:
    """Augmentation of B pictures: source row and column of every new row and column, (B,S) each, and erased rectangles
    (B,4): top, bottom, left, right (ends exclusive)."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    holes: NDArray[np.int64]

    def share(self, part: slice) -> ImageAugmentation:
        return ImageAugmentation(self.rows[part], self.columns[part], self.holes[part])


def drawn(batch: int, size: int, config: ImageAugmentConfig, rng: np.random.Generator) -> ImageAugmentation:
    """Draw the augmentation of ``batch`` pictures of side ``size``."""
    places = np.arange(size)
    down, right = rng.integers(-config.shift, config.shift + 1, (2, batch, 1))
    flipped = rng.random((batch, 1)) < config.flip
    columns = np.where(flipped, places[::-1], places) + right
    sides = 1 + (rng.random((batch, 2)) * config.erase_width * size).astype(np.int64).clip(0, size - 1)
    sides *= rng.random((batch, 1)) < config.erase
    begins = (rng.random((batch, 2)) * (size - sides + 1)).astype(np.int64)
    holes = np.stack([begins, begins + sides], axis=2).reshape(batch, 4)
    return ImageAugmentation((places + down).clip(0, size - 1), columns.clip(0, size - 1), holes)


def changed(pictures: Pictures, changes: ImageAugmentation, fill: NDArray[np.uint8]) -> Pictures:
    """Apply ``changes`` to (B,3,S,S) pictures; ``fill`` (3,) is the color of erased rectangles."""
    row = np.arange(len(pictures))[:, None, None]
    # Channels last: one gather of three bytes is cheaper than three of one.
    moved = pictures.transpose(0, 2, 3, 1)[row, changes.rows[:, :, None], changes.columns[:, None]]
    for picture, (top, bottom, left, right) in zip(moved, changes.holes, strict=True):
        picture[top:bottom, left:right] = fill
    return np.ascontiguousarray(moved.transpose(0, 3, 1, 2))


class VisionObjective:
    """A :class:`muomni_cli.api.Objective` that trains one task."""

    unit = "images"

    def __init__(self, task: VisionTask, context: StageContext, head_metadata: Mapping[str, Any]) -> None:
        self.lesson = task
        self.head_metadata = head_metadata
        self.module = task
        self.blocks = list(task.encoder.blocks)
        self.adamw_params = task.adamw_params | {f"encoder.{name}" for name in task.encoder.tables}
        self._config = task.encoder.config
        self._settings, self._seed = context.settings, context.seed
        data = context.examples()
        self._train, self._val = data.train, data.val
        augment = self._config.augment
        self._varied = bool(augment.shift or augment.flip or augment.erase)
        self._fill = np.array([round(255 * share) for share in self._config.mean], np.uint8)

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of the step, augmented by seed and step: ``pictures`` (B,3,S,S) and the task's
        targets."""
        rows = self._train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        part = slice(len(rows) * micro // shares, len(rows) * (micro + 1) // shares)
        rng = np.random.default_rng([self._seed, step])
        changes = drawn(len(rows), self._config.size, self._config.augment, rng).share(part)
        pictures = self._pictures(rows, part, step)
        targets, weight = self.lesson.targets(self._train, rows, part, rng)
        if self._varied:
            pictures = changed(pictures, changes, self._fill)
        return Batch({"pictures": torch.from_numpy(pictures), **targets}, weight, len(pictures))

    def _pictures(self, rows: Sequence[int], part: slice, step: int) -> Pictures:
        """(B,3,S,S) pictures of a part of the step's ``rows``, degraded by seed, step and place."""
        pictures: Iterator[Pictures] = (self._train.inputs[row] for row in rows[part])
        if self._config.augment.degrades:
            places = range(len(rows))[part]
            rngs = (np.random.default_rng([self._seed, step, place]) for place in places)
            pictures = (degraded(one, self._config, rng) for one, rng in zip(pictures, rngs, strict=True))
        return np.stack(list(pictures))

    def loss(self, batch: Batch) -> Loss:
        return Loss(self.lesson.loss(self._scores(batch), batch.tensors))

    def validate(self) -> dict[str, float]:
        """``loss`` in nats per target; ``accuracy`` (labels), ``retrieval`` (contrast) or ``exact`` (captions), each a
        share of the pictures; and ``n``, the number of pictures."""
        nats = targets = right = count = 0.0
        with self._as_it_is_used():
            for rows in share(self._validation_rows()):
                batch = self._evaluation_mode(rows)
                scores = self._scores(batch)
                nats += self.lesson.loss(scores, batch.tensors).item()
                right += int(self.lesson.right(scores, batch.tensors).sum())
                targets += batch.weight
                count += batch.items
        nats, targets, right, count = totals([nats, targets, right, count])
        if not targets:
            raise RequestError(
                "no picture to validate on has a label that is in the training data", "raise val_batches"
            )
        return {"loss": nats / targets, self.lesson.measure: right / max(count, 1), "n": count}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """A few held-out pictures side by side, with the right answers and the model's."""
        rows = np.linspace(0, len(self._val) - 1, min(SHOWN, len(self._val))).astype(int).tolist()
        pictures = [self._val.inputs[row] for row in rows]
        with self._as_it_is_used():
            tokens = self.lesson.encoder(torch.from_numpy(np.stack(pictures)).to(self._device)).tokens
            pairs = self.lesson.said(tokens, self._val, rows)
        sheet, file = np.concatenate(pictures, axis=2).transpose(1, 2, 0), io.BytesIO()
        Image.fromarray(np.ascontiguousarray(sheet)).save(file, "PNG")
        yield Sample("pictures.png", file.getvalue())
        lines = (f"{n}. right: {right}\n   model: {said}\n" for n, (right, said) in enumerate(pairs, start=1))
        yield Sample("pictures.txt", "\n".join(lines))

    @contextmanager
    def _as_it_is_used(self) -> Iterator[None]:
        was_training = self.module.training
        self.module.eval()
        with torch.no_grad():
            yield
        self.module.train(was_training)

    @property
    def _device(self) -> torch.device:
        return self.lesson.encoder.cls.device

    def _evaluation_mode(self, rows: Sequence[int]) -> Batch:
        """Validation pictures without augmentation, on the model's device."""
        targets, weight = self.lesson.targets(self._val, rows, slice(None), None)
        tensors = {"pictures": torch.from_numpy(np.stack([self._val.inputs[row] for row in rows])), **targets}
        return Batch({name: tensor.to(self._device) for name, tensor in tensors.items()}, weight, len(rows))

    def _scores(self, batch: Batch) -> Tensor:
        return self.lesson.scores(self.lesson.encoder(batch.tensors["pictures"]).tokens, batch.tensors)

    def _validation_rows(self) -> list[list[int]]:
        """All batches, or ``val_batches`` evenly spaced ones, since pictures are often sorted by class."""
        batches = list(self._val.batches(self._settings.batch_size))
        wanted = min(self._settings.val_batches or len(batches), len(batches))
        return [batches[int(place)] for place in np.linspace(0, len(batches) - 1, wanted)]


OF_TEXTS: dict[str, Callable[[Vit], VisionTask]] = {"contrast": ContrastiveTask, "captions": CaptioningTask}
"""Tasks that learn texts, by the value of ``learn``."""


def choose(encoder: Vit, context: StageContext) -> VisionObjective:
    """The objective that the config names; with ``learn = "auto"``, the one that fits the examples.
    Raises RequestError: the examples lack the labels or texts that it needs."""
    data = context.examples()
    learn = encoder.config.learn
    if learn == "auto":
        all_labelled = None not in data.train.labels and None not in data.val.labels
        learn = "labels" if all_labelled else "contrast"
        context.progress(f"learning {learn}")
    if learn == "labels":
        known = set(data.train.labels)
        unknown = sum(label not in known for label in data.val.labels)
        if unknown == len(data.val):
            raise RequestError(
                "no held-out picture has a label that is in the training data",
                "see `holdout` and `split` of the sources",
            )
        if unknown:
            context.progress(
                f"warning: {unknown:,} held-out pictures have labels that are not in the training data; "
                "they count as wrong"
            )
        task = ClassificationTask(encoder, classes_of(data))
        return VisionObjective(task, context, {"learn": learn, "classes": task.classes})
    texts = {text_of(data.train, row) for row in range(len(data.train))}
    if len(texts) < 2:
        found = f"all {len(data.train):,} pictures have the text {texts.pop()!r}"
        raise RequestError(found, "use a source whose pictures have different texts")
    return VisionObjective(OF_TEXTS[learn](encoder), context, {"learn": learn})


def build_predictor(config: VitConfig, head_metadata: Mapping[str, Any]) -> VisionTask:
    """The task that a stage was trained on, with random weights (``EncoderPart.predictor``). Raises RequestError:
    ``head_metadata`` lacks the classes."""
    learn = head_metadata.get("learn", config.learn)
    if learn in OF_TEXTS:
        return OF_TEXTS[learn](build(config))
    if learn != "labels" or "classes" not in head_metadata:
        fix = "train it again: muomni train image RECIPE"
        raise RequestError("the image encoder was saved without its classes", fix)
    return ClassificationTask(build(config), head_metadata["classes"])

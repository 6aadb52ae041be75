"""Direct preference optimization (DPO, arXiv:2305.18290) of a Thinker or a Talker on pairs of a chosen and a rejected
answer.

With the margin m = (log p(chosen) - log p0(chosen)) - (log p(rejected) - log p0(rejected)), p0 being the model that the
stage begins with, the loss of a pair is -log sigmoid(beta m). Variants: label smoothing (conservative DPO), IPO
(arXiv:2310.12036) on log-probabilities per target, and the cross-entropy of the chosen answer beside it (RPO,
arXiv:2404.19733). What p0 says of the pairs is computed once, by a model that is built for that, and kept in the cache,
so no second model is in memory while one trains.

Shapes: B pairs, T tokens, D width, V vocabulary, N targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from muomni_cli.contract.training import Batch, Loss, Policy, Sample
from muomni_cli.core.files import cache_folder, cached_folder, fingerprint_of
from muomni_cli.data.preferences import Answer, PairData, Pairs
from muomni_cli.data.split import SPLITS
from muomni_cli.nn.collectives import share, totals
from muomni_cli.nn.device import autocast
from muomni_cli.omni import OmniModel
from muomni_cli.training.objectives import CHUNK_LOGITS
from muomni_cli.training.step import to_device

if TYPE_CHECKING:
    from muomni_cli.recipe.train_settings import TrainSettings
    from muomni_cli.training.context import TrainingContext

FORMAT = 1  # incremented when the log-probabilities of the same model and pairs change
INDEX = "reference.json"


def preference_loss(margins: Tensor, settings: TrainSettings) -> Tensor:
    """(B,) margins in nats -> (B,) losses; for ``ipo``, margins of log-probabilities per target."""
    beta, wrong = settings.beta, settings.label_smoothing
    if settings.preference_loss == "ipo":
        return (margins - 1 / (2 * beta)) ** 2
    return -(1 - wrong) * F.logsigmoid(beta * margins) - wrong * F.logsigmoid(-beta * margins)


class PreferenceObjective:
    """An :class:`muomni_cli.api.Objective` over pairs.

    Args:
        policy: what is trained, as it is when the stage begins or resumes.
        reference: the log-probabilities of the model that the stage began with, by side of the split: (pairs,2) of the
            chosen and the rejected answer.
        data: the pairs.
        context: of the stage.
        speak: texts for samples, if it writes some.
    """

    def __init__(
        self,
        policy: Policy,
        reference: dict[str, NDArray[np.float64]],
        data: PairData[Any],
        context: TrainingContext,
        texts: Callable[[], list[str]] | None = None,
    ) -> None:
        self.module, self.unit = policy.module, policy.unit
        self.adamw_params, self.blocks = policy.adamw_params, policy.blocks
        self._policy, self._reference, self._data = policy, reference, data
        self._context, self._settings, self._texts = context, context.settings, texts
        self.fingerprint = data.fingerprint
        data.train.sampler.drawn = context.drawn
        context.report(data.validating)

    def batch(self, step: int, micro: int) -> Batch:
        rows = self._data.train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        return self._collate("train", rows[len(rows) * micro // shares : len(rows) * (micro + 1) // shares])

    def loss(self, batch: Batch) -> Loss:
        """Summed over pairs; in the logs ``margin``, of the rewards beta (log p - log p0), ``accuracy``, the share of
        pairs with a margin above 0, and the log-probabilities of both sides."""
        losses, logs = self._losses(batch)
        return Loss(losses.sum(), {name: value.detach().sum() for name, value in logs.items()})

    def validate(self) -> dict[str, float]:
        """The loss and the logs of :meth:`loss` on the held-out pairs, per pair."""
        sums: dict[str, float] = {}
        pairs = self._data.val
        was_training = self.module.training
        self.module.eval()
        wanted = list(pairs.batches(self._settings.batch_size))[: self._settings.val_batches or None]
        count = 0.0
        with torch.no_grad():
            for rows in share(wanted):
                losses, logs = self._losses(to_device(self._collate("val", rows), self._context.device))
                count += len(rows)
                for name, value in {"loss": losses, **logs}.items():
                    sums[name] = sums.get(name, 0.0) + float(value.double().sum())
        self.module.train(was_training)
        names = ["loss", *LOGS]
        count, *found = totals([count, *(sums.get(name, 0.0) for name in names)])
        return {name: value / count for name, value in zip(names, found, strict=True)}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        for number, text in enumerate(self._texts() if self._texts else [], start=1):
            yield Sample(f"{number}.txt", f"{text}\n")

    def _losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """(B,) losses, and (B,) of each of :data:`LOGS`."""
        settings, tensors = self._settings, batch.tensors
        found = self._policy.log_probs(batch)
        ratios, counts = found - tensors["reference"], tensors["counts"]
        chosen, rejected = ratios.chunk(2)
        margins = chosen - rejected
        per_target = (ratios / counts).chunk(2)
        losses = preference_loss(
            per_target[0] - per_target[1] if settings.preference_loss == "ipo" else margins, settings
        )
        of_chosen, of_rejected = found.chunk(2)
        if settings.sft_weight:
            losses = losses - settings.sft_weight * of_chosen / counts.chunk(2)[0]
        values = settings.beta * margins, (margins > 0).float(), of_chosen, of_rejected
        return losses, dict(zip(LOGS, values, strict=True))

    def _collate(self, side: str, rows: Sequence[int]) -> Batch:
        """The chosen answers of the pairs, then the rejected ones, with the log-probabilities of the reference."""
        pairs = (self._data.train if side == "train" else self._data.val).pairs
        batch = self._policy.batch([*(pairs[row].chosen for row in rows), *(pairs[row].rejected for row in rows)])
        known = self._reference[side][list(rows)].T.reshape(-1)
        batch.tensors["reference"] = torch.from_numpy(known.astype(np.float32))
        batch.weight = float(len(rows))
        return batch


LOGS = ("margin", "accuracy", "chosen", "rejected")


def reference_log_probs(
    build: Callable[[], Policy], identity: Any, data: PairData[Any], context: TrainingContext
) -> dict[str, NDArray[np.float64]]:
    """(pairs,2) log-probabilities of the chosen and the rejected answers by side of the split, from the cache or by the
    model that ``build`` gives now. ``identity``: of that model. MuomniError if the cache cannot be written."""
    key = [FORMAT, identity, data.fingerprint, context.settings.precision, context.device.type]
    folder = cache_folder() / "references" / fingerprint_of(key)
    sides = {"train": data.train, "val": data.val}

    def make(partial: Path) -> int:
        context.progress(f"reading {len(data.train) + len(data.val):,} pairs once with the model as it is")
        policy = build()
        policy.module.to(context.device).eval()
        for side in SPLITS:
            np.save(partial / f"{side}.npy", log_probs_of(policy, sides[side], context))
        return len(data.train)

    cached_folder(folder, INDEX, "the log-probabilities of pairs", make)
    return {side: np.load(folder / f"{side}.npy") for side in SPLITS}


@torch.no_grad()
def log_probs_of(policy: Policy, pairs: Pairs[Any], context: TrainingContext) -> NDArray[np.float64]:
    """(pairs,2) log-probabilities in nats of the chosen and the rejected answers."""
    found = np.zeros((len(pairs), 2))
    for rows in pairs.batches(context.settings.batch_size):
        answers = [*(pairs.pairs[row].chosen for row in rows), *(pairs.pairs[row].rejected for row in rows)]
        with autocast(context.device, context.settings.precision):
            values = policy.log_probs(to_device(policy.batch(answers), context.device))
        found[rows] = values.double().cpu().numpy().reshape(2, -1).T
    return found


class ThinkerPolicy:
    """A :class:`muomni_cli.api.Policy`: the Thinker of an omni model, whose encoders stay as they are."""

    unit = "tokens"

    def __init__(self, omni: OmniModel) -> None:
        for name, part in omni.named_children():
            if name != "thinker":
                part.requires_grad_(False)
        for layer in omni.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        self.module: nn.Module = omni
        self._thinker = omni.thinker
        self.blocks: Sequence[nn.Module] = list(omni.thinker.blocks)
        self.adamw_params = frozenset(f"thinker.{name}" for name in omni.thinker.embedding_params)

    def batch(self, answers: Sequence[Answer]) -> Batch:
        """Padded on the right: ``ids`` (2B,T), and for each of the N tokens of answers its ``targets`` id, the flat
        ``places`` index of the state that predicts it, and the ``owner``."""
        width = max(len(answer.ids) for answer in answers) - 1
        ids = np.zeros((len(answers), width), np.int64)
        targets, places = [], []
        for row, answer in enumerate(answers):
            ids[row, : len(answer.ids) - 1] = answer.ids[:-1]
            targets.append(answer.ids[answer.begin :].astype(np.int64))
            places.append(row * width + np.arange(answer.begin - 1, len(answer.ids) - 1))
        counts = [len(own) for own in targets]
        arrays = {
            "ids": ids,
            "targets": np.concatenate(targets),
            "places": np.concatenate(places),
            "owner": np.repeat(np.arange(len(answers)), counts),
            "counts": np.array(counts, np.float32),
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Batch(tensors, float(sum(counts)), ids.size)

    def log_probs(self, batch: Batch) -> Tensor:
        tensors, thinker = batch.tensors, self._thinker
        states = thinker.hidden(tensors["ids"]).flatten(0, 1)[tensors["places"]]
        nats = token_log_probs(states, thinker.head_weight, tensors["targets"])
        return torch.zeros_like(tensors["counts"]).index_add(0, tensors["owner"], nats)


def token_log_probs(states: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """(N,D) states, the (V,D) output head and (N,) ids -> (N,) log-probabilities in fp32, without ever holding the
    logits of more than a chunk of them."""

    def one(some: Tensor, weight: Tensor, wanted: Tensor) -> Tensor:
        return -F.cross_entropy(F.linear(some, weight).float(), wanted, reduction="none")

    size = max(1, CHUNK_LOGITS // len(weight))
    parts = [(states[begin : begin + size], targets[begin : begin + size]) for begin in range(0, len(states), size)]
    if len(parts) == 1 or not torch.is_grad_enabled():
        return torch.cat([one(some, weight, wanted) for some, wanted in parts])
    return torch.cat([checkpoint(one, some, weight, wanted, use_reentrant=False) for some, wanted in parts])

"""Joint tuning: a Thinker and its encoders learn to answer about what is shown, played and written.

Cross-entropy on the answers of conversations in which pictures and sounds stand before the text, as in LLaVA
(arXiv:2304.08485). Knows the Thinker's and the encoders' protocols, no part by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.contract.training import Batch, Loss, Sample
from muomni_cli.data.shares import sense_of
from muomni_cli.data.talks import Talk, Talks, open_talks
from muomni_cli.omni.model import Omni
from muomni_cli.training.cross_entropy import summed_cross_entropy
from muomni_cli.training.word_dropout import hide_words, share_of

if TYPE_CHECKING:
    from muomni_cli.training.context import TrainingContext

SAMPLES = 8
"""Validation conversations that are shown as samples."""


class Answering:
    """An :class:`muomni_cli.api.Objective`: the answers of ``[[data.omni]]``."""

    unit = "tokens"

    def __init__(self, omni: Omni, context: TrainingContext) -> None:
        self.module: nn.Module = omni
        self.omni = omni
        self._thinker = omni.thinker
        self.blocks: Sequence[nn.Module] = [
            block for part in (omni.thinker, *omni.encoders.values()) for block in getattr(part, "blocks", ())
        ]
        self.adam_only = frozenset(
            f"{name}.{table}"
            for name, part in (("thinker", omni.thinker), *((f"encoders.{m}", e) for m, e in omni.encoders.items()))
            for table in getattr(part, "tables", ())
        )
        self._settings = context.settings
        self._tokenizer = context.tokenizer()
        senses = {m: sense_of(chosen.registered, chosen.config) for m, chosen in context.recipe.encoders.items()}
        self._data = open_talks(context.recipe, self._tokenizer, senses, context.progress)
        context.report(self._data.validating)
        self._context = context

    def batch(self, step: int, micro: int) -> Batch:
        """Share ``micro`` of the step's conversations."""
        rows = self._data.train.draw(step, self._settings.batch_size)
        shares = self._settings.accumulate
        own = range(len(rows) * micro // shares, len(rows) * (micro + 1) // shares)
        talks = [self._data.train[rows[place]] for place in own]
        return self._collate(talks, [self._given(talk, step, place) for talk, place in zip(talks, own, strict=True)])

    def size(self, step: int) -> int:
        """Of the step's longest conversation, media included, which all others are padded to."""
        talks = self._data.train
        return max(talks.size(row) for row in talks.draw(step, self._settings.batch_size))

    def _given(self, talk: Talk, step: int, place: int) -> NDArray[np.int32]:
        """What the Thinker is shown of conversation ``place`` of a step, however the step is cut."""
        rng = np.random.default_rng((self._context.seed, step, place))
        share = share_of(self._settings.word_dropout, (modality for modality, _ in talk.media))
        return hide_words(talk.ids, talk.answer, share, self._tokenizer.specials, rng)

    def loss(self, batch: Batch) -> Loss:
        """Nats, summed over the tokens of the answers."""
        states, targets = self._states(batch), batch.tensors["targets"]
        return Loss(summed_cross_entropy(states, self._thinker.head_weight, targets))

    def validate(self) -> dict[str, float]:
        """``loss`` in nats a token, and for each source its ``loss_<source>`` and ``exact_<source>``: the share of
        conversations whose answers greedy decoding would give word for word."""
        names, talks = self._data.names, self._data.val
        nats, tokens = np.zeros(len(names)), np.zeros(len(names))
        right, count = np.zeros(len(names)), np.zeros(len(names))
        for rows in self._validation_rows(talks):
            batch = self._collate([talks[row] for row in rows])
            loss, exact = self._judge(batch, len(rows))
            for place, row in enumerate(rows):
                source = talks.sources[row]
                nats[source] += loss[place]
                tokens[source] += batch.host["answers"][place]
                right[source] += exact[place]
                count[source] += 1
        found = {"loss": float(nats.sum() / max(tokens.sum(), 1.0))}
        for source, name in enumerate(names):
            if count[source]:
                found[f"loss_{name}"] = float(nats[source] / max(tokens[source], 1.0))
                found[f"exact_{name}"] = float(right[source] / count[source])
        return found

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """Answers to a few validation conversations, beside the right ones; each token given the right ones before."""
        talks = self._data.val
        rows = np.linspace(0, len(talks) - 1, min(SAMPLES, len(talks))).astype(int).tolist()
        batch = self._collate([talks[row] for row in rows])
        with torch.no_grad():
            said = self._logits(batch).argmax(-1).tolist()
        text, begin = "", 0
        for place, row in enumerate(rows):
            end = begin + batch.host["answers"][place]
            wanted = batch.tensors["targets"][begin:end].tolist()
            asked = [token for token in talks[row].ids.tolist() if token >= 0]
            text += f"{self._tokenizer.decode(asked)}\n  right: {self._tokenizer.decode(wanted)}\n"
            text += f"  model: {self._tokenizer.decode(said[begin:end])}\n\n"
            begin = end
        yield Sample("answers.txt", text)

    # -- batches -------------------------------------------------------------------------------------------------------

    def _collate(self, chosen: Sequence[Talk], given: Sequence[NDArray[np.int32]] | None = None) -> Batch:
        """Conversations padded on the right, and their inputs; ``places`` are flat among the (B,T) tokens.

        ``given`` stands for the ids that the Thinker is shown, where those are not all.
        """
        width = max(len(talk.ids) for talk in chosen) - 1
        ids = np.zeros((len(chosen), width), np.int64)
        targets, places = [], []
        for place, talk in enumerate(chosen):
            ids[place, : len(talk.ids) - 1] = (given[place] if given else talk.ids)[:-1]
            learned = np.flatnonzero(talk.answer[1:])
            targets.append(talk.ids[1:][learned])
            places.append(place * width + learned)
        tensors = {
            "ids": torch.from_numpy(np.maximum(ids, 0)),
            "targets": torch.from_numpy(np.concatenate(targets).astype(np.int64)),
            "places": torch.from_numpy(np.concatenate(places).astype(np.int64)),
        }
        host: dict[str, Sequence[int]] = {"answers": [len(own) for own in targets]}
        for modality in self.omni.encoders:
            self._add_inputs(modality, chosen, ids, tensors, host)
        return Batch(tensors, weight=float(len(tensors["targets"])), items=sum(len(t.ids) for t in chosen), host=host)

    def _add_inputs(
        self,
        modality: str,
        chosen: Sequence[Talk],
        ids: Any,
        tensors: dict[str, Tensor],
        host: dict[str, Sequence[int]],
    ) -> None:
        """One modality's inputs, padded; which (input, token) stands at which place of the sequence."""
        inputs: list[NDArray[Any]] = []
        at, where = [], []
        for row, talk in enumerate(chosen):
            for number, (kind, index) in enumerate(talk.media):
                if kind == modality:
                    own = np.flatnonzero(ids[row] == -1 - number)
                    where.append(row * ids.shape[1] + own)
                    at.append(np.stack([np.full(len(own), len(inputs)), np.arange(len(own))]))
                    inputs.append(self._data.inputs[modality][index])
        if not inputs:
            return
        host[modality] = [len(one) for one in inputs]
        padded = np.zeros((len(inputs), max(host[modality]), *inputs[0].shape[1:]), inputs[0].dtype)
        for row, one in enumerate(inputs):
            padded[row, : len(one)] = one
        tensors[f"{modality}.inputs"] = torch.from_numpy(padded)
        tensors[f"{modality}.at"] = torch.from_numpy(np.concatenate(at, axis=1))  # (2,n): input, token
        tensors[f"{modality}.where"] = torch.from_numpy(np.concatenate(where))

    def _states(self, batch: Batch) -> Tensor:
        """(n,D) final states of the positions whose next token is an answer's."""
        tensors = batch.tensors
        rows, places = [], []
        for modality in self.omni.encoders:
            if f"{modality}.inputs" in tensors:
                tokens = self.omni.take_in(modality, tensors[f"{modality}.inputs"], batch.host[modality])
                row, place = tensors[f"{modality}.at"]
                rows.append(tokens[row, place])
                places.append(tensors[f"{modality}.where"])
        embeds = self.omni.embed(tensors["ids"], rows, places)
        states: Tensor = self._thinker.hidden(embeds=embeds).flatten(0, 1)
        return states[tensors["places"]]

    # -- judging -------------------------------------------------------------------------------------------------------

    def _validation_rows(self, talks: Talks) -> list[list[int]]:
        """All batches, or ``val_batches`` of them from the shortest to the longest conversations alike."""
        batches = list(talks.every(self._settings.batch_size))
        wanted = self._settings.val_batches or len(batches)
        if wanted >= len(batches):
            return batches
        return [batches[int(place)] for place in np.linspace(0, len(batches) - 1, wanted)]

    def _logits(self, batch: Batch) -> Tensor:
        device = self._thinker.head_weight.device
        moved = Batch({k: v.to(device) for k, v in batch.tensors.items()}, batch.weight, batch.items, batch.host)
        states = self._states(moved)
        logits: Tensor = states @ self._thinker.head_weight.to(states.dtype).T
        return logits.float()

    def _judge(self, batch: Batch, rows: int) -> tuple[list[float], list[bool]]:
        """Nats of each conversation's answers, and whether every token of them is the likeliest."""
        with torch.no_grad():
            logits = self._logits(batch)
        targets = batch.tensors["targets"].to(logits.device)
        owner = torch.repeat_interleave(torch.arange(rows), torch.tensor(batch.host["answers"])).to(logits.device)
        nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        wrong = (logits.argmax(-1) != targets).float()
        sums = partial(torch.zeros(rows, device=logits.device).index_add, 0, owner)
        return sums(nats).tolist(), (sums(wrong) == 0).tolist()

"""The objectives of a Thinker: next-token prediction on text, and joint tuning with encoders on conversations about
media.

Both compute the cross-entropy from hidden states in chunks, without ever holding all logits. Joint tuning trains on the
answers of conversations in which media precede the text, as in LLaVA (arXiv:2304.08485). Word dropout
(arXiv:1511.06349) replaces some answer tokens in the input, so that the Thinker relies on the media and not only on the
answer so far.

Shapes: B batch, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from muomni_cli.contract.models import Thinker
from muomni_cli.contract.training import Batch, Loss, Sample
from muomni_cli.data.batches import Window
from muomni_cli.data.conversations import OmniExample, open_omni_data
from muomni_cli.data.media import modality_of
from muomni_cli.data.text import ValidationText
from muomni_cli.nn.collectives import share, totals
from muomni_cli.omni import OmniModel
from muomni_cli.training.features import open_features
from muomni_cli.training.step import to_device

if TYPE_CHECKING:
    from muomni_cli.training.context import TrainingContext

IGNORED = -100  # target id that is excluded from the loss
CHUNK_LOGITS = 1 << 23  # logits per chunk: 32 MiB in fp32
SAMPLES = 8  # validation conversations per set of samples


class _SummedCrossEntropy(torch.autograd.Function):
    """Loss and gradients chunk by chunk, both in the forward pass, as in Liger (arXiv:2410.10989)."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight)
        for part in _chunks(len(hidden), len(weight)):
            states = hidden[part]
            logits = F.linear(states, weight).float()  # (N,V)
            counted = (targets[part] != IGNORED)[:, None].to(logits.dtype)  # (N,1)
            index = targets[part].clamp_min(0)[:, None]
            chosen = logits.gather(1, index)
            peak = logits.amax(1, keepdim=True)
            shares = logits.sub_(peak).exp_()  # in place; one exponential serves the loss and its gradient
            sums = shares.sum(1, keepdim=True)
            total += ((peak + sums.log() - chosen) * counted).sum()
            slope = shares.mul_(counted / sums).scatter_add_(1, index, -counted).to(states.dtype)
            grad_hidden[part] = slope @ weight.to(states.dtype)
            grad_weight += slope.t() @ states
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad.to(grad_hidden.dtype), grad_weight * grad.to(grad_weight.dtype), None


def _chunks(rows: int, vocab_size: int) -> Iterator[slice]:
    """Slices of rows with at most :data:`CHUNK_LOGITS` logits each."""
    size = max(1, CHUNK_LOGITS // vocab_size)
    return (slice(start, start + size) for start in range(0, rows, size))


def summed_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Loss in nats, summed over the targets that count, in fp32.

    Args:
        hidden: (..., D) states after the final norm.
        weight: (V,D) output head.
        targets: (...) ids; :data:`IGNORED` counts for nothing.
    """
    states, wanted = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1)
    if torch.is_grad_enabled():
        total: Tensor = _SummedCrossEntropy.apply(states, weight, wanted)  # type: ignore[no-untyped-call]
        return total
    total = states.new_zeros((), dtype=torch.float32)
    for part in _chunks(len(states), len(weight)):
        logits = F.linear(states[part], weight).float()
        total += F.cross_entropy(logits, wanted[part], ignore_index=IGNORED, reduction="sum")
    return total


class NextToken:
    """An :class:`muomni_cli.api.Objective`: next-token cross-entropy at every position of a window."""

    unit = "tokens"

    def __init__(self, thinker: Thinker, context: TrainingContext) -> None:
        assert isinstance(thinker, nn.Module)
        self.module: nn.Module = thinker
        self.blocks = list(thinker.blocks)
        self.adamw_params = frozenset(thinker.embedding_params)
        self._thinker, self._context = thinker, context
        self._settings = settings = context.settings
        data, tokenizer, length = context.text(), context.tokenizer(), int(thinker.config.ctx_len)
        self._windows = data.train.windows(length, context.seed)
        self._held_out = ValidationText(data.val, tokenizer, length, settings.batch_size, settings.val_batches)

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of the step's ``batch_size`` windows: ``ids`` and ``targets``, (B,T) each."""
        window = self._windows.batch(step, self._settings.batch_size)
        rows = len(window.tokens)
        shares = self._settings.accumulate
        return to_batch(window.tokens, window.mask, slice(rows * micro // shares, rows * (micro + 1) // shares))

    def loss(self, batch: Batch) -> Loss:
        return Loss(summed_loss(self._thinker, batch.tensors))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """See :meth:`muomni_cli.data.text.ValidationText.measure`."""
        device = self._thinker.head_weight.device

        def nats(window: Window) -> Tensor:
            batch = to_device(to_batch(window.tokens, window.mask), device)
            return summed_loss(self._thinker, batch.tensors).double()

        return self._held_out.measure(nats, share, totals)

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        prompts = list(self._settings.sample_prompts)
        texts = self._context.generate(self._thinker, prompts, self._settings.sample_tokens) if prompts else []
        for number, (prompt, text) in enumerate(zip(prompts, texts, strict=True), start=1):
            yield Sample(f"{number}.txt", f"{prompt}{text}\n")


def to_batch(tokens: NDArray[np.integer], mask: NDArray[np.generic], rows: slice = slice(None)) -> Batch:
    """(B,T+1) tokens and (B,T) loss mask -> the chosen rows as inputs and targets."""
    chosen = torch.from_numpy(tokens[rows].astype(np.int64))
    counted = mask[rows].astype(bool)
    targets = chosen[:, 1:].masked_fill(torch.from_numpy(~counted), IGNORED)
    ids = chosen[:, :-1].contiguous()
    return Batch({"ids": ids, "targets": targets}, weight=float(counted.sum()), items=ids.numel())


def summed_loss(thinker: Thinker, tensors: dict[str, Tensor]) -> Tensor:
    """Cross-entropy in fp32, summed over the unmasked targets."""
    return summed_cross_entropy(thinker.hidden(tensors["ids"]), thinker.head_weight, tensors["targets"])


def share_of(word_dropout: float | Mapping[str, float], modalities: Iterable[str]) -> float:
    """Word dropout for a conversation with these modalities: 0 without media, the largest if they differ."""
    if isinstance(word_dropout, Mapping):
        return max((word_dropout.get(modality, 0.0) for modality in modalities), default=0.0)
    return word_dropout if any(modalities) else 0.0


def hide_words(
    ids: NDArray[np.int32],
    answer: NDArray[np.bool_],
    share: float,
    specials: Mapping[str, int],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """A copy of ``ids`` (T,) with each answer token replaced by ``pad`` with probability ``share``; prompts, media (ids
    below 0) and turn markers are kept."""
    if not share:
        return ids
    words = answer & (ids >= 0) & ~np.isin(ids, list(specials.values()))
    hidden = words & (rng.random(len(ids)) < share)
    return np.where(hidden, np.int32(specials["pad"]), ids)


class AnswerTrace:
    """An :class:`muomni_cli.api.Objective`: cross-entropy on the answers of ``[[data.omni]]``."""

    unit = "tokens"

    def __init__(self, omni: OmniModel, context: TrainingContext) -> None:
        self.module: nn.Module = omni
        self.omni, self._thinker = omni, omni.thinker
        self.blocks: Sequence[nn.Module] = [
            block for part in (omni.thinker, *omni.encoders.values()) for block in getattr(part, "blocks", ())
        ]
        self.always_run: Sequence[nn.Module] = list(getattr(omni.thinker, "blocks", ()))
        self.adamw_params = frozenset(
            f"{name}.{table}"
            for name, part in (("thinker", omni.thinker), *((f"encoders.{m}", e) for m, e in omni.encoders.items()))
            for table in getattr(part, "embedding_params", ())
        )
        self._context, self._settings, self._tokenizer = context, context.settings, context.tokenizer()
        modalities = {m: modality_of(chosen.registered, chosen.config) for m, chosen in context.recipe.encoders.items()}
        self._data = open_omni_data(context.recipe, self._tokenizer, modalities, context.progress)
        self._data.train.sampler.drawn = context.drawn
        context.report(self._data.validating)
        self._inputs: dict[str, Sequence[NDArray[Any]]] = dict(self._data.inputs)
        self._features: set[str] = set()  # modalities whose inputs are the tokens of their encoder
        for name, inputs in self._data.inputs.items():
            fingerprint = self._data.fingerprint
            made = open_features(context.recipe, omni, name, inputs, fingerprint, context.device, context.progress)
            if made is not None:
                self._inputs[name] = made
                self._features.add(name)

    def batch(self, step: int, micro: int) -> Batch:
        rows = self._data.train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        conversations, given = [], []
        for place in range(len(rows) * micro // shares, len(rows) * (micro + 1) // shares):
            example = self._data.train[rows[place]]
            hidden = share_of(self._settings.word_dropout, (modality for modality, _ in example.media))
            rng = np.random.default_rng((self._context.seed, step, place))  # independent of micro-batching
            conversations.append(example)
            given.append(hide_words(example.ids, example.answer, hidden, self._tokenizer.specials, rng))
        return self._collate(conversations, given)

    def size(self, step: int) -> int:
        """Length of the step's longest conversation, media included; all others are padded to it."""
        conversations = self._data.train
        return max(conversations.size(row) for row in conversations.batch(step, self._settings.batch_size))

    def loss(self, batch: Batch) -> Loss:
        states, targets = self._states(batch), batch.tensors["targets"]
        return Loss(summed_cross_entropy(states, self._thinker.head_weight, targets))

    def validate(self) -> dict[str, float]:
        """``loss`` in nats per token; per source ``loss_<source>`` and ``exact_<source>``, the share of conversations
        whose answers greedy decoding reproduces exactly."""
        names, conversations = self._data.names, self._data.val
        batches = list(conversations.batches(self._settings.batch_size))
        wanted = self._settings.val_batches or len(batches)
        if wanted < len(batches):  # spread evenly over the lengths
            batches = [batches[int(place)] for place in np.linspace(0, len(batches) - 1, wanted)]
        sums = np.zeros((4, len(names)))
        nats, tokens, right, count = sums
        for rows in share(batches):
            batch = self._collate([conversations[row] for row in rows])
            logits = self._logits(batch)
            targets = batch.tensors["targets"].to(logits.device)
            owner = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(batch.host["answers"]))
            summed = partial(torch.zeros(len(rows), device=logits.device).index_add, 0, owner.to(logits.device))
            losses = summed(F.cross_entropy(logits, targets, reduction="none")).tolist()
            wrong = summed((logits.argmax(-1) != targets).float()).tolist()
            for place, row in enumerate(rows):
                source = conversations.sources[row]
                nats[source] += losses[place]
                tokens[source] += batch.host["answers"][place]
                right[source] += wrong[place] == 0
                count[source] += 1
        nats, tokens, right, count = np.array(totals(sums.ravel().tolist())).reshape(sums.shape)
        found = {"loss": float(nats.sum() / tokens.sum())}  # every conversation has a token to learn
        for source, name in enumerate(names):
            if count[source]:
                found[f"loss_{name}"] = float(nats[source] / tokens[source])
                found[f"exact_{name}"] = float(right[source] / count[source])
        return found

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """Teacher-forced answers to a few validation conversations, beside the references."""
        conversations = self._data.val
        rows = np.linspace(0, len(conversations) - 1, min(SAMPLES, len(conversations))).astype(int).tolist()
        batch = self._collate([conversations[row] for row in rows])
        predicted = self._logits(batch).argmax(-1).tolist()
        text, begin = "", 0
        for place, row in enumerate(rows):
            end = begin + batch.host["answers"][place]
            wanted = batch.tensors["targets"][begin:end].tolist()
            asked = [token for token in conversations[row].ids.tolist() if token >= 0]
            text += f"{self._tokenizer.decode(asked)}\n  right: {self._tokenizer.decode(wanted)}\n"
            text += f"  model: {self._tokenizer.decode(predicted[begin:end])}\n\n"
            begin = end
        yield Sample("answers.txt", text)

    def _collate(self, chosen: Sequence[OmniExample], given: Sequence[NDArray[np.int32]] | None = None) -> Batch:
        """Conversations padded on the right, and their media; ``places`` are flat indices into the (B,T) tokens.
        ``given``: input ids, where they differ from the examples'."""
        width = max(len(example.ids) for example in chosen) - 1
        ids = np.zeros((len(chosen), width), np.int64)
        targets, places = [], []
        for place, example in enumerate(chosen):
            ids[place, : len(example.ids) - 1] = (given[place] if given else example.ids)[:-1]
            learned = np.flatnonzero(example.answer[1:])
            targets.append(example.ids[1:][learned])
            places.append(place * width + learned)
        tensors = {
            "ids": torch.from_numpy(np.maximum(ids, 0)),
            "targets": torch.from_numpy(np.concatenate(targets).astype(np.int64)),
            "places": torch.from_numpy(np.concatenate(places).astype(np.int64)),
        }
        host: dict[str, Sequence[int]] = {"answers": [len(own) for own in targets]}
        for modality in self.omni.encoders:
            inputs: list[NDArray[Any]] = []
            at, where = [], []
            for row, example in enumerate(chosen):
                for number, (kind, index) in enumerate(example.media):
                    if kind == modality:
                        own = np.flatnonzero(ids[row] == -1 - number)
                        where.append(row * width + own)
                        at.append(np.stack([np.full(len(own), len(inputs)), np.arange(len(own))]))
                        inputs.append(self._inputs[modality][index])
            if inputs:
                host[modality] = [len(one) for one in inputs]
                padded = np.zeros((len(inputs), max(host[modality]), *inputs[0].shape[1:]), inputs[0].dtype)
                for row, one in enumerate(inputs):
                    padded[row, : len(one)] = one
                tensors[f"{modality}.inputs"] = torch.from_numpy(padded)
                tensors[f"{modality}.at"] = torch.from_numpy(np.concatenate(at, axis=1))  # (2,n): input, token
                tensors[f"{modality}.where"] = torch.from_numpy(np.concatenate(where))  # (n,): flat, in (B,T)
        return Batch(tensors, weight=float(len(tensors["targets"])), items=sum(len(t.ids) for t in chosen), host=host)

    def _states(self, batch: Batch) -> Tensor:
        """(n,D) final states that predict the answers' tokens."""
        tensors = batch.tensors
        rows, places = [], []
        for modality in self.omni.encoders:
            if f"{modality}.inputs" in tensors:
                given = tensors[f"{modality}.inputs"]
                if modality in self._features:
                    tokens = self.omni.projectors[modality](given)
                else:
                    tokens = self.omni.embed_media(modality, given, batch.host[modality])
                row, place = tensors[f"{modality}.at"]
                rows.append(tokens[row, place])
                places.append(tensors[f"{modality}.where"])
        embeds = self.omni.embed(tensors["ids"], rows, places)
        states: Tensor = self._thinker.hidden(embeds=embeds).flatten(0, 1)
        return states[tensors["places"]]

    @torch.no_grad()
    def _logits(self, batch: Batch) -> Tensor:
        states = self._states(to_device(batch, self._thinker.head_weight.device))
        logits: Tensor = states @ self._thinker.head_weight.to(states.dtype).T
        return logits.float()

"""Training heads of the encoder: classification, contrastive learning with the sigmoid loss of SigLIP
(arXiv:2303.15343), and byte-level captioning. The last two use a small transformer over bytes.

Shapes: B pictures, T tokens, W width, C classes, U distinct texts, L bytes with the end, P prefix positions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import RequestError
from muomni_vit.model import Vit
from muomni_vit.plugin import WordsConfig
from muomni_vit.runtime import END, HIDDEN, SPACE, SYMBOLS, AnswerMode, Matching, Naming, Writing, spelled

if TYPE_CHECKING:
    from muomni_cli.api import ExampleData, Examples

UNKNOWN = -1  # class of a label that is not in the training data: ignored by the loss, always counted as wrong
IGNORED = -100  # target after the end of a text

Rng = np.random.Generator | None
Weighted = tuple[dict[str, Tensor], float]  # targets and their number


def text_of(examples: Examples, row: int) -> str:
    """The text of a picture, or its label if it has none."""
    return examples.texts[row] or examples.labels[row] or ""


def symbols_of(texts: Sequence[str], longest: int) -> Tensor:
    return torch.from_numpy(spelled(texts, longest))


class Words(nn.Module):
    """A pre-norm transformer over bytes: (B,L) symbols -> (B,P+L,W), after a prefix of P vectors."""

    def __init__(self, config: WordsConfig, *, prefix: int = 0, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.embed = nn.Embedding(SYMBOLS, config.d_model)
        self.pos = nn.Parameter(torch.empty(1, prefix + config.longest + 1, config.d_model))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.d_model, config.n_heads, 4 * config.d_model, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(config.d_model)
        for table in (self.embed.weight, self.pos):
            nn.init.normal_(table, std=0.2)

    def forward(self, symbols: Tensor, prefix: Tensor | None = None, padding: Tensor | None = None) -> Tensor:
        """(B,L) -> (B,P+L,W). ``prefix`` (B,P,W) is visible to every byte; ``padding`` (B,L) bool, true for masked
        positions, is needed only if not causal."""
        x = self.embed(symbols)
        if prefix is not None:
            x = torch.cat((prefix.to(x.dtype), x), dim=1)
        places = x.shape[1]
        x = x + self.pos[:, :places]
        later = torch.ones(places, places, dtype=torch.bool, device=x.device).triu(1) if self.causal else None
        for block in self.blocks:
            x = block(x, src_mask=later, src_key_padding_mask=padding, is_causal=self.causal)
        return self.norm(x)  # type: ignore[no-any-return]


class VisionTask(nn.Module, ABC):
    """A training task on pictures, and the :class:`muomni_cli.contract.models.PredictorModule` that it trains."""

    measure: str  # name of the metric: the share of pictures for which right() holds
    adamw_params: frozenset[str]  # as in muomni_cli.api.Objective

    def __init__(self, encoder: Vit, answer_mode: AnswerMode) -> None:
        super().__init__()
        self.encoder = encoder
        self._answer_mode = answer_mode
        self.answer_modes, self.vocabulary = answer_mode.answer_modes, answer_mode.vocabulary
        self.expected = answer_mode.expected

    @abstractmethod
    def targets(self, examples: Examples, rows: Sequence[int], share: slice, rng: Rng) -> Weighted:
        """The targets of ``share`` of the step's ``rows``, and their number. ``rng`` draws for all rows of the step,
        whatever the share; None in validation."""

    @abstractmethod
    def scores(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """(B,T,W) tokens -> float32 scores, of a shape that depends on the task."""

    @abstractmethod
    def loss(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Nats, summed over the targets."""

    @abstractmethod
    def right(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """(B,) bool: the best score is the right one."""

    def said(self, tokens: Tensor, examples: Examples, rows: Sequence[int]) -> list[tuple[str, str]]:
        """The right answer and the model's answer for each picture."""
        texts = [text_of(examples, row) for row in rows]
        return list(zip(texts, self.answers_to(tokens, texts), strict=True))

    @torch.inference_mode()
    def answers(self, inputs: Sequence[NDArray[Any]], choices: Sequence[str] | None = None) -> list[str]:
        pictures = torch.from_numpy(np.stack(inputs)).to(self.encoder.cls.device)
        return self.answers_to(self.encoder(pictures).tokens, choices)

    @torch.no_grad()
    def answers_to(self, tokens: Tensor, choices: Sequence[str] | None = None) -> list[str]:
        """(B,T,W) tokens -> an answer to each picture."""

        def score(given: Mapping[str, NDArray[np.int64]]) -> NDArray[np.floating]:
            targets = {name: torch.from_numpy(symbols).to(tokens.device) for name, symbols in given.items()}
            scores: NDArray[np.floating] = self.scores(tokens, targets).cpu().numpy()
            return scores

        return self._answer_mode.said(score, len(tokens), choices)


class ClassificationTask(VisionTask):
    """One Linear on the mean of the tokens that the Thinker gets, so that these must contain what is learned."""

    measure = "accuracy"
    adamw_params = frozenset({"head.weight"})

    def __init__(self, encoder: Vit, classes: Sequence[str]) -> None:
        super().__init__(encoder, Naming(classes))
        self.classes = list(classes)
        self._places = {label: place for place, label in enumerate(self.classes)}
        self.smoothing = encoder.config.label_smoothing
        self.head = nn.Linear(encoder.width, len(self.classes))
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def targets(self, examples: Examples, rows: Sequence[int], share: slice, rng: Rng) -> Weighted:  # noqa: ARG002
        """``classes`` (B,), and the number of known ones."""
        classes = torch.tensor([self._places.get(examples.labels[row] or "", UNKNOWN) for row in rows[share]])
        return {"classes": classes}, float((classes != UNKNOWN).sum())

    def scores(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """(B,C)."""
        scores: Tensor = self.head(tokens.mean(1))
        return scores.float()

    def loss(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy, with label smoothing (arXiv:1512.00567) in training only, so validation stays comparable."""
        smoothing = self.smoothing if self.training else 0.0
        classes = targets["classes"]
        return F.cross_entropy(scores, classes, ignore_index=UNKNOWN, reduction="sum", label_smoothing=smoothing)

    def right(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        return scores.argmax(1) == targets["classes"]

    def said(self, tokens: Tensor, examples: Examples, rows: Sequence[int]) -> list[tuple[str, str]]:
        return list(zip([examples.labels[row] or "" for row in rows], self.answers_to(tokens), strict=True))


def classes_of(data: ExampleData) -> list[str]:
    """The sorted labels of the training pictures. Raises RequestError: a picture has no label, or all have the same."""
    if missing := sum(label is None for label in data.train.labels):
        raise RequestError(
            f"{missing:,} of {len(data.train):,} pictures have no label",
            'remove them, or set learn = "contrast" or "captions" to learn from their texts',
        )
    classes = sorted({label for label in data.train.labels if label is not None})
    if len(classes) < 2:
        raise RequestError(f"all pictures have the label {classes[0]!r}", "add pictures of another class")
    return classes


class ContrastiveTask(VisionTask):
    """Matches the mean of a picture's tokens with the mean of its text's states in a small byte-level transformer.
    Every picture is compared with the distinct texts of the whole step. So equal texts are never negatives, and
    micro-batches add up to exactly what one large batch gives."""

    measure = "retrieval"
    adamw_params = frozenset({"picture.weight", "text.weight"})

    def __init__(self, encoder: Vit) -> None:
        config = encoder.config.words
        super().__init__(encoder, Matching(config.longest))
        self.longest = config.longest
        self.words = Words(config)
        self.picture = nn.Linear(encoder.width, config.d_model)
        self.text = nn.Linear(config.d_model, config.d_model)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def targets(self, examples: Examples, rows: Sequence[int], share: slice, rng: Rng) -> Weighted:  # noqa: ARG002
        """``texts`` (U,L), the distinct ones of the whole step, and ``own`` (B,), the index of each picture's text."""
        places: dict[bytes, int] = {}
        texts = [text_of(examples, row) for row in rows]
        keys = [text.encode("utf-8")[: self.longest] for text in texts]
        own = [places.setdefault(key, len(places)) for key in keys]
        firsts = [texts[own.index(place)] for place in range(len(places))]
        return {"texts": symbols_of(firsts, self.longest), "own": torch.tensor(own[share])}, float(len(own[share]))

    def scores(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """(B,U): scaled cosine similarities of pictures and texts."""
        padding = past_the_end(targets["texts"])
        return self.match(tokens, mean_of(self.words(targets["texts"], padding=padding), padding))

    def match(self, tokens: Tensor, gist: Tensor) -> Tensor:
        """(B,T,W) tokens and (U,W) means of texts -> (B,U)."""
        pictures = F.normalize(self.picture(tokens.mean(1)).float(), dim=1)
        texts = F.normalize(self.text(gist).float(), dim=1)
        with torch.autocast(tokens.device.type, enabled=False):  # bfloat16 cannot separate similar texts
            return pictures @ texts.t() * self.log_scale.exp() + self.bias

    def loss(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Sigmoid loss over all pairs, in nats."""
        own = F.one_hot(targets["own"], scores.shape[1])
        nats: Tensor = -F.logsigmoid(scores * (2 * own - 1)).sum()
        return nats

    def right(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        return scores.argmax(1) == targets["own"]


def past_the_end(symbols: Tensor) -> Tensor:
    """(U,L) bool: true for padding; the first end symbol is none, so that an empty text has a mean too."""
    return (symbols == END).cumsum(1) > 1


def mean_of(states: Tensor, padding: Tensor) -> Tensor:
    """(U,L,W) -> (U,W): the mean without padding."""
    real = (~padding)[:, :, None].float()
    return (states * real).sum(1) / real.sum(1)


class CaptioningTask(VisionTask):
    """A small causal transformer continues a picture's tokens with the bytes of its text, as the Thinker will later."""

    measure = "exact"
    adamw_params = frozenset({"head.weight"})

    def __init__(self, encoder: Vit) -> None:
        config = encoder.config.words
        super().__init__(encoder, Writing(config.longest))
        self.longest, self.hidden = config.longest, config.hidden
        self.picture = nn.Linear(encoder.width, config.d_model)
        self.words = Words(config, prefix=encoder.config.token_count, causal=True)
        self.head = nn.Linear(config.d_model, END + 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def targets(self, examples: Examples, rows: Sequence[int], share: slice, rng: Rng) -> Weighted:
        """``given`` (B,L-1), the input bytes with some words hidden; ``symbols`` (B,L), the targets; and the number
        of targets."""
        symbols = symbols_of([text_of(examples, row) for row in rows[share]], self.longest)
        given = symbols[:, :-1]
        if rng is not None and self.hidden:
            chances = torch.from_numpy(rng.random((len(rows), 1 + self.longest))[share])
            words = (given == SPACE).cumsum(1)  # spaces stay visible
            given = given.masked_fill((chances.gather(1, words) < self.hidden) & (given != SPACE), HIDDEN)
        symbols = symbols.masked_fill(past_the_end(symbols), IGNORED)
        return {"given": given, "symbols": symbols}, float((symbols != IGNORED).sum())

    def scores(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """(B,L,257): scores of each byte and the end, given the picture and the bytes before."""
        states = self.words(targets["given"], self.picture(tokens))
        scores: Tensor = self.head(states[:, tokens.shape[1] - 1 :])
        return scores.float()

    def loss(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        symbols = targets["symbols"].flatten()
        return F.cross_entropy(scores.flatten(0, 1), symbols, ignore_index=IGNORED, reduction="sum")

    def right(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Greedy decoding would give the exact text: every byte is the likeliest one after the right ones."""
        symbols = targets["symbols"]
        return ((scores.argmax(2) == symbols) | (symbols == IGNORED)).all(1)

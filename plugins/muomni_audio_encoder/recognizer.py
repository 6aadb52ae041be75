"""The encoder with a CTC head (one linear layer from tokens to characters), its loss, and batched forced alignment.

Shapes: B batch, N samples, T tokens, W width, C classes, L characters of all rows together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_audio_encoder import ctc, model
from muomni_audio_encoder.ctc import BLANK, Alphabet, Mark, Spelled, align, marks, needed
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_audio_encoder.runtime import ANSWER_MODES, predictor_of, room_of, spelled, transcribe
from muomni_cli.api import CharSpan, Word


def alignments(scores: Tensor, lengths: Sequence[int], texts: Sequence[Sequence[int]]) -> list[list[Mark]]:
    """Forced alignment of each row's text, by torchaudio (faster on long texts) or else by
    :func:`muomni_audio_encoder.ctc.align`.

    Args:
        scores: (B,T,C) log-probabilities.
        lengths: tokens of each row without padding.
        texts: classes of each row's text.

    Raises:
        ValueError: a row has too few tokens for its text.
    """
    try:
        from torchaudio.functional import forced_align  # type: ignore[import-untyped]
    except (ImportError, OSError):  # OSError: built for another version of torch
        rows = zip(scores.cpu().numpy(), lengths, texts, strict=True)
        return [align(row[:length], text) for row, length, text in rows]
    found: list[list[Mark]] = []
    for row, length, text in zip(scores.float(), lengths, texts, strict=True):
        if needed(text) > length:
            raise ValueError(f"{length} tokens cannot say {len(text)} characters, {needed(text)} are needed")
        if not len(text):
            found.append([])
            continue
        targets = torch.tensor([list(text)], dtype=torch.int32, device=row.device)
        path = forced_align(row[None, :length].contiguous(), targets)[0][0].tolist()  # supports only batch size 1
        found.append(marks(path, path))
    return found


class Recognizer(nn.Module):
    """(B,N) waveforms -> (B,T,C) log-probabilities of characters and the blank. A
    :class:`muomni_cli.contract.models.Transcriber`, :class:`muomni_cli.contract.models.PredictorModule` and
    :class:`muomni_cli.contract.speech.Aligner`."""

    answer_modes = ANSWER_MODES
    vocabulary: Sequence[str] = ()

    def __init__(self, encoder: model.AudioEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.alphabet = Alphabet(encoder.config.characters)
        self.head = nn.Linear(encoder.width, self.alphabet.classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, waves: Tensor, lengths: Sequence[int] | None = None) -> tuple[Tensor, list[int]]:
        """(B,N) with ``lengths[b]`` samples each -> (B,T,C) float32, and the tokens of each row."""
        output = self.encoder(waves, lengths)
        return self.score(output.tokens), output.lengths

    def score(self, tokens: Tensor) -> Tensor:
        """(B,T,W) -> (B,T,C), in float32 even under autocast: the loss sums many small probabilities."""
        return F.log_softmax(self.head(tokens).float(), dim=-1)

    def spelled(self, marks: Iterable[Mark]) -> str:
        return spelled(self.alphabet, marks)

    @torch.inference_mode()
    def logits(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) samples -> (T,C) scores, in one pass."""
        waves = torch.from_numpy(np.array(wave, np.float32))[None].to(self.head.weight.device)
        scores: NDArray[np.float32] = self(waves)[0][0].cpu().numpy()
        return scores

    def words(self, inputs: NDArray[np.float32], *, beam: int = 0) -> Iterator[Word]:
        return self.stream([inputs], beam=beam)

    def stream(self, pieces: Iterable[NDArray[np.float32]], *, beam: int = 0) -> Iterator[Word]:
        return transcribe(self.encoder.config, self.logits, pieces, beam)

    def expected(self, text: str, label: str | None) -> str:  # noqa: ARG002
        return self.alphabet.decode(self.alphabet.encode(text))

    def answers(self, inputs: Sequence[NDArray[np.float32]], choices: Sequence[str] | None = None) -> list[str]:
        room = room_of(self.encoder.config)
        return predictor_of(self.alphabet, self.hear_all([room.around(wave) for wave in inputs]), choices)

    def align(self, inputs: Sequence[NDArray[np.float32]], texts: Sequence[str]) -> list[list[CharSpan] | None]:
        """Spans as in :mod:`muomni_audio_encoder.ctc`; silence before the first and after the last character is in
        none."""
        said = [self.alphabet.places(text) for text in texts]
        found: list[list[CharSpan] | None] = [None if row else [] for row in said]
        classes = [self.alphabet.classes_of(one.character for one in row) for row in said]
        tokens = [self.encoder.config.num_tokens(len(wave)) for wave in inputs]
        possible = [row for row in range(len(texts)) if 0 < needed(classes[row]) <= tokens[row]]
        heard = self.hear_all([inputs[row] for row in possible]) if possible else []
        for row, scores in zip(possible, heard, strict=True):
            found[row] = self._timed(scores, inputs[row], texts[row], said[row])
        return found

    def _timed(
        self, scores: NDArray[np.float32], wave: NDArray[np.float32], text: str, said: Sequence[Spelled]
    ) -> list[CharSpan]:
        config = self.encoder.config
        classes = self.alphabet.classes_of(one.character for one in said)
        # A token's convolutions are centered on the first of its frames, and a frame on its first sample.
        centers = ctc.places(scores, classes) * config.shortest / config.sample_rate
        spaces = np.array([one.character == " " for one in said])
        marked = np.array([not text[one.begin : one.end].isspace() for one in said])
        edges = ctc.edges(centers, spaces, marked, ctc.quiet(wave, config.sample_rate))
        spans: list[CharSpan] = []
        for one, (since, until) in zip(said, pairwise(edges.tolist()), strict=True):
            whole = spans.pop().start if spans and spans[-1].start_char == one.begin else since  # a ligature
            spans.append(CharSpan(one.begin, one.end, whole, until))
        return spans

    @torch.inference_mode()
    def hear_all(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """(N,) samples each -> (T,C) scores each, in one batch."""
        waves = torch.zeros(len(inputs), max(map(len, inputs)))
        for row, wave in zip(waves, inputs, strict=True):
            row[: len(wave)] = torch.from_numpy(np.array(wave, np.float32))
        scores, lengths = self(waves.to(self.head.weight.device), [len(wave) for wave in inputs])
        return [row[:length] for row, length in zip(scores.cpu().numpy(), lengths, strict=True)]


def build(config: AudioEncoderConfig) -> Recognizer:
    """A recognizer with random weights from torch's global generator."""
    return Recognizer(model.build(config))


def build_predictor(config: AudioEncoderConfig, head_metadata: Mapping[str, Any]) -> Recognizer:  # noqa: ARG001
    """:func:`build` with the signature of ``EncoderPart.predictor``."""
    return build(config)


def spelling_loss(scores: Tensor, lengths: Sequence[int], texts: Sequence[Sequence[int]]) -> Tensor:
    """The sum over rows of -log p(text) in nats. Texts that need more tokens than their row has count as 0.

    Args:
        scores: (B,T,C).
        lengths: tokens of each row without padding.
        texts: classes of each row's text.
    """
    targets = torch.tensor([symbol for text in texts for symbol in text], dtype=torch.long)
    return summed_loss(scores, lengths, targets.to(scores.device), [len(text) for text in texts])


def summed_loss(scores: Tensor, lengths: Sequence[int], targets: Tensor, sizes: Sequence[int]) -> Tensor:
    """:func:`spelling_loss` with all texts in one tensor (L,) on the scores' device, ``sizes[b]`` classes of row b."""
    return F.ctc_loss(
        scores.transpose(0, 1),
        targets,
        torch.tensor(lengths),
        torch.tensor(sizes),
        blank=BLANK,
        reduction="sum",
        zero_infinity=True,
    )

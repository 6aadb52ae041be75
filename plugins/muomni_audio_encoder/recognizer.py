"""The encoder with a CTC head (one linear layer from tokens to characters), its loss, and batched forced alignment.

Shapes: B batch, N samples, T tokens, W width, C classes, L characters of all rows together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_audio_encoder import model
from muomni_audio_encoder.ctc import BLANK, Alphabet, Mark, align, marks, needed
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_audio_encoder.runtime import Transcription


def alignments(scores: Tensor, lengths: Sequence[int], texts: Sequence[Sequence[int]]) -> list[list[Mark]]:
    """Forced alignment of each row's text, by torchaudio (faster on long texts) or else by
    :func:`muomni_audio_encoder.ctc.align`. Raises ValueError: a row has too few tokens for its text.

    Args:
        scores: (B,T,C) log-probabilities.
        lengths: tokens of each row without padding.
        texts: classes of each row's text.
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


def padded(waves: Sequence[NDArray[np.float32]]) -> Tensor:
    """(N,) samples each -> (B,N), padded with silence."""
    rows = np.zeros((len(waves), max(map(len, waves))), np.float32)
    for row, wave in zip(rows, waves, strict=True):
        row[: len(wave)] = wave
    return torch.from_numpy(rows)


class Recognizer(nn.Module, Transcription):
    """(B,N) waveforms -> (B,T,C) log-probabilities of characters and the blank. Also a
    :class:`muomni_cli.contract.models.PredictorModule`."""

    def __init__(self, encoder: model.AudioEncoder) -> None:
        super().__init__()
        self.encoder, self.config = encoder, encoder.config
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

    def logits(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.hear_all([wave])[0]

    @torch.inference_mode()
    def hear_all(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """(N,) samples each -> (T,C) scores each, in one batch."""
        scores, lengths = self(padded(inputs).to(self.head.weight.device), [len(wave) for wave in inputs])
        return [row[:length] for row, length in zip(scores.cpu().numpy(), lengths, strict=True)]


def build(config: AudioEncoderConfig) -> Recognizer:
    """A recognizer with random weights from torch's global generator."""
    return Recognizer(model.build(config))


def build_predictor(config: AudioEncoderConfig, head_metadata: Mapping[str, Any]) -> Recognizer:  # noqa: ARG001
    """:func:`build` with the signature of ``EncoderPart.predictor``."""
    return build(config)


def spelling_loss(scores: Tensor, lengths: Sequence[int], texts: Sequence[Sequence[int]]) -> Tensor:
    """(B,T,C) scores of ``lengths[b]`` tokens -> the sum over rows of -log p(text) in nats. Texts that need more tokens
    than their row has count as 0."""
    return summed_loss(scores, lengths, flat(texts).to(scores.device), [len(text) for text in texts])


def flat(texts: Sequence[Sequence[int]]) -> Tensor:
    """(L,) concatenated classes of all texts."""
    return torch.tensor([symbol for text in texts for symbol in text], dtype=torch.long)


def summed_loss(scores: Tensor, lengths: Sequence[int], targets: Tensor, sizes: Sequence[int]) -> Tensor:
    """:func:`spelling_loss` with all texts in one tensor (L,) on the scores' device, ``sizes[b]`` classes of row b."""
    tokens, symbols = torch.tensor(lengths), torch.tensor(sizes)
    return F.ctc_loss(scores.transpose(0, 1), targets, tokens, symbols, BLANK, reduction="sum", zero_infinity=True)

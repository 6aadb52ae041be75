"""The encoder with a CTC head (one linear layer from tokens to characters), its loss, and forced alignment of many
sounds.

:func:`muomni_audio_encoder.ctc.align` computes the same alignment as :func:`alignments`; torchaudio's C++ is faster on
long texts.

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
from muomni_audio_encoder.config import AudioEncoderConfig
from muomni_audio_encoder.ctc import BLANK, Alphabet, Mark, Spelled, align, marks, needed
from muomni_audio_encoder.runtime import ANSWER_MODES, predictor_of, room_of, spelled, transcribe, wanted_of
from muomni_cli.api import CharSpan, Word


def alignments(scores: Tensor, lengths: Sequence[int], texts: Sequence[Sequence[int]]) -> list[list[Mark]]:
    """The likeliest way to say each row's text: a mark a character. In plain numpy where torchaudio cannot be imported.

    Args:
        scores: (B,T,C) log-probabilities.
        lengths: real tokens of each row.
        texts: classes of each row's text.

    Raises:
        ValueError: a row has too few tokens to say its text in.
    """
    try:
        from torchaudio.functional import forced_align  # type: ignore[import-untyped]
    except (ImportError, OSError):  # OSError: it was built for another torch
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
        path = forced_align(row[None, :length].contiguous(), targets)[0][0].tolist()  # it takes one sound at a time
        found.append(marks(path, path))
    return found


class Recognizer(nn.Module):
    """(B,N) waveforms -> (B,T,C) log-probabilities of the characters of the encoder's alphabet and the blank. A
    :class:`muomni_cli.contract.models.Transcriber`, an :class:`muomni_cli.contract.models.PredictorModule` and an
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
        """(B,N), with ``lengths[b]`` real samples each -> (B,T,C) float32, and how many tokens of each row are real."""
        output = self.encoder(waves, lengths)
        return self.score(output.tokens), output.lengths

    def score(self, tokens: Tensor) -> Tensor:
        """(B,T,W) -> (B,T,C), in float32 even under autocast: the loss adds up many small probabilities."""
        return F.log_softmax(self.head(tokens).float(), dim=-1)

    def spelled(self, marks: Iterable[Mark]) -> str:
        """The text of marks, as the alphabet spells it: no spaces at its ends, nor two in a row."""
        return spelled(self.alphabet, marks)

    @torch.inference_mode()
    def logits(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) samples -> (T,C) scores of one sound, heard in one go."""
        waves = torch.from_numpy(np.array(wave, np.float32))[None].to(self.head.weight.device)
        scores: NDArray[np.float32] = self(waves)[0][0].cpu().numpy()
        return scores

    def words(self, inputs: NDArray[np.float32], *, beam: int = 0) -> Iterator[Word]:
        return self.stream([inputs], beam=beam)

    def stream(self, pieces: Iterable[NDArray[np.float32]], *, beam: int = 0) -> Iterator[Word]:
        return transcribe(self.encoder.config, self.logits, pieces, beam)

    def expected(self, text: str, label: str | None) -> str:  # noqa: ARG002
        """The text, in the alphabet's characters."""
        return wanted_of(self.alphabet, text)

    def answers(self, inputs: Sequence[NDArray[np.float32]], choices: Sequence[str] | None = None) -> list[str]:
        """Greedy transcripts, or the likeliest of ``choices``, over all the ways to say each."""
        room = room_of(self.encoder.config)
        return predictor_of(self.alphabet, self.hear_all([room.around(wave) for wave in inputs]), choices)

    def align(self, inputs: Sequence[NDArray[np.float32]], texts: Sequence[str]) -> list[list[CharSpan] | None]:
        """See :class:`muomni_cli.contract.speech.Aligner`. A space takes no time unless there is a pause; the
        silence before the first and after the last character is in no span."""
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
        # A token's convolutions are centred on the first of its frames, and a frame on its first sample.
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
        """(N,) samples each -> (T,C) scores each, heard side by side."""
        waves = torch.zeros(len(inputs), max(map(len, inputs)))
        for row, wave in zip(waves, inputs, strict=True):
            row[: len(wave)] = torch.from_numpy(np.array(wave, np.float32))
        scores, lengths = self(waves.to(self.head.weight.device), [len(wave) for wave in inputs])
        return [row[:length] for row, length in zip(scores.cpu().numpy(), lengths, strict=True)]


def build(config: AudioEncoderConfig) -> Recognizer:
    """An encoder with its head, with fresh weights from torch's global random numbers."""
    return Recognizer(model.build(config))


def build_predictor(config: AudioEncoderConfig, head_metadata: Mapping[str, Any]) -> Recognizer:  # noqa: ARG001
    """:func:`build`, as ``EncoderPart.predictor``: all that the head must know is in the config."""
    return build(config)


def spelling_loss(scores: Tensor, lengths: Sequence[int], texts: Sequence[Sequence[int]]) -> Tensor:
    """The sum over rows of -log p(text), a scalar in nats.

    Args:
        scores: (B,T,C).
        lengths: real tokens of each row.
        texts: classes of each row's text. One that needs more tokens than its row has (see
            :func:`muomni_audio_encoder.ctc.needed`) cannot be said and counts as nothing.
    """
    targets = torch.tensor([symbol for text in texts for symbol in text], dtype=torch.long)
    return summed_loss(scores, lengths, targets.to(scores.device), [len(text) for text in texts])


def summed_loss(scores: Tensor, lengths: Sequence[int], targets: Tensor, sizes: Sequence[int]) -> Tensor:
    """:func:`spelling_loss` with all texts in one tensor on the scores' device: (L,) classes, ``sizes[b]`` of row b."""
    return F.ctc_loss(
        scores.transpose(0, 1),
        targets,
        torch.tensor(lengths),
        torch.tensor(sizes),
        blank=BLANK,
        reduction="sum",
        zero_infinity=True,
    )

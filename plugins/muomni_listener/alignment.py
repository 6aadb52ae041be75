"""When each character of known texts was said, for many sounds. The only file that wants torchaudio.

:func:`muomni_listener.ctc.align` says the same; torchaudio's C++ is faster on long texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from muomni_listener.ctc import Mark, align, marks, needed


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

"""A tokenizer with tokens for the most frequent words, and bytes for the rest. A word includes the space before it, so
that decoding is lossless."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from muomni_cli.api import RequestError
from muomni_newpart.config import NewpartConfig

SPECIALS: Mapping[str, int] = MappingProxyType({"pad": 0, "bos": 1, "eos": 2, "system": 3, "user": 4, "assistant": 5})
FIRST = len(SPECIALS)
"""Id of byte 0; words come after the bytes."""

FILE = "words.json"
PIECE = re.compile(r" ?[^\W\d_]+|[\W\d_]")


class Newpart:
    """A :class:`muomni_cli.api.Tokenizer`."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._ids = {word: FIRST + 256 + place for place, word in enumerate(self._words)}
        self._bytes = [b""] * FIRST + [bytes([byte]) for byte in range(256)] + [word.encode() for word in self._words]

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    @property
    def specials(self) -> Mapping[str, int]:
        return SPECIALS

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in PIECE.findall(text):
            known = self._ids.get(piece)
            ids += [known] if known is not None else [FIRST + byte for byte in _utf8(piece)]
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.token_bytes(token) for token in ids).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token; none for special tokens."""
        if not 0 <= token < len(self._bytes):
            raise RequestError(
                f"token id {token} is outside the vocabulary of {self.vocab_size}", "use the matching model"
            )
        return self._bytes[token]

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(json.dumps(self._words, ensure_ascii=False), encoding="utf-8")


def _utf8(piece: str) -> bytes:
    try:
        return piece.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError("the text contains a lone surrogate", "decode it correctly at its source") from error


def learn(config: NewpartConfig, texts: Iterator[str]) -> Newpart:
    """Train on texts: the most frequent words, ties in alphabetical order."""
    counts = Counter(piece for text in texts for piece in PIECE.findall(text) if len(piece) > 1)
    common = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return Newpart([word for word, _ in common[: config.words]])


def load(config: NewpartConfig, folder: Path) -> Newpart:  # noqa: ARG001 - the signature of every tokenizer
    """Load what :meth:`Newpart.save` wrote."""
    try:
        return Newpart(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RequestError(f"{folder / FILE} cannot be read: {error}", "train the tokenizer again") from error

"""One token a byte: the baseline that needs no training and no file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from muomni_text.config import BytesConfig
from muomni_text.table import SPECIALS, SPELLING, ByteTable, not_unicode, spelt, write_file

FIRST = len(SPECIALS)
"""Id of byte 0."""


class ByteTokenizer(ByteTable):
    """Id = 6 + byte."""

    def __init__(self) -> None:
        super().__init__([b""] * FIRST + [bytes([byte]) for byte in range(256)])

    def encode(self, text: str) -> list[int]:
        try:
            return [FIRST + byte for byte in text.encode("utf-8")]
        except UnicodeEncodeError as error:
            raise not_unicode([text]) from error

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def save(self, folder: Path) -> None:
        """Write the same table as a ``tokenizer.json`` (a BPE without merges), for programs that read only those."""
        vocabulary = {spelt(name): token for name, token in SPECIALS.items()}
        vocabulary |= {character: FIRST + byte for byte, character in enumerate(SPELLING)}
        inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        inner.add_special_tokens([spelt(name) for name in SPECIALS])
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        inner.decoder = decoders.ByteLevel()
        write_file(folder, inner.to_str(pretty=True))


def load(config: BytesConfig, folder: Path) -> ByteTokenizer:  # noqa: ARG001 (the signature of every tokenizer)
    """The one byte tokenizer there is."""
    return ByteTokenizer()


def learn(config: BytesConfig, texts: Iterator[str]) -> ByteTokenizer:  # noqa: ARG001 (the signature of every tokenizer)
    """The one byte tokenizer there is; reads no text."""
    return ByteTokenizer()

"""The token table that both tokenizers share, its file, and the tokenizer with one token per byte.

The file is a ``tokenizer.json`` of Hugging Face ``tokenizers``, which spells each byte as one printable character of
GPT-2's alphabet :data:`SPELLING`: visible Latin-1 characters by themselves, others by those from U+0100 on, in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from muomni_cli.api import RequestError, files
from muomni_text.plugin import BytesConfig

FILE = "tokenizer.json"
SPECIALS: Mapping[str, int] = {"pad": 0, "bos": 1, "eos": 2, "system": 3, "user": 4, "assistant": 5}
FIRST = len(SPECIALS)  # id of byte 0

_VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_HIDDEN = [byte for byte in range(256) if byte not in _VISIBLE]
SPELLING = [chr(byte if byte in _VISIBLE else 0x100 + _HIDDEN.index(byte)) for byte in range(256)]
BYTE_OF = {character: byte for byte, character in enumerate(SPELLING)}


def spelt(name: str) -> str:
    """The special token ``name`` in the file; text with the same characters never becomes its id."""
    return f"<|{name}|>"


class ByteTable:
    """Ids back to text, by the bytes of each id (none for the special tokens)."""

    specials = SPECIALS

    def __init__(self, table: Sequence[bytes]) -> None:
        self._table, self.vocab_size = tuple(table), len(table)

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; none for special tokens."""
        return self._table[self._checked(token)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``, without special tokens; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self._table[self._checked(token)] for token in ids).decode("utf-8", errors="replace")

    def _checked(self, token: int) -> int:
        if not 0 <= token < len(self._table):
            raise RequestError(
                f"token id {token} is outside the vocabulary of {len(self._table)}",
                "use the tokenizer that these ids were made with",
            )
        return token


def not_unicode(texts: Sequence[str]) -> RequestError:
    """The error for the first of ``texts`` with an unpaired surrogate, which UTF-8 cannot encode."""
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return RequestError(
                f"character {error.start} of the text is U+{ord(text[error.start]):04X}, half of a surrogate pair",
                "decode the text correctly at its source, or replace such characters",
            )
    raise ValueError("every text is valid Unicode")


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
        """Write the same table as a BPE without merges, for programs that read ``tokenizer.json``."""
        vocabulary = {spelt(name): token for name, token in SPECIALS.items()}
        vocabulary |= {character: FIRST + byte for byte, character in enumerate(SPELLING)}
        inner = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        inner.add_special_tokens([spelt(name) for name in SPECIALS])
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        inner.decoder = decoders.ByteLevel()
        files.write_text(folder / FILE, inner.to_str(pretty=True))


def load(config: BytesConfig, source: Path | Iterator[str]) -> ByteTokenizer:  # noqa: ARG001 (of every tokenizer)
    """Reads no file, and learns nothing from text."""
    return ByteTokenizer()


learn = load

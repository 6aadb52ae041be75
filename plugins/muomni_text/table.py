"""What both tokenizers share: a table id -> bytes whose first rows are the special tokens, and the file it is kept in.

The file is the ``tokenizer.json`` of Hugging Face ``tokenizers``, which knows no bytes: it spells each byte as one
printable character. :data:`SPELLING` is that alphabet (the one of GPT-2): a byte that is a visible Latin-1 character
is spelt by itself, the others by the characters from U+0100 on, in order.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from muomni_cli.api import RequestError

SPECIALS: Mapping[str, int] = {"pad": 0, "bos": 1, "eos": 2, "system": 3, "user": 4, "assistant": 5}
FILE = "tokenizer.json"


def spelt(name: str) -> str:
    """How the special token ``name`` is written in the file; text that says the same is never turned into its id."""
    return f"<|{name}|>"


def _spelling() -> list[str]:
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    spelling = {byte: chr(byte) for byte in visible} | {byte: chr(0x100 + i) for i, byte in enumerate(hidden)}
    return [spelling[byte] for byte in range(256)]


SPELLING: Sequence[str] = _spelling()
_BYTE_OF = {character: byte for byte, character in enumerate(SPELLING)}


def unspell(token: str) -> bytes:
    """Bytes that a token of the file stands for.

    Raises:
        KeyError: a character outside the alphabet.
    """
    return bytes(_BYTE_OF[character] for character in token)


class ByteTable:
    """Ids back to text, by a table of what each id stands for (nothing, for the special tokens)."""

    def __init__(self, table: Sequence[bytes]) -> None:
        self._table = tuple(table)

    @property
    def vocab_size(self) -> int:
        return len(self._table)

    @property
    def specials(self) -> Mapping[str, int]:
        return SPECIALS

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one token stands for; empty for special tokens."""
        return self._table[self._checked(token)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``; special tokens give nothing, bytes that are not UTF-8 give U+FFFD."""
        return b"".join(self._table[self._checked(token)] for token in ids).decode("utf-8", errors="replace")

    def _checked(self, token: int) -> int:
        if not 0 <= token < len(self._table):
            raise RequestError(
                f"token id {token} is outside the vocabulary of {len(self._table)}",
                "use the tokenizer that these ids were made with",
            )
        return token


def not_unicode(texts: Sequence[str]) -> RequestError:
    """The error for the first of ``texts`` that holds half of a surrogate pair, which no UTF-8 can carry."""
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return RequestError(
                f"character {error.start} of the text is U+{ord(text[error.start]):04X}, half of a surrogate pair",
                "decode the text correctly at its source, or replace such characters",
            )
    raise ValueError("every text is valid Unicode")


def write_file(folder: Path, content: str) -> None:
    """Write ``tokenizer.json`` into ``folder`` (made if it is not there), whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{FILE}.{os.getpid()}"
    partial.write_text(content, encoding="utf-8")
    partial.replace(folder / FILE)

"""Byte-level byte pair encoding (Sennrich et al., arXiv 1508.07909), learned and applied by HF ``tokenizers``.

Text is cut into words, numbers and runs of signs; within those, frequent neighbours are merged. Nothing is normalised
and every byte has an entry, so any text comes back byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from muomni_cli.api import RequestError
from muomni_text.byte_level import FILE, SPECIALS, ByteTable, not_unicode, spelt, unspell, write_file
from muomni_text.config import BPEConfig

PIECE = 1 << 16
"""Characters handed to the trainer at a time: it buffers a few hundred such pieces."""


class BPETokenizer(ByteTable):
    """A learned vocabulary.

    Args:
        inner: a byte-level BPE with the special tokens at their ids.
    """

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        # HF finds special tokens in plain text unless told to encode them like any other words; the file cannot say so.
        inner.encode_special_tokens = True
        self._inner = inner
        super().__init__(_table(inner))

    def encode(self, text: str) -> list[int]:
        try:
            return self._inner.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise not_unicode([text]) from error

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, on all cores."""
        try:
            encoded = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise not_unicode(texts) from error
        return [one.ids for one in encoded]

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json``, which HF ``tokenizers`` opens as it is."""
        write_file(folder, self._inner.to_str(pretty=True))


def _table(inner: tokenizers.Tokenizer) -> list[bytes]:
    """What each id stands for.

    Raises:
        ValueError: special tokens elsewhere, an id that is not there, or a token not spelt in bytes.
    """
    for name, token in SPECIALS.items():
        if inner.id_to_token(token) != spelt(name):
            raise ValueError(f"id {token} is not {spelt(name)}")
    table = [b""] * len(SPECIALS)
    for token in range(len(SPECIALS), inner.get_vocab_size()):
        spelling = inner.id_to_token(token)
        if spelling is None:
            raise ValueError(f"id {token} is not there")
        try:
            table.append(unspell(spelling))
        except KeyError:
            raise ValueError(f"token {spelling!r} is not spelt in bytes") from None
    missing = {bytes([byte]) for byte in range(256)}.difference(table)
    if missing:
        raise ValueError(f"{len(missing)} bytes have no token")
    return table


def load(config: BPEConfig, folder: Path) -> BPETokenizer:
    """Open what :meth:`BPETokenizer.save` wrote.

    Raises:
        RequestError: no file, a broken one, or one of a larger vocabulary than the recipe says.
    """
    path = folder / FILE
    if not path.is_file():
        raise RequestError(f"there is no tokenizer in {folder}", "make one with `muomni train tokenizer RECIPE`")
    try:
        tokenizer = BPETokenizer(tokenizers.Tokenizer.from_file(str(path)))
    except Exception as error:  # HF raises bare Exception for every kind of broken file
        raise RequestError(
            f"{path} cannot be used as a byte-level BPE: {str(error).splitlines()[0]}",
            "make it again with `muomni train tokenizer RECIPE`",
        ) from error
    if tokenizer.vocab_size > config.vocab_size:
        raise RequestError(
            f"{path} has {tokenizer.vocab_size} entries but the recipe says vocab_size = {config.vocab_size}",
            f"set tokenizer.vocab_size={tokenizer.vocab_size}, or make it again with `muomni train tokenizer RECIPE`",
        )
    return tokenizer


def learn(config: BPEConfig, texts: Iterator[str]) -> BPETokenizer:
    """Learn merges from ``texts``; memory grows with the number of different words, not with the text.

    A text that is too small for ``vocab_size`` gives a smaller vocabulary: rows that no text can ever reach would be
    dead weight in the embedding table and in every softmax.
    """
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_words(config.single_digits)), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        max_token_length=config.max_token_bytes,
        special_tokens=[spelt(name) for name in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(_pieces(texts), trainer)
    return BPETokenizer(inner)


def _words(single_digits: bool) -> str:
    """The expression whose matches are merged within: endings like 's, words, numbers, signs, white space.

    A word, number or sign takes the one space before it. No match holds both letters and signs, so no merge can spell
    a special token.
    """
    number = r" ?\p{N}" if single_digits else r" ?\p{N}+"
    ending = r"['\u2019](?:[sdmt]|ll|re|ve)\b"
    return rf"{ending}| ?[\p{{L}}\p{{M}}]+|{number}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+|\s*[\r\n]+|\s+(?!\S)|\s+"


def _pieces(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE]
            if not piece.isascii():
                _check(piece)
            yield piece


def _check(piece: str) -> None:
    try:
        piece.encode("utf-8")
    except UnicodeEncodeError as error:
        raise not_unicode([piece]) from error

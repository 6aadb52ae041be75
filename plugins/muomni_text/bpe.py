"""Byte-level byte pair encoding (Sennrich et al., arXiv:1508.07909) on HF ``tokenizers``.

Text is split into words, numbers and runs of punctuation, within which frequent neighbors are merged. Nothing is
normalized and every byte has a token, so any text is restored byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from muomni_cli.api import RequestError, files
from muomni_text.byte_level import BYTE_OF, FILE, SPECIALS, ByteTable, not_unicode, spelt
from muomni_text.plugin import BPEConfig

QWEN2 = (  # as in its tokenizer.json
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PIECE = 1 << 16  # characters per piece for the trainer, which buffers a few hundred


class BPETokenizer(ByteTable):
    """A byte-level BPE with the special tokens at their ids."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        # Otherwise HF finds special tokens in plain text; the file has no setting for it.
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
        """Write a ``tokenizer.json`` for HF ``tokenizers``."""
        files.write_text(folder / FILE, self._inner.to_str(pretty=True))


def _table(inner: tokenizers.Tokenizer) -> list[bytes]:
    """The bytes of each token. ValueError if special tokens, ids or bytes are missing, or a token is not spelled in
    bytes."""
    for name, token in SPECIALS.items():
        if inner.id_to_token(token) != spelt(name):
            raise ValueError(f"id {token} is not {spelt(name)}")
    table = [b""] * len(SPECIALS)
    for token in range(len(SPECIALS), inner.get_vocab_size()):
        spelling = inner.id_to_token(token)
        if spelling is None:
            raise ValueError(f"id {token} is missing")
        try:
            table.append(bytes(BYTE_OF[character] for character in spelling))
        except KeyError:
            raise ValueError(f"token {spelling!r} is not spelled in bytes") from None
    missing = {bytes([byte]) for byte in range(256)}.difference(table)
    if missing:
        raise ValueError(f"{len(missing)} bytes have no token")
    return table


def load(config: BPEConfig, folder: Path) -> BPETokenizer:
    """Open what :meth:`BPETokenizer.save` wrote. RequestError if the file is missing or broken, or its vocabulary is
    larger than the recipe's."""
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
    """Learn merges from ``texts``; memory grows with the number of distinct words, not with the text.

    Too little text gives a smaller vocabulary than ``vocab_size``: unreachable rows would be dead weight in the
    embedding table and in every softmax.
    """
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = _splitter(config)
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


def _splitter(config: BPEConfig) -> pre_tokenizers.PreTokenizer:
    """What cuts text into pieces to merge within. No piece mixes letters with more than one sign before them, so no
    merge can spell a special token."""
    if config.pattern == "gpt2":
        words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        digits = [pre_tokenizers.Digits(individual_digits=True)] if config.single_digits else []
        return pre_tokenizers.Sequence([*digits, words]) if digits else words
    pattern = QWEN2
    if config.pattern == "muomni":
        # a word, number or run of punctuation takes the one space before it
        contraction, number = r"['\u2019](?:[sdmt]|ll|re|ve)\b", r" ?\p{N}" if config.single_digits else r" ?\p{N}+"
        pattern = rf"{contraction}| ?[\p{{L}}\p{{M}}]+|{number}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _pieces(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE]
            try:
                piece.encode("utf-8")
            except UnicodeEncodeError as error:
                raise not_unicode([piece]) from error
            yield piece

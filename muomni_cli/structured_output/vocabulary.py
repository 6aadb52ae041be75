"""A tokenizer's vocabulary as bytes: what llguidance needs of it, and the fewest tokens that spell given bytes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from weakref import ref

import numpy as np

from muomni_cli.contract.models import Tokenizer

LONGEST_TOKEN = 64  # bytes; longer tokens are not used to spell


class FormVocabulary:
    """The bytes of each token. Special tokens are no text; ``eos`` alone can be chosen, where a form is complete.

    Any tokenizer can be used whose ``token_bytes`` are exact and which has a token for each single byte that the form
    needs. Where a form leaves no choice, the tokens are those of ``encode``, as in training. The tokenizer is not kept
    alive. ``llguidance.TokenizerWrapper`` prescribes the names of some attributes.

    Args:
        tokenizer: of V tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        specials = tokenizer.specials
        special = set(specials.values())
        spelled = [b"" if one in special else tokenizer.token_bytes(one) for one in range(tokenizer.vocab_size)]
        self.eos_token_id = specials["eos"]
        self.bos_token_id = specials.get("bos", self.eos_token_id)
        # llguidance tells special tokens from text by a first byte that UTF-8 never has
        self.tokens = [piece or b"\xff<|%d|>" % token for token, piece in enumerate(spelled)]
        self.special_token_ids = [token for token, piece in enumerate(spelled) if not piece]
        self.usable = np.array([bool(piece) for piece in spelled])
        """(V,) bool: tokens that can be chosen."""
        self.usable[self.eos_token_id] = True
        self.ids: dict[bytes, int] = {}
        for token, piece in enumerate(spelled):
            if piece:
                self.ids.setdefault(piece, token)
        self.spellable = sum(1 << byte for byte in range(256) if bytes([byte]) in self.ids)
        """One bit for each byte that has a token of its own."""
        self._longest = min(max(map(len, self.ids), default=0), LONGEST_TOKEN)
        self._tokenizer: Callable[[], Tokenizer | None]
        try:
            self._tokenizer = ref(tokenizer)
        except TypeError:  # it cannot be referred to weakly
            self._tokenizer = lambda: tokenizer

    def __call__(self, text: str | bytes) -> list[int]:
        """The tokens of a text as in training, if they are exact."""
        spelled = text.encode() if isinstance(text, str) else text
        tokenizer = self._tokenizer()
        with suppress(Exception):  # a tokenizer of others that does not take every text
            ids = tokenizer.encode(spelled.decode()) if tokenizer is not None else []
            if b"".join(self.tokens[token] for token in ids) == spelled:
                return ids
        return self.fewest(spelled) or []

    def fewest(self, text: bytes) -> list[int] | None:
        """The fewest tokens with these bytes; None if there are none."""
        best: list[tuple[int, int]] = [(0, 0)]  # for each end of the text, shortest first: tokens, bytes of the first
        none = len(text) + 1
        for begin in range(len(text) - 1, -1, -1):
            lengths = range(1, min(self._longest, len(text) - begin) + 1)
            counts = [(best[-length][0] + 1, length) for length in lengths if text[begin : begin + length] in self.ids]
            best.append(min(counts, default=(none, 1)))
        if best[-1][0] >= none:
            return None
        tokens, place = list[int](), 0
        while place < len(text):
            length = best[len(text) - place][1]
            tokens.append(self.ids[text[place : place + length]])
            place += length
        return tokens

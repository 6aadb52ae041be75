"""Short ways to complete an answer, byte by byte, so that an answer can end validly within its token limit."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from numpy.typing import NDArray

END = 256  # the id after the 256 bytes
IN_TEXT = 64  # more bytes than this are possible only inside of a string
BRANCHES = 6  # bytes that a state is continued with in the search
_PLAIN = b"0123456789aeinorstlcdumphgbfvywkxjqz AEINORSTLCDUMPHGBFVYWKXJQZ"
_ORDER = np.full(257, 500)
_ORDER[list(_PLAIN)] = np.arange(len(_PLAIN))
_ORDER[0x80:0x100] = 1000  # beginnings of longer characters
"""Preferred bytes, smallest first, where several continue an answer."""


class _Bytes:
    """A tokenizer of bytes, as ``llguidance.TokenizerWrapper`` wants it."""

    eos_token_id = END
    bos_token_id = None
    tokens = [*(bytes([byte]) for byte in range(256)), b"\xff<|eos|>"]  # noqa: RUF012 - never changed
    special_token_ids = (END,)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


@lru_cache(maxsize=1)
def byte_tokenizer() -> LLTokenizer:
    """The 256 bytes and :data:`END`."""
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Bytes()), eos_token=END)


def unpacked(bitmask: bytes, size: int) -> NDArray[Any]:
    """(size,) bool: the bits of llguidance's mask, lowest first."""
    return np.unpackbits(np.frombuffer(bitmask, np.uint8), count=size, bitorder="little").astype(bool)


def completion(matcher: LLMatcher, spellable: NDArray[Any], most: int, states: int) -> bytes | None:
    """Bytes that complete the answer which ``matcher``, a matcher of bytes, has read so far.

    Args:
        matcher: is left as it was.
        spellable: (257,) bool, the bytes that may be used.
        most: no more bytes than this.
        states: most states of the search that begins where the quick way finds nothing.

    Returns:
        The bytes, often the fewest possible ones; None if none were found.
    """
    found = _quick(matcher.deep_copy(), spellable, most)
    return found if found is not None else _search(matcher, spellable, most, states)


def _quick(matcher: LLMatcher, spellable: NDArray[Any], most: int) -> bytes | None:
    """Close what is open wherever that is possible; otherwise take the byte that was taken least often."""
    said = bytearray()
    taken: Counter[int] = Counter()
    while len(said) <= most:
        if matcher.is_accepting():
            return bytes(said)
        forced = matcher.compute_ff_bytes()
        if forced:
            if not spellable[list(forced)].all() or not matcher.consume_tokens(list(forced)):
                return None
            said += forced
            continue
        possible = np.flatnonzero(unpacked(matcher.compute_bitmask(), 257) & spellable)
        if not len(possible):
            return None
        byte = _closing(possible)
        if byte is None or taken[byte] > 8:
            byte = min(map(int, possible), key=lambda one: (taken[one], _ORDER[one]))
        taken[byte] += 1
        if byte == END or not matcher.consume_token(byte):
            return None
        said.append(byte)
    return None


def _closing(possible: NDArray[Any]) -> int | None:
    """The byte among ``possible`` that closes a string, list or object of JSON."""
    order = b'"' if len(possible) > IN_TEXT else b'}]"'
    return next((byte for byte in order if byte in possible), None)


def _search(matcher: LLMatcher, spellable: NDArray[Any], most: int, states: int) -> bytes | None:
    """Breadth first, with one state for each set of bytes that can follow: of alike states one is continued."""
    level = [(matcher.deep_copy(), b"")]
    for _ in range(most + 1):
        seen: Counter[bytes] = Counter()
        following: list[tuple[LLMatcher, bytes]] = []
        for state, said in level:
            if state.is_accepting():
                return said
            mask = state.compute_bitmask()
            seen[mask] += 1
            if seen[mask] > 2:
                continue
            possible = np.flatnonzero(unpacked(mask, 257) & spellable)
            close = [byte for byte in b'"}],:' if byte in possible]
            rest = sorted(map(int, possible), key=lambda one: int(_ORDER[one]))
            for byte in dict.fromkeys([*close, *rest[:BRANCHES]]):
                states -= 1
                if states < 0:
                    return None
                after = state.deep_copy()
                if byte != END and after.consume_token(byte):
                    following.append((after, said + bytes([byte])))
        level = following
    return None

"""Short ways to complete an answer, byte by byte, so that an answer can end validly within its token limit."""

from __future__ import annotations

import random
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from numpy.typing import NDArray

END = 256  # the id after the 256 bytes
IN_TEXT = 64  # more bytes than this are possible only inside of a string
CHOICES, IN_ORDER = 1000, 64  # most bytes that the quick way chooses, and how many of them in a fixed order
FEW = 500  # states of the first search
_FIRST = b".;!?)>0123456789aeinorstlcdumphgbfvywkxjqz AEINORSTLCDUMPHGBFVYWKXJQZ"
ORDER = [*_FIRST, *(byte for byte in range(0x100) if byte not in _FIRST)]
ALIKE = frozenset(b"bcdefghijklmnopqrstuvwxyzBCDEFGHIJKLMNOPQRSTUVWXYZ123456789") | frozenset(range(0x80, 0x100))
"""Preferred bytes: those that end something, then plain ones; beginnings of longer characters come last."""


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


def completion(matcher: LLMatcher, spellable: int, most: int, states: int) -> bytes | None:
    """Bytes that complete the answer which ``matcher``, a matcher of bytes, has read so far.

    Args:
        matcher: is left as it was.
        spellable: the bytes that may be used, one bit for each.
        most: no more bytes than this.
        states: most states of the searches that begin where the quick way finds nothing.

    Returns:
        The bytes, often the fewest possible ones; None if none were found.
    """
    for choices, tried in ((IN_ORDER, min(states, FEW)), (CHOICES, states)):
        found = _quick(matcher.deep_copy(), spellable, most, choices)
        if found is None:
            found = _search(matcher, spellable, most, tried)
        if found is not None:
            return found
    return None


def _possible(matcher: LLMatcher, spellable: int) -> int:
    """The bytes that can follow, one bit for each."""
    return int.from_bytes(matcher.compute_bitmask(), "little") & spellable


def _quick(matcher: LLMatcher, spellable: int, most: int, choices: int) -> bytes | None:
    """Close what is open wherever that is possible; otherwise take the byte that was taken least often, and after some
    time any byte, since the same order may lead around in a circle."""
    said = bytearray()
    taken: Counter[int] = Counter()
    chance = random.Random(0)
    while len(said) <= most and taken.total() < choices:
        if matcher.is_accepting():
            return bytes(said)
        forced = matcher.compute_ff_bytes()
        if forced:
            if not all(spellable >> byte & 1 for byte in forced) or not matcher.consume_tokens(list(forced)):
                return None
            said += forced
            continue
        possible = _possible(matcher, spellable)
        lost = taken.total() >= IN_ORDER
        byte = next((byte for byte in _closing(possible) if possible >> byte & 1), None)
        if (
            byte is None
            or said.endswith(bytes([byte]) * (40 if byte in b"}]" else 3))
            or (lost and chance.random() < 0.5)
        ):
            least = (lambda one: (taken[one] > 0) + chance.random()) if lost else taken.__getitem__
            byte = min((one for one in ORDER if possible >> one & 1), key=least, default=None)
        if byte is None or not matcher.consume_token(byte):
            return None
        taken[byte] += 1
        said.append(byte)
    return None


def _closing(possible: int) -> bytes:
    """What ends a string, list, object or number of JSON, in the order in which it is tried."""
    return b'"' if possible.bit_count() > IN_TEXT else b'}],:"'


def _search(matcher: LLMatcher, spellable: int, most: int, states: int) -> bytes | None:
    """Breadth first, with one state for each set of bytes that can follow: of alike states one is continued."""
    level = [(matcher.deep_copy(), b"")]
    for _ in range(most + 1):
        seen: Counter[int] = Counter()
        following: list[tuple[LLMatcher, bytes]] = []
        for state, said in level:
            if state.is_accepting():
                return said
            possible = _possible(state, spellable)
            seen[possible] += 1
            if seen[possible] > 2:
                continue
            alike = () if possible.bit_count() <= IN_TEXT else ALIKE  # bytes that differ in no form that is usual
            for byte in (byte for byte in ORDER if possible >> byte & 1 and byte not in alike):
                states -= 1
                if states < 0:
                    return None
                after = state.deep_copy()
                if after.consume_token(byte):
                    following.append((after, said + bytes([byte])))
        level = following
    return None

"""The tokens that may come next in an answer of a given form, by llguidance. One :class:`FormState` per row.

:class:`FormState` keeps, at every token, a way to complete the answer within its token limit, and refuses tokens after
which none is known. So an answer is complete when it ends, whatever ends it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from muomni_cli.contract.form import Form
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.structured_output.completion import END, byte_tokenizer, completion, unpacked
from muomni_cli.structured_output.grammar import grammar_of
from muomni_cli.structured_output.vocabulary import FormVocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher
    from numpy.typing import NDArray

TRIES = 8  # tokens that are drawn near the limit before the known completion is taken
AT_FIRST, LATER = 20_000, 500  # states of a search: before the first token, and after each
CACHED = 2_000_000  # ids of masks that are kept for each tokenizer
MOST_FORMS = 32  # compiled ones that are kept for each tokenizer

Pick = Callable[["NDArray[np.int64]"], int]
"""Draws one of the ids that it is given."""


class FormTokens:
    """The vocabulary of a tokenizer in llguidance, with its compiled forms and frequent masks."""

    def __init__(self, vocabulary: FormVocabulary) -> None:
        from llguidance import LLTokenizer, TokenizerWrapper

        self.vocabulary = vocabulary
        self._tokenizer = LLTokenizer(TokenizerWrapper(vocabulary), eos_token=vocabulary.eos_token_id)
        self._masks: OrderedDict[bytes, NDArray[np.int64]] = OrderedDict()
        self._forms: OrderedDict[Form, tuple[LLMatcher, LLMatcher]] = OrderedDict()
        self._lock = threading.Lock()

    def compiled(self, form: Form) -> tuple[LLMatcher, LLMatcher]:
        """Matchers of tokens and of bytes at the beginning of a form; to be copied. RequestError if it is too complex
        or cannot be enforced."""
        from llguidance import LLMatcher

        with self._lock:
            if form not in self._forms:
                grammar = grammar_of(form)
                made = (
                    LLMatcher(self._tokenizer, grammar, log_level=0),
                    LLMatcher(byte_tokenizer(), grammar, log_level=0),
                )
                for matcher in made:
                    _check(matcher)
                self._forms[form] = made
                if len(self._forms) > MOST_FORMS:
                    self._forms.popitem(last=False)
            self._forms.move_to_end(form)
            return self._forms[form]

    def allowed(self, bitmask: bytes) -> NDArray[np.int64]:
        """The ids of a mask, ascending; those of frequent masks are kept."""
        with self._lock:
            if (ids := self._masks.get(bitmask)) is not None:
                self._masks.move_to_end(bitmask)
                return ids
        ids = np.flatnonzero(unpacked(bitmask, len(self.vocabulary.usable)) & self.vocabulary.usable)
        ids.setflags(write=False)
        with self._lock:
            self._masks[bitmask] = ids
            while len(self._masks) > max(8, CACHED // len(self.vocabulary.usable)):
                self._masks.popitem(last=False)
        return ids


_TOKENS: WeakKeyDictionary[Any, FormTokens] = WeakKeyDictionary()
_OPENING = threading.Lock()


def tokens_of(tokenizer: Tokenizer) -> FormTokens:
    """The vocabulary of a tokenizer, made once for each."""
    with _OPENING:
        try:
            if tokenizer not in _TOKENS:
                _TOKENS[tokenizer] = FormTokens(FormVocabulary(tokenizer))
            return _TOKENS[tokenizer]
        except TypeError:  # a tokenizer that cannot be hashed or referred to weakly
            return FormTokens(FormVocabulary(tokenizer))


def _check(matcher: LLMatcher) -> None:
    if matcher.is_error():
        reason = matcher.get_error().splitlines()[0][:200]
        raise RequestError(f"the form is too complex to be enforced: {reason}", "make its schema or grammar simpler")


def _ends(matcher: LLMatcher, tokens: list[int], end: int) -> bool:
    """Whether the answer is complete after ``tokens``."""
    if not tokens:  # where nothing can follow, llguidance does not take ``end`` for a token
        return bool(matcher.is_accepting())
    return int(matcher.validate_tokens([*tokens, end])) == len(tokens) + 1


class FormState:
    """Where an answer stands in its form.

    Args:
        form: what the answer must be.
        tokenizer: whose tokens it consists of.
        room: most tokens of the answer.

    Raises:
        RequestError: the form cannot be enforced, the tokenizer cannot spell it, or no answer of this form was found
            that has at most ``room`` tokens.
    """

    def __init__(self, form: Form, tokenizer: Tokenizer, room: int) -> None:
        self._tokens = tokens_of(tokenizer)
        self._vocabulary = self._tokens.vocabulary
        matcher, self._bytes_at_first = self._tokens.compiled(form)
        self._matcher = matcher.deep_copy()
        self._bytes = self._bytes_at_first.deep_copy()  # has read all but the last tokens: those in ``_unread``
        self._unread = b""
        tail = self._complete(b"", room, AT_FIRST)
        if tail is None or len(tail) > room:
            raise self._impossible(form, tail, room)
        self._tail = tail

    @property
    def complete(self) -> bool:
        """Whether the answer so far is of the form."""
        return bool(self._matcher.is_accepting())

    @property
    def tokens_to_end(self) -> int:
        """How many tokens the shortest known way to a complete answer has."""
        return len(self._tail)

    @property
    def finished(self) -> bool:
        """Whether it is complete and nothing can follow."""
        return self.complete and self.allowed().tolist() == [self._vocabulary.eos_token_id]

    def allowed(self) -> NDArray[np.int64]:
        """Ids of the tokens that can come next, ascending; ``eos`` is one of them where the answer is complete."""
        ids = self._tokens.allowed(self._matcher.compute_bitmask())
        _check(self._matcher)
        return ids

    def next(self, pick: Pick, left: int) -> tuple[int, bool]:
        """Choose a token and go on with it.

        Args:
            pick: draws one of several ids.
            left: how many tokens the answer may still have, this one included.

        Returns:
            The token, and whether the limit kept ``pick`` from choosing.
        """
        ids = first = self.allowed()
        for _ in range(TRIES):
            if not len(ids):
                break
            token = pick(ids)
            if token == self._vocabulary.eos_token_id or self._accept(token, left - 1):
                return token, ids is not first
            ids = ids[ids != token]
        return self._close(), True

    def close(self, pick: Pick) -> tuple[int, bool]:
        """Go on with the shortest known completion, then with ``eos``; otherwise as :meth:`next`."""
        wanted = pick(self.allowed())
        token = self._close()
        return token, token != wanted

    def matches(self, text: str) -> bool:
        """Whether ``text`` is an answer of the form."""
        return _ends(self._bytes_at_first.deep_copy(), list(text.encode("utf-8", "surrogatepass")), END)

    def _close(self) -> int:
        if not self._tail:
            return self._vocabulary.eos_token_id
        token, *self._tail = self._tail
        self._consume(token)
        return token

    def _accept(self, token: int, left: int) -> bool:
        """Go on with ``token`` if an answer can then be completed within ``left`` tokens."""
        if self._tail and token == self._tail[0]:
            self._close()
            return True
        self._matcher.consume_token(token)
        _check(self._matcher)
        piece = self._vocabulary.tokens[token]
        # the known way or, if the token stands for a part of it, its end
        ways = (self._tail[skipped:] for skipped in range(min(len(piece), len(self._tail)) + 1))
        tail = next((way for way in ways if len(way) <= left and self._ends(way)), None)
        if tail is None:
            tail = self._complete(piece, left, LATER)
        if tail is None or len(tail) > left:
            self._matcher.rollback(1)
            return False
        self._tail = tail
        self._unread += piece
        return True

    def _consume(self, token: int) -> None:
        self._matcher.consume_token(token)
        self._unread += self._vocabulary.tokens[token]
        _check(self._matcher)

    def _ends(self, tail: list[int]) -> bool:
        return _ends(self._matcher, tail, self._vocabulary.eos_token_id)

    def _complete(self, piece: bytes, left: int, states: int) -> list[int] | None:
        """Few tokens that complete the answer after ``piece``, which the matcher has read already; None if none were
        found. There may be more than ``left``."""
        self._bytes.consume_tokens(list(self._unread))
        self._unread = b""
        state = self._bytes.deep_copy()
        state.consume_tokens(list(piece))
        longest = max(left, 0) * 16 + 1024  # more bytes than this hardly fit
        found = completion(state, self._vocabulary.spellable, longest, states)
        tail = None if found is None else self._vocabulary.fewest(found)
        if tail is not None and len(tail) > left:  # perhaps a detour
            shorter = completion(state, self._vocabulary.spellable, max(left, 0), states)
            tail = (self._vocabulary.fewest(shorter) if shorter is not None else None) or tail
        return tail if tail is not None and self._ends(tail) else None

    def _impossible(self, form: Form, tail: list[int] | None, room: int) -> RequestError:
        if any(not self._vocabulary.spellable >> byte & 1 for byte in range(0x20, 0x7F)):
            what = "the model's tokenizer has no tokens for single characters, so it cannot spell every form"
            return RequestError(what, "use a model whose tokenizer is byte-level, or choices of its own words")
        if tail is None:
            what = f"no answer of this form ({form.kind}) with at most {room} tokens was found"
            return RequestError(what, "raise max_tokens, or check that the form allows an answer at all")
        what = f"an answer of this form has at least about {len(tail)} tokens, but at most {room} are allowed"
        return RequestError(what, f"raise max_tokens to {len(tail)} or more, as far as the context has room")

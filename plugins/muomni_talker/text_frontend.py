"""Text to spoken words: lower-case letters, apostrophes, spaces and a few punctuation marks.

Text may come in pieces; each word is yielded as soon as later text cannot change how it is spoken. What has no spoken
form is collected, so that it can be told.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from muomni_cli.api import TextChunk
from muomni_talker.text_normalization import written_form
from muomni_talker.text_normalization.markup import MarkupFilter, Piece
from muomni_talker.text_normalization.written_form import LOOK, NormalizedWord, WrittenWord

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 40  # most spoken words of a sentence
ENOUGH = 25  # spoken words after which a sentence is cut at a comma
LETTERS = 40  # most letters of a spoken word
MOST_LETTERS = 400  # letters after which a sentence of long words ends, so that it stays within the limit on frames

# Single letters are no words of running text, so a Talker never learns to speak them; their names are.
LETTER_NAMES = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        (
            *("ay", "bee", "see", "dee", "ee", "ef", "gee", "aitch", "eye", "jay", "kay", "el", "em"),
            *("en", "oh", "pee", "cue", "are", "es", "tee", "you", "vee", "double you", "ex", "why", "zee"),
        ),
        strict=True,
    )
)
_WORDS_OF_ONE_LETTER = "aio"
_SINGLE = re.compile(r"(?<![a-z'])[a-z](?=(?:'s)?(?![a-z']))")


@dataclass(frozen=True, slots=True)
class FrontendChunk:
    """The spoken form of one written word: the spoken words, the punctuation mark and, unless a sentence ends here, a
    space. ``hidden``: the Thinker state of the text piece with the word's last character. ``ends``: a sentence ends
    here; the last word of a text always ends one. ``written``: what it is the spoken form of, as it was written.
    ``number``: chunks of one number are one written word, which consists of what lies between two spaces, or of several
    such runs if they are read together; its text is that of all these chunks."""

    text: str
    hidden: NDArray[Any] | None = None
    ends: bool = False
    written: str = ""
    number: int = 0


@dataclass(slots=True, eq=False)
class _Run:
    """Characters between two spaces: ``written`` as the user wrote them, without what cannot be spoken. ``number``: of
    the written word that it belongs to; 0 before that is known."""

    written: str
    hidden: NDArray[Any] | None
    number: int = 0


class TextFrontend:
    """Incremental text normalization; the result does not depend on how the text is split. A word waits for the next
    one, and words that are not plain for :data:`LOOK` more. ``skipped`` receives what has no spoken form."""

    def __init__(self, skipped: dict[str, None] | None = None) -> None:
        self._skipped = {} if skipped is None else skipped
        self._markup = MarkupFilter(self._skipped)
        self._shown: list[str] = []  # the current run, without markup
        self._written: list[str] = []  # the same as the user wrote it
        self._hidden: NDArray[Any] | None = None
        self._last: NDArray[Any] | None = None  # of the last piece
        self._breaks = 1  # the start of the text counts as a new line
        self._queue: deque[tuple[WrittenWord, _Run]] = deque()
        self._before: WrittenWord | None = None
        self._held: FrontendChunk | None = None
        self._mark = ""  # of the held words
        self._numbers = 0  # of written words
        self._silent: list[_Run] = []  # runs since the last spoken one, of which nothing is spoken so far
        self._count = self._letters = 0  # spoken in this sentence
        self._heading = False

    def push(self, piece: TextChunk) -> Iterator[FrontendChunk]:
        """Feed a piece of text and yield the words that are now final."""
        self._last = piece.hidden
        self._take(self._markup.push(piece.text), piece.hidden)
        yield from self._drain(finished=False)

    def finish(self) -> Iterator[FrontendChunk]:
        """Yield the remaining words at the end of the text."""
        self._take(self._markup.finish(), self._last)
        self._close()
        yield from self._drain(finished=True)
        yield from self._release(ends=True)

    def _take(self, pieces: Iterable[Piece], hidden: NDArray[Any] | None) -> None:
        for shown, written in pieces:
            for part in re.findall(r"\s+|\S+", shown):
                if part.isspace():
                    self._close()
                    self._breaks += part.count("\n")
                else:
                    self._shown.append(part)
                    self._written.append(part if shown == written else written)
                    self._hidden = hidden
            if not shown and self._shown:
                self._written.append(written)

    def _close(self) -> None:
        """End the current run of characters and queue its written words."""
        if self._shown:
            text, run = "".join(self._shown), _Run("".join(self._written), self._hidden)
            for piece in written_form.unspoken(text):
                self._skip(piece, run)
            words = written_form.cut(text, self._breaks)
            self._queue.extend((word, run) for word in words)
            self._shown.clear()
            self._written.clear()
            self._breaks = 0 if words else self._breaks

    def _skip(self, piece: str, run: _Run) -> None:
        """Report a piece of a run that has no spoken form, and take it out of what is written."""
        self._skipped.setdefault(piece)
        run.written = run.written.replace(piece, "", 1)

    def _drain(self, *, finished: bool) -> Iterator[FrontendChunk]:
        while self._queue:
            word, run = self._queue[0]
            plain = written_form.is_plain(word)
            if not (finished or plain or len(self._queue) > LOOK):
                return
            follow = [] if plain else [self._queue[at][0] for at in range(1, min(LOOK + 1, len(self._queue)))]
            reading = written_form.read(word, follow, self._before)
            if word.breaks > 1 or written_form.starts_item(word) or (self._heading and word.breaks):
                yield from self._release(ends=True)
            self._heading = written_form.starts_heading(word) or (self._heading and not word.breaks)
            if not reading.text.strip() and written_form.says_something(word):
                self._skip(word.lead + word.core + word.tail, run)
            runs = []
            for _ in range(reading.taken + 1):
                self._before, run = self._queue.popleft()
                runs.append(run)
            opens = "(" in word.lead and not reading.taken
            yield from self._say(reading, runs, opens=opens)
            if reading.ends:
                self._before = None

    def _say(self, reading: NormalizedWord, runs: Sequence[_Run], *, opens: bool) -> Iterator[FrontendChunk]:
        """Hold the spoken words of ``runs`` until the next are known. ``opens``: a parenthesis opens before them."""
        words, mark = [], reading.mark
        for word in reading.text.split():
            kept = "".join(character for character in word if character in written_form.ALPHABET).strip("'")
            words += [kept[begin : begin + LETTERS] for begin in range(0, len(kept), LETTERS)]
        if not words:
            self._keep_silent(runs)
        if self._held is not None and not self._mark:
            if not words and mark:  # a mark that stands alone belongs to the word before it
                self._mark = " -" if mark == "-" else mark
                if reading.ends:
                    yield from self._release(ends=True)
            elif words and opens:
                self._mark = ","
        if not words:
            return
        number, written = self._assigned(runs)
        for begin in range(0, len(words), LONGEST):
            some = words[begin : begin + LONGEST]
            letters = sum(map(len, some))
            full = self._count + len(some) > LONGEST or self._letters + letters > MOST_LETTERS
            yield from self._release(ends=full)
            self._count += len(some)
            self._letters += letters
            self._held = FrontendChunk(" ".join(some), runs[-1].hidden, written=written, number=number)
            written = ""
        self._mark = mark
        if reading.ends or (self._count >= ENOUGH and mark):
            yield from self._release(ends=True)

    def _keep_silent(self, runs: Sequence[_Run]) -> None:
        """Runs of which nothing is spoken: they belong to the word that is held if no other follows in them, else to
        the next."""
        for run in runs:
            goes_on = bool(self._queue) and self._queue[0][1] is run
            if run.number or run in self._silent:
                continue
            if self._held is None or goes_on or self._silent:
                self._silent.append(run)
            elif run.written:
                run.number = self._held.number
                self._held = replace(self._held, written=f"{self._held.written} {run.written}")

    def _assigned(self, runs: Sequence[_Run]) -> tuple[int, str]:
        """The number of the written word to which a reading of ``runs`` belongs, and what it adds to its text."""
        begun = runs[0].number
        if not begun:
            self._numbers += 1
        added = [run for run in dict.fromkeys([*self._silent, *runs]) if not run.number]
        for run in added:
            run.number = begun or self._numbers
        self._silent.clear()
        text = " ".join(run.written for run in added if run.written)
        return begun or self._numbers, f" {text}" if begun and text else text

    def _release(self, *, ends: bool) -> Iterator[FrontendChunk]:
        """Yield the word that waited for the next one."""
        if self._held is not None:
            text = self._held.text + (self._mark.removesuffix(" -") if ends else f"{self._mark} ")
            yield replace(self._held, text=text, ends=ends)
            self._held, self._mark = None, ""
            if ends:
                self._count = self._letters = 0


def script(text: Iterable[TextChunk], skipped: dict[str, None] | None = None) -> Iterator[FrontendChunk]:
    """The spoken words of a text that comes in pieces, lazily; ``skipped`` receives what has no spoken form."""
    reader = TextFrontend(skipped)
    for piece in text:
        yield from reader.push(piece)
    yield from reader.finish()


def normalize(text: str) -> str:
    """All words of :func:`script` as one string, sentences joined by a space; empty if nothing can be spoken."""
    return "".join(word.text + " " * word.ends for word in script([TextChunk(text)])).removesuffix(" ")


def pronounced(words: Iterable[FrontendChunk]) -> Iterator[FrontendChunk]:
    """The same words with single letters as their names (u s b -> you es bee), as a Talker reads them. "a", "i" and "o"
    stay words unless they are spelled or a sentence of their own."""
    begins = True
    for word in words:
        letters = _SINGLE.findall(word.text)
        spelled = len(letters) > 1 or (begins and word.ends and len(word.text.split()) == 1)
        kept = "" if spelled else _WORDS_OF_ONE_LETTER
        yield replace(word, text=_SINGLE.sub(lambda hit: hit[0] if hit[0] in kept else LETTER_NAMES[hit[0]], word.text))  # noqa: B023
        begins = word.ends


def pronounceable(text: str) -> str:
    """All words of :func:`pronounced` as one string, as :func:`normalize`: what a Talker is trained with."""
    return "".join(word.text + " " * word.ends for word in pronounced(script([TextChunk(text)]))).removesuffix(" ")

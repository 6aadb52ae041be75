"""Removes markup from text that comes in pieces: HTML and SSML tags, character entities, and targets of Markdown links.

Tags of blocks become paragraph breaks, ``<break>`` a comma or, from :data:`LONG_BREAK` on, the end of a sentence.
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple

from muomni_talker.text_normalization.numbers import listed

LONG_BREAK = 0.7  # seconds
LONGEST = 1000  # characters that a tag, a comment or a link may have

_BLOCKS = listed(
    "p br div li ul ol tr table hr h1 h2 h3 h4 h5 h6 blockquote pre section article header footer title s sentence "
    "paragraph"
)
_INLINE = listed(
    "a abbr amazon:effect audio b big body cite code del em emphasis font head html i img ins kbd lang mark "
    "mstts:express-as phoneme prosody q say-as small span speak strike strong sub sup tbody td th thead token tt u "
    "voice w"
)
_TAG = re.compile(
    r"</?([A-Za-z][\w:-]*)((?:\s+[\w:.-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>=]+))*)\s*/?>"
    r"|<!--(?:.*?)-->|<[!?][^<>]*>",
    re.DOTALL,
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_LINK = re.compile(r"\]\(([^\s()]*)\)")
_START = re.compile(r"<(?=[A-Za-z/!?]|$)|&(?=[#A-Za-z]|$)|\](?=\(|$)")
_UNFINISHED = re.compile(r"<(?!!--)[^<>]*|<!--.*|<!?-?|&#?[0-9A-Za-z]{0,32}|\](?:\([^\s()]*)?", re.DOTALL)
_SECONDS = re.compile(r"time\s*=\s*[\"']?([\d.]+)(m?)s")
_STRONG = re.compile(r"strength\s*=\s*[\"']?(?:x-)?strong")


class Piece(NamedTuple):
    """Text without markup, and what of the text as it was written it stands for: the same, an entity such as
    ``&amp;``, or nothing where a tag was."""

    shown: str
    written: str


class MarkupFilter:
    """Text without its markup; the result does not depend on how the text is split. ``skipped`` receives the targets of
    links."""

    def __init__(self, skipped: dict[str, None]) -> None:
        self._skipped = skipped
        self._held = ""  # what may be the beginning of markup

    def push(self, piece: str) -> list[Piece]:
        """Take a piece of text and return what is now sure."""
        return self._filtered(self._held + piece, finished=False)

    def finish(self) -> list[Piece]:
        """The rest at the end of the text."""
        return self._filtered(self._held, finished=True)

    def _filtered(self, text: str, *, finished: bool) -> list[Piece]:
        made: list[Piece] = []
        done = 0
        self._held = ""
        while (start := _START.search(text, done)) is not None:
            made.append(_plain(text[done : start.start()]))
            done = start.start()
            found = next(
                filter(None, (form.match(text, done, done + LONGEST) for form in (_TAG, _ENTITY, _LINK))), None
            )
            said = None if found is None else self._said(found)
            if found is not None and said is not None:
                made.append(said)
                done = found.end()
            elif not finished and len(text) - done < LONGEST and _UNFINISHED.fullmatch(text, done):
                self._held = text[done:]
                return made
            else:
                made.append(_plain(text[done]))
                done += 1
        return [*made, _plain(text[done:])]

    def _said(self, found: re.Match[str]) -> Piece | None:
        """The text in place of markup; None if it is none."""
        if found.re is _ENTITY:
            shown = html.unescape(found[0])
            return None if shown == found[0] else Piece(shown, found[0])
        if found.re is _LINK:
            if found[1]:
                self._skipped.setdefault(found[1])
            return Piece("", "]")
        replacement = _of_tag(found)
        return None if replacement is None else Piece(replacement, "")


def _plain(text: str) -> Piece:
    return Piece(text, text)


def _of_tag(found: re.Match[str]) -> str | None:
    """The text in place of a tag; None if it is none."""
    name = (found[1] or "").lower()
    if name == "break":
        time = _SECONDS.search(found[2])
        seconds = float(time[1].strip(".") or 0) / (1000 if time[2] else 1) if time and time[1].count(".") < 2 else 0.0
        return " . " if seconds >= LONG_BREAK or _STRONG.search(found[2]) else " , "
    if name in _BLOCKS:
        return "\n\n"
    return "" if not name or name in _INLINE else None

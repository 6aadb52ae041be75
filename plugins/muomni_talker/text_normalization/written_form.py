# ruff: noqa: RUF001 (ambiguous characters are intended)

"""Written forms and how they are read: one word, and a text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from muomni_talker.text_normalization import words
from muomni_talker.text_normalization.numbers import (
    CODES,
    CURRENCIES,
    NUMBER,
    SCALES,
    amount,
    as_adjective,
    digits,
    is_year,
    listed,
    money,
    month,
    ordinal,
    regrouped,
)

LOOK = 3  # lookahead in written words
ALPHABET = "abcdefghijklmnopqrstuvwxyz' .,?!;:-"  # all characters of normalized text
PAD, START, END = 0, 1, 2  # padding, the silence before a sentence, and the silence after it
COUNT = 3 + len(ALPHABET)
_NUMBERS = {character: 3 + place for place, character in enumerate(ALPHABET)}

_PLAIN = re.compile(r"[A-Za-z]?[a-z]*(?:'[a-z]+)?")
_OPENERS = listed(
    "the a an it he she they we i you this that these those there then but and or so in on at when if what who how "
    "his her my our your their its not no yes after before one some many now once please let"
)
_SHORT_MONTHS = listed("jan feb mar apr jun jul aug sep sept oct nov dec")

_KEPT = f"{CURRENCIES}©¢°µ×÷±≈≤≥≠π∞§→—–"
_FORMATTING = frozenset("#*~-_=|—–>`+.")  # signs of lists, headings and rules
_DIALED = listed("call dial phone ring text")
_FRACTIONS = dict(zip("½¼¾⅓⅔⅛⅜⅝⅞", ["1/2", "1/4", "3/4", "1/3", "2/3", "1/8", "3/8", "5/8", "7/8"], strict=True))
_VULGAR = re.compile(f"(\\d?)([{''.join(_FRACTIONS)}])")
# Characters that compatibility decomposition (NFKD) does not handle as needed.
_FOLDED = str.maketrans(
    {
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‘’‚‛′ʼ´", "'"),
        **dict.fromkeys("‐‑‒−﹣－•·", "-"),
        **dict.fromkeys("™®ª", ""),
        **{"²": "^2", "³": "^3", "º": "°", "№": "number "},
        **{"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"},
        **{"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "TH"},
        **{"ı": "i", "―": "—", "μ": "µ", "∙": "×", "⋅": "×", "∕": "/", "⁄": "/", "∗": "*"},
    }
)

# Word boundaries without a space: at dashes, and after a period or comma with a missing space.
_CUTS = re.compile(
    r"(—|--+|(?<!\d)(?<!\d[aApP][mM])(?<![$€£%°CFm]\b)–|–(?![\d$€£¥]))|(?<=\.\.)(?=[A-Za-z])|(?<=[a-z]{2}[.!?])(?=[A-Z][a-z])|(?<=[A-Za-z]{2}[,;])(?=[A-Za-z])"
)
_FEET = re.compile(r"(\d+'\d+\")(.*)")
_LEAD = re.compile(r"^(?:[\"(\[{*_`|]|'(?!\d\ds))+")
_TAIL = re.compile(r"[\"')\]}*_`|.,;:!?]+$")


@dataclass(frozen=True, slots=True)
class NormalizedWord:
    """The spoken form of a written word and the ``taken`` ones after it. ``ends``: a sentence ends here."""

    text: str
    mark: str = ""
    ends: bool = False
    taken: int = 0


def is_plain(word: WrittenWord) -> bool:
    """Whether its reading is independent of later words."""
    low = word.core.lower()
    if _PLAIN.fullmatch(word.core) is None or "*" in word.lead or low in _SHORT_MONTHS:
        return False
    short = "." in word.tail and (len(low) == 1 or low in words.SHORT or low in words.ENDING)
    return not short and ".." not in word.tail and not re.search(r"[.?!].*[\"')]", word.tail)


def read(word: WrittenWord, follow: Sequence[WrittenWord], before: WrittenWord | None) -> NormalizedWord:
    """Read a word. ``follow``: the next :data:`LOOK` written words, fewer at the end of the text; empty if plain."""
    past = before.core if before else ""
    if word.core in ("—", "–", "-", ""):
        return _between(word, follow, past)
    if groups := _groups(word, follow):
        core = ",".join([word.core, *(group.core for group in follow[:groups])])
        whole = read(replace(word, core=core, tail=follow[groups - 1].tail), follow[groups:], before)
        return replace(whole, taken=whole.taken + groups)
    if (short := _shortened(word, follow, before)) is not None:
        return short
    if (two := _with_next(word, follow, past)) is not None:
        return two
    text = words.roman(word.core, past) or _numbered(word, follow, past) or words.token(word.core)
    return NormalizedWord(text, ",") if _is_bullet(word) else _closed(text, word, follow)


def _between(word: WrittenWord, follow: Sequence[WrittenWord], past: str) -> NormalizedWord:
    """Marks that stand alone: dashes (signs between numbers), and marks after a space."""
    if word.core:
        if past[-1:].isdigit() and follow and follow[0].core[:1].isdigit():
            return NormalizedWord("to" if is_year(past) and is_year(follow[0].core) else "minus")
        return NormalizedWord("", "-")
    if "*" in word.lead and past[-1:].isdigit() and follow and follow[0].core[:1].isdigit():
        return NormalizedWord("times")
    mark = word.mark or WrittenWord("", "", word.lead).mark
    return NormalizedWord("", mark, ends=mark in (".", "?", "!"))


def _groups(word: WrittenWord, follow: Sequence[WrittenWord]) -> int:
    """How many of the next words are further groups of three digits of this number: 1 000 000, 12 500 km."""
    if not re.fullmatch(rf"[-+]?[{CURRENCIES}]?[1-9]\d{{0,2}}", word.core) or word.tail:
        return 0
    count = 0
    for group in follow:
        if group.lead or group.breaks or not re.fullmatch(r"\d{3}(?:\.\d+)?", group.core):
            break
        count += 1
        if group.tail or "." in group.core:
            break
    after = follow[count].core if 0 < count < len(follow) else ""
    if not count:
        return 0
    last = follow[count - 1].core
    sure = count > 1 or word.core[0] in CURRENCIES or "." in last or amount("1", after) is not None
    return count if sure or last.endswith("00") else 0


def _closed(text: str, word: WrittenWord, follow: Sequence[WrittenWord], taken: int = 0) -> NormalizedWord:
    """The reading with the marks of the last word that it covers."""
    last = follow[taken - 1] if taken else word
    after = follow[taken] if taken < len(follow) else None
    mark = last.mark
    goes_on = after is not None and after.breaks < 2 and after.core[:1].islower()
    if mark == "." and ".." in last.tail and goes_on:
        mark = ","
    quoted = re.search(r"[.?!].*[\"')]", last.tail) is not None and goes_on
    return NormalizedWord(text, mark, ends=mark in (".", "?", "!") and not quoted, taken=taken)


def _shortened(word: WrittenWord, follow: Sequence[WrittenWord], before: WrittenWord | None) -> NormalizedWord | None:
    """Abbreviations and initials, whose period does not end the sentence."""
    low, after = word.core.lower(), follow[0] if follow else None
    dotted = word.tail.startswith(".") and not word.tail.startswith("..")
    past = before.core if before else ""
    if low in ("am", "pm") and past[-1:].isdigit() and word.core in (low, low.upper()):
        return _closed(f"{low[0]} m", word, follow)
    if not dotted:
        titled = low in words.TITLES and word.upper and low != word.core
        return _closed(words.SHORT[low], word, follow) if titled else None
    rest = WrittenWord("", word.core, word.tail[1:])
    numbered = after is not None and after.core[:1].isdigit()
    if (low in _SHORT_MONTHS and month(word.core)) and (numbered or past[:1].isdigit()):
        return _unended(month(word.core) or "", rest, after)
    if low in words.CAPITAL and not word.upper:
        return None
    if (low in words.NUMBERED and not numbered) or (low in ("co", "al") and before is None):
        return None
    if low == "p" and numbered:
        return _unended("page", rest, after)
    # Main St. and Elm Dr., but Dr. Smith and St. John.
    named = before is not None and before.upper and not before.tail
    if low in ("st", "dr") and named and (after is None or not after.upper or after.core.lower() in _OPENERS):
        return _unended({"st": "street", "dr": "drive"}[low], rest, after)
    if low in words.SHORT:
        return _unended(words.SHORT[low], rest, after, never=low not in ("ft", "dept", "govt", "univ"))
    if low in words.ENDING:
        return _unended(words.ENDING[low], rest, after, capital=low in ("etc", "a.m", "p.m"))
    if re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", word.core):
        return _unended(words.token(word.core), rest, after)
    if len(word.core) == 1 and word.upper and word.core != "I" and after is not None and after.upper:
        return _unended(low, rest, after, never=bool(before is None or before.upper))
    return None


def _unended(
    text: str, rest: WrittenWord, after: WrittenWord | None, *, never: bool = False, capital: bool = False
) -> NormalizedWord:
    """An abbreviation; its period ends the sentence only if the next word cannot continue it."""
    if rest.mark:
        return NormalizedWord(text, rest.mark, ends=rest.mark in (".", "?", "!"))
    begins = after is not None and after.upper and (capital or after.core.lower() in _OPENERS)
    over = after is None or (not never and (after.breaks > 1 or begins))
    return NormalizedWord(text, "." if over else "", ends=over)


def _with_next(word: WrittenWord, follow: Sequence[WrittenWord], past: str) -> NormalizedWord | None:
    """Numbers with units, and dates, telephone numbers and mixed fractions of two written words."""
    core = word.core
    joined = bool(follow) and not word.tail and not follow[0].lead and follow[0].breaks < 2
    after = follow[0].core if joined else ""
    if words.DECADE.fullmatch(core) and (len(core) > 4 or past.lower() == "the"):
        return None  # not seconds
    if core in CODES and re.fullmatch(NUMBER, after):
        scaled = len(follow) > 1 and not follow[0].tail and follow[1].core.lower() in SCALES
        said = money(core, after, SCALES[follow[1].core.lower()] if scaled else "")
        return _closed(said, word, follow, 1 + scaled)
    if after == "€" and re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", core):
        core = core.replace(".", "")
    if (counted_so := amount(core, after)) is not None:
        taken = int(counted_so[1])
        last, noun = follow[taken - 1] if taken else word, follow[taken] if taken < len(follow) else None
        said = counted_so[0]
        if noun is not None and not last.tail and not noun.lead and noun.breaks < 2:
            said = as_adjective(said, past.lower(), noun.core)
        closed = _closed(said, word, follow, taken)
        after_all = follow[closed.taken] if closed.taken < len(follow) else None
        shortened = closed.mark == "." and after_all is not None and after_all.core[:1].islower()
        return replace(closed, mark="", ends=False) if shortened else closed  # 5 ft. of snow
    if word.lead.endswith("(") and re.fullmatch(r"\d{3}", core) and word.tail == ")" and follow:
        if re.fullmatch(r"\d{3}[-.]\d{4}", follow[0].core):
            return _closed(f"{digits(core)} {digits(follow[0].core)}", word, follow, 1)
        return None
    if not joined:
        return None
    if (day := re.fullmatch(r"(\d\d?)(?:st|nd|rd|th)?", core)) and int(day[1]) <= 31 and (named := month(after)):
        if past.lower() in ("may", "in") or (after == "May" and len(follow) > 1 and follow[1].core.islower()):
            return None
        the = "" if past.lower() == "the" else "the "
        said = f"{the}{ordinal(int(day[1]))} of {named}"
        if after.lower() in _SHORT_MONTHS and follow[0].tail.startswith("."):
            rest = WrittenWord("", after, follow[0].tail[1:])
            return replace(_unended(said, rest, follow[1] if len(follow) > 1 else None), taken=1)
        return _closed(said, word, follow, 1)
    if re.fullmatch(r"\d{1,4}", core) and (part := re.fullmatch(r"([1-9])/(\d{1,2})", after)):
        return _closed(words.token(f"{core}_{part[0]}"), word, follow, 1)
    return None


def _numbered(word: WrittenWord, follow: Sequence[WrittenWord], past: str) -> str | None:
    """Numbers whose reading depends on context, and symbols that stand alone."""
    core = word.core
    if (
        starts_heading(word)
        or (core == ">" and word.breaks)
        or (len(core) == 1 and core in "#*~" and not (follow and follow[0].core[:1].isdigit()))
    ):
        return " "
    if re.fullmatch(r"\d{3}", core) and (past.lower() in _DIALED or (core == "911" and _is_emergency(follow))):
        return digits(core)
    if core == "x" and past[-1:].isdigit() and follow and follow[0].core[:1].isdigit():
        return "by"
    if core in words.SYMBOLS:
        return words.SYMBOLS[core]
    named = month(past)
    if named and re.fullmatch(r"\d\d?", core) and int(core) <= 31 and (named != "may" or past == "May"):
        return ordinal(int(core)) if int(core) else None
    beside_digits = past[:1].isdigit() or (follow and follow[0].core[:1].isdigit())
    return month(core) if core.lower() in _SHORT_MONTHS and beside_digits else None


def _is_emergency(follow: Sequence[WrittenWord]) -> bool:
    return bool(follow) and follow[0].core.lower() in ("call", "calls", "caller", "operator", "dispatcher", "emergency")


def starts_heading(word: WrittenWord) -> bool:
    """Whether it is the sign of a heading in Markdown."""
    return word.breaks > 0 and re.fullmatch("#{1,6}", word.core) is not None and not word.tail


def says_something(word: WrittenWord) -> bool:
    """Whether a reader would miss it: it is more than marks and signs of formatting."""
    return not _FORMATTING.issuperset(word.core)


def _is_bullet(word: WrittenWord) -> bool:
    """Whether it is the number of a list item."""
    return word.breaks > 0 and re.fullmatch(r"\d\d?", word.core) is not None and word.tail in (".", ")")


def starts_item(word: WrittenWord) -> bool:
    """Whether the word starts a list item with a bullet or a number."""
    return word.breaks > 0 and (word.core == "-" or (word.lead == "*" and not word.core) or _is_bullet(word))


@dataclass(frozen=True, slots=True)
class WrittenWord:
    """A written word: opening marks, the word, closing marks, and the number of line breaks before it."""

    lead: str
    core: str
    tail: str
    breaks: int = 0

    @property
    def mark(self) -> str:
        """The most important mark of the tail; empty if it has none."""
        for mark in "?!.;:,":
            if mark in self.tail:
                return mark
        return "," if any(closing in self.tail for closing in ")]}") else ""

    @property
    def upper(self) -> bool:
        """Whether it begins with a capital letter."""
        return self.core[:1].isupper()


def fold(raw: str) -> str:
    """Map characters to ASCII and a few symbols of the same look or meaning; drop the rest."""
    raw = _VULGAR.sub(lambda hit: hit[1] + ("_" if hit[1] else "") + _FRACTIONS[hit[2]], raw.translate(_FOLDED))
    if raw.isascii():
        return "".join(character for character in raw if " " < character < "\x7f")
    shown = unicodedata.normalize("NFKD", raw).translate(_FOLDED)
    shown = "".join(str(unicodedata.decimal(character, character)) for character in shown)  # digits of all scripts
    return "".join(character for character in shown if " " < character < "\x7f" or character in _KEPT)


def unspoken(raw: str) -> list[str]:
    """The runs of letters, digits and symbols that :func:`fold` drops, with their diacritics and joiners."""
    if raw.isascii():
        return []
    runs, run, told = [], "", False
    for character in [*raw, " "]:
        kind = unicodedata.category(character)
        if kind[0] in "LNS" and not fold(character):
            run, told = run + character, True
        elif kind[0] == "M" or kind == "Cf":
            run += character
        else:
            runs += [run] if told else []
            run, told = "", False
    return runs


def cut(raw: str, breaks: int) -> list[WrittenWord]:
    """The written words of a run of characters without a space, after ``breaks`` line breaks."""
    parts: list[WrittenWord] = []
    for part in _CUTS.split(regrouped(fold(raw).replace("~~", ""))):
        if part:
            word = _set_apart("—" if part.startswith("--") else part)
            parts.append(WrittenWord(*word, breaks=0 if parts else breaks))
    return parts


def _set_apart(word: str) -> tuple[str, str, str]:
    if (feet := _FEET.fullmatch(word)) is not None:
        return "", feet[1], feet[2]
    lead = _LEAD.match(word)
    begin = lead.end() if lead else 0
    # A regular expression search would take quadratic time for a million periods.
    end = len(word)
    while end > begin and _TAIL.fullmatch(word[end - 1]):
        end -= 1
    return word[:begin], word[begin:end], word[end:]


def numbers(text: str) -> list[int]:
    """The symbols of normalized text."""
    return [_NUMBERS[character] for character in text]

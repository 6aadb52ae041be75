"""Numbers as words: counts, ordinals, decimals, years, fractions, digits one by one."""

from __future__ import annotations

import re

from num2words import num2words  # type: ignore[import-untyped]

LONGEST = 15
"""Most digits that are read as one number; longer ones are read digit by digit."""

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def plain(words: str) -> str:
    """Without the commas and hyphens that written-out numbers have."""
    return words.replace(",", "").replace("-", " ")


def cardinal(number: int) -> str:
    """21 -> twenty one."""
    return plain(num2words(number))


def ordinal(number: int) -> str:
    """21 -> twenty first."""
    return plain(num2words(number, to="ordinal"))


def digits(text: str) -> str:
    """Each digit by itself; anything else is passed over."""
    return " ".join(cardinal(int(digit)) for digit in text if digit in "0123456789")


def year(number: int) -> str:
    """1905 -> nineteen oh five; 2000 to 2009 as counts."""
    return plain(num2words(number, to="year"))


def decade(number: int) -> str:
    """1990 -> nineteen nineties; 90 -> nineties."""
    words = year(number) if number >= 100 else cardinal(number)
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def whole(text: str) -> str:
    """A run of digits: a number, unless it is long or begins with zeros, as codes and telephone numbers do."""
    bare = text.replace(",", "")
    coded = len(bare) > 1 and bare[0] == "0"
    long = "," not in text and len(bare) > 6 and not bare.endswith("000")
    return digits(bare) if coded or long or len(bare) > LONGEST else cardinal(int(bare))


def number(text: str) -> str:
    """``text`` as :data:`NUMBER` matches it: 1,234.50 -> one thousand two hundred and thirty four point five zero."""
    before, point, after = text.partition(".")
    front = (cardinal(0) if point and before == "0" else whole(before)) if before else ""
    return " ".join(word for word in (front, "point" if point else "", digits(after)) if word)


def signed(text: str) -> str:
    """The same with a sign before it."""
    signs = {"-": "minus ", "+": "plus ", "±": "plus or minus ", "~": "about ", "≈": "about "}
    return signs[text[0]] + number(text[1:]) if text[0] in signs else number(text)


def fraction(over: int, under: int) -> str:
    """3/4 -> three quarters; 10/10 -> ten out of ten; 7/3 -> seven over three."""
    if 0 < over < under <= 100 and under > 1:
        one, many = _PARTS.get(under, (ordinal(under), f"{ordinal(under)}s"))
        return f"{cardinal(over)} {one if over == 1 else many}"
    joint = "out of" if over == under else "over"
    return f"{cardinal(over)} {joint} {cardinal(under)}"


def is_year(text: str) -> bool:
    """Four digits that people read in two pairs unless something is counted."""
    return re.fullmatch(r"1[1-9]\d\d|20\d\d", text) is not None


def counted(text: str) -> str:
    """A bare number in running text: years as years."""
    return year(int(text)) if is_year(text) else signed(text)

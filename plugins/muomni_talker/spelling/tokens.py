"""One written word without its marks, as it is spoken when its neighbours do not matter."""
# ruff: noqa: RUF001 (characters that look like others are the matter here)

from __future__ import annotations

import re

from muomni_talker.spelling.dates import date, time
from muomni_talker.spelling.letters import spell, web, word
from muomni_talker.spelling.numbers import (
    NUMBER,
    cardinal,
    counted,
    decade,
    digits,
    fraction,
    number,
    ordinal,
    signed,
    whole,
)

SYMBOLS = {
    **{"&": "and", "@": "at", "+": "plus", "=": "equals", "/": "slash", "\\": "backslash", "%": "percent"},
    **{"#": "number", "°": "degrees", "<": "less than", ">": "greater than", "×": "times", "÷": "divided by"},
    **{"±": "plus or minus", "≈": "about", "≤": "at most", "≥": "at least", "≠": "is not", "π": "pi", "§": "section"},
    **{"∞": "infinity", "→": "to", "$": "dollars", "€": "euros", "£": "pounds", "¥": "yen", "₹": "rupees"},
    **{"¢": "cents", "µ": "micro", "^": "to the power of", "~": "about", "*": "times"},
}
_FIXED = {
    **{"24/7": "twenty four seven", "9/11": "nine eleven", "and/or": "and or", "w/": "with", "w/o": "without"},
    **{"n/a": "n a", "c++": "c plus plus", "c#": "c sharp", "f#": "f sharp", "co2": "c o two", "h2o": "h two o"},
    **{"km/h": "kilometres per hour", "'90s": "nineties", "i/o": "i o", "a/c": "a c"},
}
_POWERS = {"2": "squared", "3": "cubed"}
DECADE = re.compile(r"'?(\d0|\d\d\d0)'?s")
_RUNS = re.compile(rf"{NUMBER}|[A-Za-z]+(?:'[A-Za-z]+)*|[^A-Za-z0-9]")


def token(core: str) -> str:
    """Spoken words of ``core``, possibly none."""
    if (fixed := _FIXED.get(core.lower())) is not None:
        return fixed
    for reader in (_letters, web, date, time, _counted, _ranges, _codes):
        if (said := reader(core)) is not None:
            return said
    return mixed(core)


def _letters(core: str) -> str | None:
    """Words, with hyphens between them; dotted letters (U.S.A)."""
    if re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", core):
        return spell(core.replace(".", ""))
    if re.fullmatch(r"[A-Za-z]+(?:'[A-Za-z]+)*(?:-[A-Za-z]+(?:'[A-Za-z]+)*)*", core):
        return " ".join(word(part) for part in core.split("-"))
    return None


def _counted(core: str) -> str | None:
    """Ordinals, decades, fractions, powers, plain numbers."""
    if hit := re.fullmatch(r"(\d[\d,]{0,15})(?:st|nd|rd|th)", core, re.IGNORECASE):
        return ordinal(int(hit[1].replace(",", "")))
    if hit := DECADE.fullmatch(core):
        return decade(int(hit[1]))
    if hit := re.fullmatch(r"(?:(\d{1,6})_)?(\d{1,3})/(\d{1,3})", core):
        said = fraction(int(hit[2]), int(hit[3]))
        if not hit[1]:
            return said
        return f"{cardinal(int(hit[1]))} and {'a ' + said[4:] if said.startswith('one ') else said}"
    if hit := re.fullmatch(rf"({NUMBER})[eE]([-+]?\d{{1,3}})", core):
        return f"{number(hit[1])} times ten to the power of {signed(hit[2].replace('+', ''))}"
    if hit := re.fullmatch(rf"({NUMBER}|[A-Za-z])\^(-?\d+)", core):
        power = _POWERS.get(hit[2]) or f"to the power of {mixed(hit[2])}"
        return f"{hit[1].lower() if hit[1].isalpha() else number(hit[1])} {power}"
    return counted(core) if re.fullmatch(rf"[-+±~≈]?(?:{NUMBER})", core) else None


def _ranges(core: str) -> str | None:
    """5-10, 1990-1995, 3-4; telephone numbers, which have hyphens as well; scores and ratios; 3x4."""
    if re.fullmatch(r"\+?(?:\d{1,3}[-.])?(?:\(?\d{3}\)?[-.])?\d{3}[-.]\d{4}", core) or re.fullmatch(
        r"\+\d{7,15}", core
    ):
        return ("plus " if core[0] == "+" else "") + digits(core)
    if hit := re.fullmatch(rf"({NUMBER})[-–]({NUMBER})", core):
        return f"{counted(hit[1])} to {counted(hit[2])}"
    if hit := re.fullmatch(r"(\d+):(\d+)", core):
        return f"{whole(hit[1])} to {whole(hit[2])}"
    if hit := re.fullmatch(rf"({NUMBER})([x×*])({NUMBER})", core):
        return f"{counted(hit[1])} {'by' if hit[2] == 'x' else 'times'} {counted(hit[3])}"
    if hit := re.fullmatch(r"(\d+)'(\d+)\"", core):
        return f"{whole(hit[1])} feet {whole(hit[2])} inches"
    return None


def _codes(core: str) -> str | None:
    """Versions, network addresses, numbered things, tags."""
    if hit := re.fullmatch(r"([vV]?)(\d+(?:\.\d+)+)", core):
        parts = hit[2].split(".")
        if hit[1] or len(parts) > 2:
            read = (digits, " dot ") if len(parts) == 4 else (whole, " point ")
            return ("version " if hit[1] else "") + read[1].join(read[0](part) for part in parts)
    if hit := re.fullmatch(r"#(\d+)", core):
        return f"number {whole(hit[1])}"
    if hit := re.fullmatch(r"#([A-Za-z]\w*)", core):
        return f"hashtag {mixed(hit[1])}"
    return None


def mixed(core: str) -> str:
    """Anything else, run by run: MP3 -> m p three; foo.txt -> foo dot t x t; his/hers -> his slash hers."""
    said = []
    runs = _RUNS.findall(core)
    for at, run in enumerate(runs):
        inside = 0 < at < len(runs) - 1
        if run[0].isdigit() or (run[0] == "." and len(run) > 1):
            said.append(counted(run) if len(runs) > 1 and run[0] != "." else number(run))
        elif run[0].isalpha():
            said.append(_part(run, len(runs) > 1))
        elif (
            run == "-"
            and at + 1 < len(runs)
            and runs[at + 1][0].isdigit()
            and (at == 0 or not runs[at - 1][0].isalnum())
        ):
            said.append("minus")
        elif run == "." and inside:
            said.append("dot")
        elif run == "#" and at:
            said.append("sharp")
        else:
            said.append(SYMBOLS.get(run, ""))
    return " ".join(part for part in said if part)


def _part(run: str, beside: bool) -> str:
    """Letters beside digits or symbols: single ones and those without a vowel are spelled."""
    if beside and run.isalpha() and ((run.isupper() and len(run) <= 3) or not set(run.lower()) & set("aeiouy")):
        return spell(run)
    return word(run)

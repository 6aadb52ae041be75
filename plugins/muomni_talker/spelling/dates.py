"""Dates and times of the day."""

from __future__ import annotations

import re

from muomni_talker.spelling.numbers import cardinal, ordinal, year

MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_SHORT = {month[:3]: month for month in MONTHS} | {"sept": "september"}
_ISO = re.compile(r"(\d{4})[-/](\d\d?)[-/](\d\d?)(?:T(\d\d?:\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|[-+]\d\d:?\d\d)?)?")
_SLASHED = re.compile(r"(\d\d?)([/.-])(\d\d?)\2(\d{4}|\d\d)")
_TIME = re.compile(r"(\d\d?)[:.](\d\d)(?::(\d\d))?\s?([ap]\.?m)?", re.IGNORECASE)
_HOUR = re.compile(r"(\d\d?)([ap])\.?m", re.IGNORECASE)


def month(core: str) -> str | None:
    """The whole name of a month, also from its first three letters; None if it is none, or not capitalised."""
    low = core.lower()
    return (low if low in MONTHS else _SHORT.get(low)) if core[:1].isupper() else None


def date(core: str) -> str | None:
    """2024-03-05, 3/5/2024 (month first unless that cannot be), 5.3.2024 (day first)."""
    if (iso := _ISO.fullmatch(core)) is not None:
        said = _day(int(iso[2]), int(iso[3]), iso[1])
        clock = time(iso[4]) if iso[4] else ""
        return None if said is None or clock is None else f"{said} {clock}".strip()
    if (brief := re.fullmatch(r"(0[1-9]|1[0-2])/(0[1-9]|[12]\d|3[01])", core)) is not None and "0" in (
        core[0],
        core[3],
    ):
        return f"{MONTHS[int(brief[1]) - 1]} {ordinal(int(brief[2]))}"
    if (hit := _SLASHED.fullmatch(core)) is None:
        return None
    first, second, written = int(hit[1]), int(hit[3]), hit[4]
    if len(written) == 2:
        if hit[2] == ".":
            return None  # a version
        written = ("19" if int(written) >= 50 else "20") + written
    if hit[2] == "." or first > 12:
        return _day(second, first, written)
    return _day(first, second, written)


def _day(at: int, day: int, written: str) -> str | None:
    if not (1 <= at <= 12 and 1 <= day <= 31):
        return None
    return f"{MONTHS[at - 1]} {ordinal(day)} {year(int(written))}"


def time(core: str) -> str | None:
    """3:05 -> three oh five; 3:00 -> three o'clock; 3:45pm -> three forty five p m; 3pm -> three p m."""
    if (hour := _HOUR.fullmatch(core)) is not None and int(hour[1]) <= 24:
        return f"{cardinal(int(hour[1]))} {hour[2].lower()} m"
    if (hit := _TIME.fullmatch(core)) is None or int(hit[1]) > 24 or int(hit[2]) > 59 or int(hit[3] or 0) > 59:
        return None
    if "." in core[:3] and not hit[4]:
        return None  # a decimal
    hours, minutes = int(hit[1]), int(hit[2])
    said = cardinal(hours) if hours or hit[1] == "0" else "zero"
    if minutes:
        said += f" {'oh ' if minutes < 10 else ''}{cardinal(minutes)}"
    elif hours > 12 or hours == 0:
        said = "midnight" if hours in (0, 24) else f"{said} hundred"
    elif not hit[4]:
        said += " o'clock"
    if hit[3] and int(hit[3]):
        said += f" and {cardinal(int(hit[3]))} second{'s' if int(hit[3]) != 1 else ''}"
    return f"{said} {hit[4][0].lower()} m" if hit[4] else said

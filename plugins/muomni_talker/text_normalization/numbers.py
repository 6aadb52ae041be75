# ruff: noqa: RUF001 (ambiguous characters are intended)

"""Numbers as words: counts, ordinals, decimals, years, fractions, money, percent, units, dates and times of day."""

from __future__ import annotations

import re

from num2words import num2words  # type: ignore[import-untyped]

LONGEST = 15  # most digits that are read as one number; longer ones are read digit by digit
NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_SIGNS = {"-": "minus ", "+": "plus ", "±": "plus or minus ", "~": "about ", "≈": "about "}
_MONEY = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_CODES = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}
SCALES = {
    **{word: word for word in ("hundred", "thousand", "million", "billion", "trillion")},
    **{"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion", "tn": "trillion"},
}
_UNITS = {
    **{"km": "kilometre", "m": "metre", "cm": "centimetre", "mm": "millimetre", "µm": "micrometre", "nm": "nanometre"},
    **{"mi": "mile", "yd": "yard", "ft": "foot/feet", "in": "inch/inches", "kg": "kilogram", "g": "gram"},
    **{"mg": "milligram", "µg": "microgram", "lb": "pound", "lbs": "pound", "oz": "ounce", "t": "ton"},
    **{"l": "litre", "L": "litre", "ml": "millilitre", "mL": "millilitre", "cl": "centilitre", "dl": "decilitre"},
    **{"s": "second", "sec": "second", "secs": "second", "ms": "millisecond", "µs": "microsecond", "ns": "nanosecond"},
    **{"min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour"},
    **{"Hz": "hertz/hertz", "kHz": "kilohertz/kilohertz", "MHz": "megahertz/megahertz", "GHz": "gigahertz/gigahertz"},
    **{"W": "watt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "kWh": "kilowatt hour", "Wh": "watt hour"},
    **{"V": "volt", "mV": "millivolt", "kV": "kilovolt", "A": "amp", "mA": "milliamp", "mAh": "milliamp hour"},
    **{"J": "joule", "kJ": "kilojoule", "kcal": "kilocalorie", "cal": "calorie", "N": "newton", "Pa": "pascal"},
    **{"KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "PB": "petabyte"},
    **{"KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte", "kbps": "kilobit per second/kilobits per second"},
    **{"Mbps": "megabit per second/megabits per second", "Gbps": "gigabit per second/gigabits per second"},
    **{"mph": "mile per hour/miles per hour", "kph": "kilometre per hour/kilometres per hour", "dB": "decibel"},
    **{"km/h": "kilometre per hour/kilometres per hour", "kmh": "kilometre per hour/kilometres per hour"},
    **{"m/s": "metre per second/metres per second", "fps": "frame per second/frames per second", "px": "pixel"},
    **{"m^2": "square metre", "km^2": "square kilometre", "cm^2": "square centimetre", "m^3": "cubic metre"},
    **{"cm^3": "cubic centimetre", "sqm": "square metre", "sqft": "square foot/square feet", "ha": "hectare"},
    **{"°": "degree", "°C": "degree celsius/degrees celsius", "°F": "degree fahrenheit/degrees fahrenheit"},
    **{"°N": "degree north/degrees north", "°S": "degree south/degrees south"},
    **{"°E": "degree east/degrees east", "°W": "degree west/degrees west"},
    **{"%": "percent/percent", "¢": "cent", "rpm": "revolution per minute/revolutions per minute"},
    **{"x": "times/times"},
}
# After a space, these are more often words or single letters.
_ONLY_JOINED = frozenset({"in", "A", "x", "t", "N", "J", "B", "cal", "min", "sec"})
_AMOUNT = re.compile(rf"([-+±~≈]?)((?:US|A|C|CA|AU)?[$€£¥₹]|)({NUMBER})(.*)")
_RANGE = re.compile(rf"({NUMBER})([$€£%°]?)[-–]({NUMBER})(.+)")
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_SHORT = {month[:3]: month for month in MONTHS} | {"sept": "september"}
_ISO = re.compile(r"(\d{4})[-/](\d\d?)[-/](\d\d?)(?:T(\d\d?:\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|[-+]\d\d:?\d\d)?)?")
_SLASHED = re.compile(r"(\d\d?)([/.-])(\d\d?)\2(\d{4}|\d\d)")
_TIME = re.compile(r"(\d\d?)[:.](\d\d)(?::(\d\d))?\s?([ap]\.?m)?", re.IGNORECASE)
_HOUR = re.compile(r"(\d\d?)([ap])\.?m", re.IGNORECASE)


def plain(words: str) -> str:
    """Remove the commas and hyphens of written-out numbers."""
    return words.replace(",", "").replace("-", " ")


def cardinal(number: int) -> str:
    """21 -> twenty one."""
    return plain(num2words(number))


def ordinal(number: int) -> str:
    """21 -> twenty first."""
    return plain(num2words(number, to="ordinal"))


def digits(text: str) -> str:
    """Digit by digit; other characters are skipped."""
    return " ".join(cardinal(int(digit)) for digit in text if digit in "0123456789")


def year(number: int) -> str:
    """1905 -> nineteen oh five; 2000 to 2009 as counts."""
    return plain(num2words(number, to="year"))


def decade(number: int) -> str:
    """1990 -> nineteen nineties; 90 -> nineties."""
    words = year(number) if number >= 100 else cardinal(number)
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


def whole(text: str) -> str:
    """A run of digits, read as a number unless it is long or begins with zeros, like codes and telephone numbers."""
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
    """:func:`number` with an optional sign."""
    return _SIGNS[text[0]] + number(text[1:]) if text[0] in _SIGNS else number(text)


def fraction(over: int, under: int) -> str:
    """3/4 -> three quarters; 10/10 -> ten out of ten; 7/3 -> seven over three."""
    if 0 < over < under <= 100 and under > 1:
        parts = {2: ("half", "halves"), 4: ("quarter", "quarters")}
        one, many = parts.get(under, (ordinal(under), f"{ordinal(under)}s"))
        return f"{cardinal(over)} {one if over == 1 else many}"
    joint = "out of" if over == under else "over"
    return f"{cardinal(over)} {joint} {cardinal(under)}"


def is_year(text: str) -> bool:
    """Four digits that are read in two pairs unless they count something."""
    return re.fullmatch(r"1[1-9]\d\d|20\d\d", text) is not None


def counted(text: str) -> str:
    """A bare number in running text: years as years."""
    return year(int(text)) if is_year(text) else signed(text)


def unit(text: str, *, apart: bool) -> str | None:
    """The key of a unit in the table; case is ignored for units of three letters or more."""
    if apart and text in _ONLY_JOINED:
        return None
    if text in _UNITS:
        return text
    low = text.lower()
    return low if len(low) > 2 and low in _UNITS else None


def with_unit(text: str, key: str) -> str:
    """Number and unit, singular after exactly one."""
    one, _, many = _UNITS[key].partition("/")
    return f"{signed(text)} {one if text in ('1', '-1') else many or f'{one}s'}"


def money(sign: str, amount: str, scale: str = "") -> str:
    """$5.50 -> five dollars and fifty cents; $1.5 million -> one point five million dollars."""
    one, many, cent, cents = _MONEY[sign[-1]]
    if scale:
        return f"{number(amount)} {scale} {many}"
    front, point, after = amount.replace(",", "").partition(".")
    if not point or len(after) != 2 or not cent or len(front) > 15:
        return f"{number(amount)} {one if amount == '1' else many}"
    parts = []
    if int(front or 0) or not int(after):
        parts.append(f"{cardinal(int(front or 0))} {one if front == '1' else many}")
    if int(after):
        parts.append(f"{cardinal(int(after))} {cent if after == '01' else cents}")
    return " and ".join(parts)


def amount(core: str, follow: str) -> tuple[str, bool] | None:
    """A number with a currency or a unit, and whether the word ``follow`` belongs to it; None if it has neither."""
    if (span := _RANGE.fullmatch(core)) is not None and (end := amount(span[3] + span[4], "")) is not None:
        return f"{number(span[1])} to {end[0]}", False
    if (hit := _AMOUNT.fullmatch(core)) is None:
        return None
    sign, currency, digits, rest = hit.groups()
    minus = _SIGNS.get(sign, "")
    if currency or rest in _MONEY or rest in _CODES:
        currency = currency or _CODES.get(rest, rest)
        if rest.lower() in SCALES:
            return minus + money(currency, digits, SCALES[rest.lower()]), False
        if rest in ("", *_MONEY, *_CODES):
            scaled = rest == "" and follow.lower() in {*SCALES.values(), "bn", "mn", "tn"}
            return minus + money(currency, digits, SCALES[follow.lower()] if scaled else ""), scaled
        return None
    if rest:
        key = unit(rest, apart=False)
        return None if key is None else (with_unit(sign + digits, key), False)
    if follow in _MONEY or follow in _CODES:
        return minus + money(_CODES.get(follow, follow), digits), True
    key = unit(follow, apart=True)
    return None if key is None else (with_unit(sign + digits, key), True)


def month(core: str) -> str | None:
    """The full name of a month or its abbreviation; None if it is not one, or not capitalized."""
    low = core.lower()
    return (low if low in MONTHS else _SHORT.get(low)) if core[:1].isupper() else None


def date(core: str) -> str | None:
    """2024-03-05, 3/5/2024 (month first unless impossible), 5.3.2024 (day first)."""
    if (iso := _ISO.fullmatch(core)) is not None:
        said = _day(int(iso[2]), int(iso[3]), iso[1])
        clock = time(iso[4]) if iso[4] else ""
        return None if said is None or clock is None else f"{said} {clock}".strip()
    brief = re.fullmatch(r"(0[1-9]|1[0-2])/(0[1-9]|[12]\d|3[01])", core)
    if brief is not None and "0" in (core[0], core[3]):
        return f"{MONTHS[int(brief[1]) - 1]} {ordinal(int(brief[2]))}"
    if (hit := _SLASHED.fullmatch(core)) is None:
        return None
    first, second, written = int(hit[1]), int(hit[3]), hit[4]
    if len(written) == 2:
        if hit[2] == ".":
            return None  # a version
        written = ("19" if int(written) >= 50 else "20") + written
    return _day(second, first, written) if hit[2] == "." or first > 12 else _day(first, second, written)


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

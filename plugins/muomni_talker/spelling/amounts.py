"""Money, percent and units: numbers with what they count."""
# ruff: noqa: RUF001 (characters that look like others are the matter here)

from __future__ import annotations

import re

from muomni_talker.spelling.numbers import NUMBER, cardinal, number, signed

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
_FULL = frozenset(word for word in SCALES.values())
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
# With a space between, these are more often words, or letters by themselves.
_ONLY_JOINED = frozenset({"in", "A", "x", "t", "N", "J", "B", "cal", "min", "sec"})
_AMOUNT = re.compile(rf"([-+±~≈]?)((?:US|A|C|CA|AU)?[$€£¥₹]|)({NUMBER})(.*)")
_RANGE = re.compile(rf"({NUMBER})([$€£%°]?)[-–]({NUMBER})(.+)")


def unit(text: str, *, apart: bool) -> str | None:
    """The table's key of a unit, spelled exactly so or in other capitals where it has three letters or more."""
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
    parts = (
        [f"{cardinal(int(front or 0))} {one if front == '1' else many}"] if int(front or 0) or not int(after) else []
    )
    if int(after):
        parts.append(f"{cardinal(int(after))} {cent if after == '01' else cents}")
    return " and ".join(parts)


def amount(core: str, follow: str) -> tuple[str, bool] | None:
    """A number with a sign of money or a unit, and whether the word ``follow`` belongs to it; None if it is no such."""
    if (span := _RANGE.fullmatch(core)) is not None and (end := amount(span[3] + span[4], "")) is not None:
        return f"{number(span[1])} to {end[0]}", False
    if (hit := _AMOUNT.fullmatch(core)) is None:
        return None
    sign, currency, digits, rest = hit.groups()
    minus = {"-": "minus ", "+": "plus ", "±": "plus or minus ", "~": "about ", "≈": "about ", "": ""}[sign]
    if currency or rest in _MONEY or rest in _CODES:
        currency = currency or _CODES.get(rest, rest)
        if rest.lower() in SCALES:
            return minus + money(currency, digits, SCALES[rest.lower()]), False
        if rest in ("", *_MONEY, *_CODES):
            scaled = follow.lower() in _FULL | {"bn", "mn", "tn"} and rest == ""
            return minus + money(currency, digits, SCALES[follow.lower()] if scaled else ""), scaled
        return None
    if rest:
        key = unit(rest, apart=False)
        return None if key is None else (with_unit(sign + digits, key), False)
    if follow in _MONEY or follow in _CODES:
        return minus + money(_CODES.get(follow, follow), digits), True
    key = unit(follow, apart=True)
    return None if key is None else (with_unit(sign + digits, key), True)

# ruff: noqa: RUF001 (ambiguous characters are intended)

"""Numbers as words: counts, ordinals, decimals, years, fractions, money, percent, units, dates and times of day."""

from __future__ import annotations

import re


def listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


LONGEST = 15  # most digits that are read as one number; longer ones are read digit by digit
NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_SIGNS = {"-": "minus ", "+": "plus ", "±": "plus or minus ", "~": "about ", "≈": "about "}
_MONEY = {  # by sign or code: one, many, one hundredth, many hundredths
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
    "₽": ("ruble", "rubles", "kopek", "kopeks"),
    "₺": ("lira", "lira", "kurush", "kurush"),
    "₴": ("hryvnia", "hryvnias", "kopiyka", "kopiykas"),
    "₫": ("dong", "dong", "", ""),
    "฿": ("baht", "baht", "satang", "satang"),
    "₱": ("peso", "pesos", "centavo", "centavos"),
    "₦": ("naira", "naira", "kobo", "kobo"),
    "₪": ("shekel", "shekels", "agora", "agorot"),
    "₿": ("bitcoin", "bitcoins", "", ""),
    "₸": ("tenge", "tenge", "", ""),
    "₡": ("colon", "colones", "", ""),
    "USD": ("u s dollar", "u s dollars", "cent", "cents"),
    "CAD": ("canadian dollar", "canadian dollars", "cent", "cents"),
    "AUD": ("australian dollar", "australian dollars", "cent", "cents"),
    "CHF": ("swiss franc", "swiss francs", "centime", "centimes"),
    "CNY": ("yuan", "yuan", "", ""),
    "RMB": ("yuan", "yuan", "", ""),
    "SEK": ("swedish krona", "swedish kronor", "", ""),
    "NOK": ("norwegian krone", "norwegian kroner", "", ""),
    "DKK": ("danish krone", "danish kroner", "", ""),
    "PLN": ("zloty", "zlotys", "grosz", "groszy"),
    "CZK": ("czech koruna", "czech korunas", "", ""),
    "BRL": ("real", "reais", "centavo", "centavos"),
    "MXN": ("mexican peso", "mexican pesos", "centavo", "centavos"),
    "ZAR": ("rand", "rand", "cent", "cents"),
}
CURRENCIES = "".join(key for key in _MONEY if len(key) == 1)
CODES = {key: key for key in _MONEY if len(key) > 1} | {
    **{"EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩", "RUB": "₽", "TRY": "₺", "UAH": "₴", "VND": "₫"},
    **{"THB": "฿", "PHP": "₱", "NGN": "₦", "ILS": "₪", "BTC": "₿", "KZT": "₸"},
}
_ARTICLES = frozenset({"a", "an"})
_NOUNS = listed(  # what an amount of money often describes
    "acquisition aid bailout bid bill bond bonds bonus budget business campaign check company contract debt deal "
    "deficit donation expansion facility fine fund fundraise gift grant house industry investment judgment jackpot "
    "lawsuit loan loans loss merger mortgage note offer package plan prize profit program project purchase reward "
    "round salary settlement stake surplus takeover tax ticket tickets valuation verdict"
)
_NO_NOUNS = listed(  # words after an amount that it does not describe
    "a an and are as at but by each for from had has have he if in is it less more now of off on or per she since so "
    "than that the then they this to today was we were which who will with worth you"
)
SCALES = {
    **{word: word for word in ("hundred", "thousand", "million", "billion", "trillion")},
    **{"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion", "tn": "trillion"},
}
_UNITS = {
    **{"km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "µm": "micrometer", "nm": "nanometer"},
    **{"mi": "mile", "yd": "yard", "ft": "foot/feet", "in": "inch/inches", "kg": "kilogram", "g": "gram"},
    **{"mg": "milligram", "µg": "microgram", "lb": "pound", "lbs": "pound", "oz": "ounce", "t": "ton"},
    **{"l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter", "cl": "centiliter", "dl": "deciliter"},
    **{"s": "second", "sec": "second", "secs": "second", "ms": "millisecond", "µs": "microsecond", "ns": "nanosecond"},
    **{"min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour"},
    **{"Hz": "hertz/hertz", "kHz": "kilohertz/kilohertz", "MHz": "megahertz/megahertz", "GHz": "gigahertz/gigahertz"},
    **{"W": "watt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "kWh": "kilowatt hour", "Wh": "watt hour"},
    **{"V": "volt", "mV": "millivolt", "kV": "kilovolt", "A": "amp", "mA": "milliamp", "mAh": "milliamp hour"},
    **{"J": "joule", "kJ": "kilojoule", "kcal": "kilocalorie", "cal": "calorie", "N": "newton", "Pa": "pascal"},
    **{"KB": "kilobyte", "kB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "PB": "petabyte"},
    **{"KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte", "kbps": "kilobit per second/kilobits per second"},
    **{"Mbps": "megabit per second/megabits per second", "Gbps": "gigabit per second/gigabits per second"},
    **{"mph": "mile per hour/miles per hour", "kph": "kilometer per hour/kilometers per hour", "dB": "decibel"},
    **{"km/h": "kilometer per hour/kilometers per hour", "kmh": "kilometer per hour/kilometers per hour"},
    **{"m/s": "meter per second/meters per second", "fps": "frame per second/frames per second", "px": "pixel"},
    **{"m^2": "square meter", "km^2": "square kilometer", "cm^2": "square centimeter", "m^3": "cubic meter"},
    **{"cm^3": "cubic centimeter", "sqm": "square meter", "sqft": "square foot/square feet", "ha": "hectare"},
    **{"°": "degree", "°C": "degree celsius/degrees celsius", "°F": "degree fahrenheit/degrees fahrenheit"},
    **{"°N": "degree north/degrees north", "°S": "degree south/degrees south"},
    **{"°E": "degree east/degrees east", "°W": "degree west/degrees west"},
    **{"%": "percent/percent", "¢": "cent", "rpm": "revolution per minute/revolutions per minute"},
    **{"x": "times/times"},
}
# After a space, these are more often words or single letters.
_ONLY_JOINED = frozenset({"in", "A", "x", "t", "N", "J", "B", "cal", "min", "sec"})
_AMOUNT = re.compile(rf"([-+±~≈]?)((?:US|A|C|CA|AU)?[{CURRENCIES}]|(?:{'|'.join(CODES)})(?=\d)|)({NUMBER})(.*)")
_RANGE = re.compile(rf"({NUMBER})([$€£%°]?)[-–]({NUMBER})(.+)")
_DASH = re.compile("[-–]")
_OTHER_NUMBERS = re.compile(
    r"(?<![\d.,'_])(?:(?P<european>[1-9]\d{0,2}(?:\.\d{3})+),(?P<part>\d+)|(?P<dotted>[1-9]\d{0,2}(?:\.\d{3}){2,})"
    r"|(?P<swiss>[1-9]\d{0,2}(?:['_]\d{3})+)|(?P<indian>\d{1,2}(?:,\d\d)+,\d{3})"
    r"|(?P<money>(?<=€)[1-9]\d{0,2}\.\d{3}|[1-9]\d{0,2}\.\d{3}(?=€))|(?P<comma>\d+),(?P<tail>\d{1,2}|\d{4,}))"
    r"(?![\d_]|[.,]\d)"
)
_DAYS = {
    **{day[:3]: day for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")},
    **{"tues": "tuesday", "thur": "thursday", "thurs": "thursday"},
}
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_SHORT = {month[:3]: month for month in MONTHS} | {"sept": "september"}
_ISO = re.compile(r"(\d{4})[-/](\d\d?)[-/](\d\d?)(?:T(\d\d?:\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|[-+]\d\d:?\d\d)?)?")
_SLASHED = re.compile(r"(\d\d?)([/.-])(\d\d?)\2(\d{4}|\d\d)")
_TIME = re.compile(r"(\d\d?)[:.](\d\d)(?::(\d\d))?\s?([ap]\.?m)?", re.IGNORECASE)
_HOUR = re.compile(r"(\d\d?)([ap])\.?m", re.IGNORECASE)


def _spelled(number: int, form: str) -> str:
    """A number in English, as num2words writes it."""
    from num2words import num2words  # type: ignore[import-untyped]  # all its languages, for texts with numbers alone

    words: str = num2words(number, to=form)
    return words


def plain(words: str) -> str:
    """Remove the commas and hyphens of written-out numbers."""
    return words.replace(",", "").replace("-", " ")


def cardinal(number: int) -> str:
    """21 -> twenty one."""
    return plain(_spelled(number, "cardinal"))


def ordinal(number: int) -> str:
    """21 -> twenty first."""
    return plain(_spelled(number, "ordinal"))


def digits(text: str) -> str:
    """Digit by digit; other characters are skipped."""
    return " ".join(cardinal(int(digit)) for digit in text if digit in "0123456789")


def year(number: int) -> str:
    """1905 -> nineteen oh five; 2000 to 2009 as counts."""
    return plain(_spelled(number, "year"))


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


def regrouped(text: str) -> str:
    """Other notations as :data:`NUMBER`: 1.234,5 and 1'234 -> 1,234.5 and 1,234; 3,5 -> 3.5; 1,00,000 -> 100,000.
    IP addresses stay. A dash between two days or months is a hyphen, which :func:`calendar_range` reads."""
    if "–" in text and calendar_range(*text.strip(".,;:!?()").partition("–")[::2]):
        return text.replace("–", "-")
    return _OTHER_NUMBERS.sub(_regrouped, text) if re.search(r"\d[.,'_]\d", text) else text


def _regrouped(hit: re.Match[str]) -> str:
    found = hit.groupdict()
    if found["comma"] is not None:
        return f"{found['comma']}.{found['tail']}"
    whole = found["european"] or found["dotted"] or found["swiss"] or found["indian"] or found["money"]
    groups = re.split(r"[.,'_]", whole)
    if found["dotted"] and len(groups) == 4 and all(int(group) < 256 for group in groups):
        return hit[0]
    part = found["part"] or ""
    if part and not set(hit.string) & set(CURRENCIES):
        part = part.rstrip("0") or "0"
    return f"{int(''.join(groups)):,}" + (f".{part}" if part else "")


def currency(sign: str) -> str:
    """€ -> euros."""
    return _MONEY[sign][1]


def as_adjective(said: str, before: str, noun: str) -> str:
    """An amount in the singular if it describes the ``noun`` after it: a five dollar bill."""
    described = noun in _NOUNS or (before in _ARTICLES and noun.isalpha() and noun.islower() and noun not in _NO_NOUNS)
    if not described:
        return said
    for one, many, *_ in _MONEY.values():
        if said.endswith(f" {many}"):
            return said.removesuffix(many) + one
    for unit_names in _UNITS.values():
        one, _, many = unit_names.partition("/")
        if before in _ARTICLES and said.endswith(f" {many or f'{one}s'}"):
            return said.removesuffix(many or f"{one}s") + one
    return said


def money(sign: str, amount: str, scale: str = "") -> str:
    """$5.50 -> five dollars and fifty cents; €5.50 -> five euros fifty; $1.5 million -> one point five million
    dollars."""
    one, many, cent, cents = _MONEY[sign] if sign in _MONEY else _MONEY[CODES.get(sign, sign[-1:])]
    if scale:
        return f"{number(amount)} {scale} {many}"
    front, point, after = amount.replace(",", "").partition(".")
    if not point or len(after) != 2 or not cent or len(front) > 15:
        return f"{number(amount)} {one if amount == '1' else many}"
    if one == "euro" and int(front or 0) and after >= "10":
        return f"{cardinal(int(front))} {one if front == '1' else many} {cardinal(int(after))}"
    parts = []
    if int(front or 0) or not int(after):
        parts.append(f"{cardinal(int(front or 0))} {one if front == '1' else many}")
    if int(after):
        parts.append(f"{cardinal(int(after))} {cent if after == '01' else cents}")
    return " and ".join(parts)


def amount(core: str, follow: str) -> tuple[str, bool] | None:
    """A number with a currency or a unit, and whether the word ``follow`` belongs to it; None if it has neither."""
    if len(_DASH.findall(core, 1)) > 1:
        return None
    if (span := _RANGE.fullmatch(core)) is not None and (end := amount(span[3] + span[4], "")) is not None:
        return f"{number(span[1])} to {end[0]}", False
    if (hit := _AMOUNT.fullmatch(core)) is None or _DASH.search(core, 1) is not None:
        return _span(core, follow)
    sign, currency, digits, rest = hit.groups()
    minus = _SIGNS.get(sign, "")
    if currency or rest in _MONEY or rest in CODES:
        currency = currency or CODES.get(rest, rest)
        if rest.lower() in SCALES:
            return minus + money(currency, digits, SCALES[rest.lower()]), False
        if rest in ("", *_MONEY, *CODES):
            scaled = rest == "" and follow.lower() in {*SCALES.values(), "bn", "mn", "tn"}
            return minus + money(currency, digits, SCALES[follow.lower()] if scaled else ""), scaled
        return None
    if rest:
        key = unit(rest, apart=False)
        return None if key is None else (with_unit(sign + digits, key), False)
    if follow in _MONEY or follow in CODES:
        return minus + money(CODES.get(follow, follow), digits), True
    key = unit(follow, apart=True)
    return None if key is None else (with_unit(sign + digits, key), True)


def _span(core: str, follow: str) -> tuple[str, bool] | None:
    """$5-$10, $5-10 million, 5km-10km."""
    ends = _DASH.split(core)
    if len(ends) != 2 or (first := amount(ends[0], "")) is None:
        return None
    if (last := amount(ends[1], follow)) is not None:
        return f"{first[0]} to {last[0]}", last[1]
    sign = ends[0][0]
    if sign not in CURRENCIES or (last := amount(sign + ends[1], follow)) is None:
        return None
    return f"{number(ends[0][1:])} to {last[0]}", last[1]


def weekday(core: str) -> str | None:
    """The full name of a day or its abbreviation; None if it is not one, or not capitalized."""
    low = core.lower()
    return (low if low in _DAYS.values() else _DAYS.get(low)) if core[:1].isupper() else None


def calendar_range(first: str, last: str) -> str | None:
    """Mon, Fri -> monday to friday; None if they are not two days or two months."""
    for reader in (weekday, month):
        if (begin := reader(first)) and (end := reader(last)):
            return f"{begin} to {end}"
    return None


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

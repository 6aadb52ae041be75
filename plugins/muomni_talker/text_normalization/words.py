# ruff: noqa: RUF001 (ambiguous characters are intended)

"""Reads a word independent of its context: acronyms, abbreviations, Roman numerals, web addresses, mixtures of letters
and digits.

Words in capitals are spelled letter by letter if they have at most three letters or no vowel, or are in a list; others,
such as "HELLO" and "NASA", are read as words.
"""

from __future__ import annotations

import re

from muomni_talker.text_normalization import numbers
from muomni_talker.text_normalization.numbers import listed

SYMBOLS = {
    **{"&": "and", "@": "at", "+": "plus", "=": "equals", "/": "slash", "\\": "backslash", "%": "percent"},
    **{"#": "number", "°": "degrees", "<": "less than", ">": "greater than", "×": "times", "÷": "divided by"},
    **{"±": "plus or minus", "≈": "about", "≤": "at most", "≥": "at least", "≠": "is not", "π": "pi", "§": "section"},
    **{"©": "copyright", "∞": "infinity", "→": "to", "¢": "cents", "µ": "micro", "^": "to the power of", "~": "about"},
    **{"*": "times", "**": "star star", **{sign: numbers.currency(sign) for sign in numbers.CURRENCIES}},
}
_FIXED = {
    **{"24/7": "twenty four seven", "9/11": "nine eleven", "and/or": "and or", "w/": "with", "w/o": "without"},
    **{"n/a": "n a", "c++": "c plus plus", "c#": "c sharp", "f#": "f sharp", "co2": "c o two", "h2o": "h two o"},
    **{"->": "to", "=>": "to", "<-": "from", "<=": "at most", ">=": "at least", "==": "equals", "!=": "is not"},
    **{"++": "plus plus", "&&": "and", "||": "or", "**": "star star"},
    **{"km/h": "kilometers per hour", "'90s": "nineties", "i/o": "i o", "a/c": "a c"},
}
DECADE = re.compile(r"'?(\d0|\d\d\d0)'?s")
_RUNS = re.compile(
    rf"\d+(?:st|nd|rd|th)(?![A-Za-z])|\d+0s(?![A-Za-z])|{numbers.NUMBER}|\*\*|[A-Za-z]+(?:'[A-Za-z]+)*|[^A-Za-z0-9]"
)


# Short words in capitals that are not spelled.
_READ = listed(
    "THE AND NOT YES NO ALL YOU ARE IS OF TO IN ON WE HE SHE BE DO SO IF OR BUT FOR CAN HAS HAD HIS HER WAS DID OUT "
    "OUR OFF OLD NEW NOW ONE TWO SIX TEN WHY HOW MY ME BY AT AS AN UP GO OH HI MAY GET SEE SAY DAY WAY MAN TOP BIG "
    "BAD CAT DOG RUN SUN RED HEY LET PUT TOO ANY END USE PIN RAM ROM GIF SIM ZIP"
)
_SPELLED = listed("ISBN IEEE ONNX HDMI NAACP UCLA RSVP AAAI UEFI ETA FAQ")
_OTHERWISE = {"phd": "p h d", "ok": "okay", "tv": "t v", "vs": "versus", "aka": "a k a", "cv": "c v"}

# Abbreviations whose period usually does not end a sentence.
SHORT = {
    **{"mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor", "rev": "reverend"},
    **{"gen": "general", "sen": "senator", "rep": "representative", "gov": "governor", "lt": "lieutenant"},
    **{"col": "colonel", "sgt": "sergeant", "capt": "captain", "cpl": "corporal", "maj": "major", "hon": "honorable"},
    **{"pres": "president", "messrs": "messieurs", "mme": "madame", "mlle": "mademoiselle"},
    **{"st": "saint", "mt": "mount", "ft": "fort", "fig": "figure", "figs": "figures", "eq": "equation"},
    **{"vol": "volume", "pp": "pages", "vs": "versus", "cf": "compare", "ca": "circa", "approx": "approximately"},
    **{"dept": "department", "est": "established", "govt": "government", "univ": "university", "assn": "association"},
    **{"no": "number", "nos": "numbers", "ch": "chapter", "ext": "extension", "tel": "telephone", "apt": "apartment"},
    **{"e.g": "for example", "i.e": "that is", "viz": "namely"},
}
# Abbreviations that often end a sentence.
ENDING = {
    **{"etc": "et cetera", "inc": "incorporated", "ltd": "limited", "co": "company", "corp": "corporation"},
    **{"bros": "brothers", "jr": "junior", "sr": "senior", "ave": "avenue", "blvd": "boulevard", "rd": "road"},
    **{"a.m": "a m", "p.m": "p m", "ph.d": "p h d", "al": "al", "esq": "esquire"},
}
# Abbreviations only if capitalized.
CAPITAL = listed("gen sen rep gov lt col sgt capt cpl maj hon rev pres st mt ft prof mr mrs ms dr messrs mme mlle")
# Abbreviations only before a number.
NUMBERED = frozenset({"no", "nos", "ch", "ext", "fig", "figs", "eq", "vol", "pp", "apt", "ca", "est", "tel", "p"})
TITLES = frozenset({"mr", "mrs", "ms", "dr", "prof"})  # abbreviations that British English writes without a period

_KINGS = listed(
    "henry louis elizabeth george edward charles james william richard john paul pius benedict leo philip francis "
    "napoleon alexander catherine mary ivan nicholas peter frederick gregory innocent clement urban ramesses ptolemy "
    "christian gustav henri carl haakon harald robert david constantine leopold maximilian otto wilhelm victor"
)
_COUNTED = listed(
    "chapter part volume act scene book section war appendix phase type class title level article stage grade "
    "figure table step version unit"
)
_ROMAN = re.compile(r"(?=[IVX])(X{0,3})(IX|IV|V?I{0,3})")
_ONES = {"": 0, "I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7, "VIII": 8, "IX": 9}
_DOMAIN = re.compile(
    r"(?:https?://|ftp://)?((?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|io|ai|co|uk|de|fr|eu|dev|app|info|us|ca|tv|me))"
    r"((?::\d+)?(?:[/?#].*)?)"
)
_SCHEME = re.compile(r"(?:https?|ftp|file|mailto):/*")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
_WEB = {
    **{".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", "?": "question mark", "=": "equals"},
    **{"&": "and", "#": "hash", ":": "colon", "+": "plus", "%": "percent", "~": "tilde", "\\": "backslash"},
}
_SUFFIXES = listed("com org net edu gov info app dev")


def spell(letters: str) -> str:
    """USB -> u s b."""
    return " ".join(letters.lower())


def word(text: str) -> str:
    """Letters and apostrophes, read as a word or letter by letter."""
    if text.lower() in _OTHERWISE:
        return _OTHERWISE[text.lower()]
    bare, _, end = text.partition("'")
    plural = len(bare) > 2 and bare[-1] == "s" and bare[:-1].isupper()
    capitals = bare[:-1] if plural else bare
    by_letter = len(capitals) <= 3 or capitals in _SPELLED or not set(capitals) & set("AEIOUY")
    if len(capitals) == 1 or not capitals.isupper() or capitals in _READ or not by_letter:
        return text.lower()
    return spell(capitals) + ("'s" if plural else "") + (f"'{end.lower()}" if end else "")


def roman(text: str, before: str) -> str | None:
    """Henry VIII -> the eighth; Chapter IV -> four; None if ambiguous."""
    hit = _ROMAN.fullmatch(text)
    if hit is None:
        return None
    value = 10 * len(hit[1]) + _ONES[hit[2]]
    if before.lower() in _COUNTED:
        return numbers.cardinal(value)
    king = before[:1].isupper() and before.lower() in _KINGS
    return f"the {numbers.ordinal(value)}" if king and text != "I" else None


def web(core: str) -> str | None:
    """john@example.com -> john at example dot com; the scheme is dropped."""
    rest = _SCHEME.sub("", core, count=1) if _SCHEME.match(core) else core
    known = rest != core or core.lower().startswith("www.") or _DOMAIN.fullmatch(core) or _MAIL.fullmatch(core)
    if not known or not rest:
        return None
    said = []
    for run in re.findall(r"[A-Za-z]+|\d+|.", rest.rstrip("/")):
        if run.isalpha() and run.isascii():
            alone = (len(run) <= 2 and run.upper() not in _READ) or run.lower() == "www"
            said.append(spell(run) if alone and run.lower() not in _SUFFIXES else word(run))
        elif run.isdigit():
            said.append(numbers.whole(run))
        else:
            said.append(_WEB.get(run, ""))
    return " ".join(part for part in said if part)


def token(core: str) -> str:
    """Spoken words of ``core``, possibly none."""
    if (fixed := _FIXED.get(core.lower())) is not None:
        return fixed
    for reader in (_letters, web, numbers.date, numbers.time, _counted, _ranges, _codes):
        if (said := reader(core)) is not None:
            return said
    return mixed(core)


def _letters(core: str) -> str | None:
    """Hyphenated words; dotted letters (U.S.A)."""
    if re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", core):
        return spell(core.replace(".", ""))
    if len(ends := core.split("-")) == 2 and (span := numbers.calendar_range(*ends)) is not None:
        return span
    if re.fullmatch(r"[A-Za-z]+(?:'[A-Za-z]+)*(?:-[A-Za-z]+(?:'[A-Za-z]+)*)*", core):
        return " ".join(word(part) for part in core.split("-"))
    return None


def _counted(core: str) -> str | None:
    """Ordinals, decades, fractions, powers, plain numbers."""
    if hit := re.fullmatch(r"(\d[\d,]{0,15})(?:st|nd|rd|th)", core, re.IGNORECASE):
        return numbers.ordinal(int(hit[1].replace(",", "")))
    if hit := DECADE.fullmatch(core):
        return numbers.decade(int(hit[1]))
    if hit := re.fullmatch(r"(?:(\d{1,6})_)?(\d{1,3})/(\d{1,3})", core):
        said = numbers.fraction(int(hit[2]), int(hit[3]))
        if not hit[1]:
            return said
        return f"{numbers.cardinal(int(hit[1]))} and {'a ' + said[4:] if said.startswith('one ') else said}"
    if hit := re.fullmatch(rf"({numbers.NUMBER})[eE]([-+]?\d{{1,3}})", core):
        return f"{numbers.number(hit[1])} times ten to the power of {numbers.signed(hit[2].replace('+', ''))}"
    if hit := re.fullmatch(rf"({numbers.NUMBER}|[A-Za-z])\^(-?\d+)", core):
        power = {"2": "squared", "3": "cubed"}.get(hit[2]) or f"to the power of {mixed(hit[2])}"
        return f"{hit[1].lower() if hit[1].isalpha() else numbers.number(hit[1])} {power}"
    return numbers.counted(core) if re.fullmatch(rf"[-+±~≈]?(?:{numbers.NUMBER})", core) else None


def _ranges(core: str) -> str | None:
    """5-10, 1990-1995; telephone numbers; scores and ratios; 3x4."""
    if re.fullmatch(r"\+?(?:\d{1,3}[-.])?(?:\(?\d{3}\)?[-.])?\d{3}[-.]\d{4}|\+\d{7,15}", core):
        return ("plus " if core[0] == "+" else "") + numbers.digits(core)
    if hit := re.fullmatch(r"([^-–]+)[-–]([^-–]+)", core):
        first, last = numbers.time(hit[1]), numbers.time(hit[2])
        if last and (first or (re.fullmatch(r"\d\d?", hit[1]) and int(hit[1]) <= 24)):
            return f"{first or numbers.cardinal(int(hit[1]))} to {last}"
        key = numbers.unit(hit[2], apart=True)
        if key is not None and re.fullmatch(numbers.NUMBER, hit[1]):
            return f"{numbers.number(hit[1])} {numbers.with_unit('1', key).partition(' ')[2]}"
    if hit := re.fullmatch(rf"({numbers.NUMBER})[-–]({numbers.NUMBER})", core):
        return f"{numbers.counted(hit[1])} to {numbers.counted(hit[2])}"
    if hit := re.fullmatch(r"(\d+):(\d+)", core):
        return f"{numbers.whole(hit[1])} to {numbers.whole(hit[2])}"
    if hit := re.fullmatch(rf"({numbers.NUMBER})([x×*])({numbers.NUMBER})", core):
        return f"{numbers.counted(hit[1])} {'by' if hit[2] == 'x' else 'times'} {numbers.counted(hit[3])}"
    if hit := re.fullmatch(r"(\d+)'(\d+)\"", core):
        return f"{numbers.whole(hit[1])} feet {numbers.whole(hit[2])} inches"
    return None


def _codes(core: str) -> str | None:
    """Versions, IP addresses, #1, hashtags."""
    if hit := re.fullmatch(r"([vV]?)(\d+(?:\.\d+)+)", core):
        parts = hit[2].split(".")
        if hit[1] or len(parts) > 2:
            read = (numbers.digits, " dot ") if len(parts) == 4 else (numbers.whole, " point ")
            return ("version " if hit[1] else "") + read[1].join(read[0](part) for part in parts)
    if hit := re.fullmatch(r"#(\d+)", core):
        return f"number {numbers.whole(hit[1])}"
    if hit := re.fullmatch(r"#([A-Za-z]\w*)", core):
        return f"hashtag {mixed(hit[1])}"
    return None


def mixed(core: str) -> str:
    """Anything else, run by run: MP3 -> m p three; foo.txt -> foo dot t x t; his/hers -> his slash hers. Empty for
    pictures of signs, such as ^_^."""
    if len(core) > 1 and not any(map(str.isalnum, core)):
        return ""
    said = []
    runs = _RUNS.findall(core)
    for at, run in enumerate(runs):
        signs_number = at + 1 < len(runs) and runs[at + 1][0].isdigit() and (at == 0 or not runs[at - 1][0].isalnum())
        if DECADE.fullmatch(run):
            said.append(numbers.decade(int(run[:-1])))
        elif run[0].isdigit() and run[-1].isalpha():
            said.append(numbers.ordinal(int(run[:-2])))
        elif run[0].isdigit() or (run[0] == "." and len(run) > 1):
            said.append(numbers.counted(run) if len(runs) > 1 and run[0] != "." else numbers.number(run))
        elif run[0].isalpha():
            # Beside digits or symbols, short capitals and letters without a vowel are spelled.
            short = run.isalpha() and ((run.isupper() and len(run) <= 3) or not set(run.lower()) & set("aeiouy"))
            said.append(spell(run) if short and len(runs) > 1 else word(run))
        elif run == "-" and signs_number:
            said.append("minus")
        elif run == "." and 0 < at < len(runs) - 1:
            said.append("dot")
        elif run == "#" and at:
            said.append("sharp")
        else:
            said.append(SYMBOLS.get(run, ""))
    return " ".join(part for part in said if part)

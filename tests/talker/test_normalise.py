"""Written text as people say it."""
# ruff: noqa: RUF001 (characters that look like others are the matter here)

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muomni_cli.api import TextChunk
from muomni_talker.text_frontend import normalize, pronounceable, script
from muomni_talker.text_normalization.written_form import ALPHABET

SAID = {
    # numbers
    "0": "zero",
    "7": "seven",
    "21 dogs": "twenty one dogs",
    "101": "one hundred and one",
    "1,234": "one thousand two hundred and thirty four",
    "1000000": "one million",
    "12,000,000": "twelve million",
    "5 million": "five million",
    "-5": "minus five",
    "−5": "minus five",
    "+5": "plus five",
    "±2": "plus or minus two",
    "~5": "about five",
    "3.14": "three point one four",
    ".5": "point five",
    "0.05": "zero point zero five",
    "007": "zero zero seven",
    "1234567890": "one two three four five six seven eight nine zero",
    "10^6": "ten to the power of six",
    "x²": "x squared",
    "3e5": "three times ten to the power of five",
    # ordinals, fractions, ranges
    "1st": "first",
    "22nd": "twenty second",
    "100th": "one hundredth",
    "1/2": "one half",
    "3/4": "three quarters",
    "2/3": "two thirds",
    "½": "one half",
    "3½": "three and a half",
    "1 1/2": "one and a half",
    "10/10": "ten out of ten",
    "24/7": "twenty four seven",
    "5-10": "five to ten",
    "pages 5–7": "pages five to seven",
    "2:1": "two to one",
    "3x4": "three by four",
    "2 + 2 = 4": "two plus two equals four",
    "5 - 3": "five minus three",
    "3 * 4": "three times four",
    "6 ÷ 2": "six divided by two",
    # years, dates, times
    "in 1905": "in nineteen oh five",
    "in 1900": "in nineteen hundred",
    "in 2005": "in two thousand and five",
    "in 2024": "in twenty twenty four",
    "the 1990s": "the nineteen nineties",
    "the '90s": "the nineties",
    "the 80s": "the eighties",
    "1990-1995": "nineteen ninety to nineteen ninety five",
    "June 5, 2020": "june fifth, twenty twenty",
    "June 5th": "june fifth",
    "on 5 June 2020": "on the fifth of june twenty twenty",
    "the 5 May": "the fifth of may",
    "Jan. 3": "january third",
    "3 Jan. 2020": "the third of january twenty twenty",
    "2024-03-05": "march fifth twenty twenty four",
    "2024-03-05T10:30:00Z": "march fifth twenty twenty four ten thirty",
    "3/5/2024": "march fifth twenty twenty four",
    "25/12/1999": "december twenty fifth nineteen ninety nine",
    "5.3.2024": "march fifth twenty twenty four",
    "3:00": "three o'clock",
    "3:05": "three oh five",
    "3:45pm": "three forty five p m",
    "3 pm": "three p m",
    "10 a.m. sharp": "ten a m sharp",
    "15:30": "fifteen thirty",
    "00:00": "midnight",
    "10:30:15": "ten thirty and fifteen seconds",
    # money, units, percent
    "$1": "one dollar",
    "$5.50": "five dollars and fifty cents",
    "$0.99": "ninety nine cents",
    "$1,234.56": "one thousand two hundred and thirty four dollars and fifty six cents",
    "$1.5 million": "one point five million dollars",
    "$5M": "five million dollars",
    "-$5": "minus five dollars",
    "US$20": "twenty dollars",
    "€20": "twenty euros",
    "20€": "twenty euros",
    "20 EUR": "twenty euros",
    "£1.01": "one pound and one penny",
    "¥100": "one hundred yen",
    "50¢": "fifty cents",
    "5%": "five percent",
    "0.5 %": "zero point five percent",
    "5-10%": "five to ten percent",
    "5 km": "five kilometers",
    "5 ft. of snow": "five feet of snow",
    "1 km": "one kilometer",
    "60 mph": "sixty miles per hour",
    "60 km/h": "sixty kilometers per hour",
    "20°C": "twenty degrees celsius",
    "-5 °F": "minus five degrees fahrenheit",
    "90°": "ninety degrees",
    "3 m²": "three square meters",
    "16 kHz": "sixteen kilohertz",
    "10GB": "ten gigabytes",
    "5'10\"": "five feet ten inches",
    "80 ms": "eighty milliseconds",
    "5x": "five times",
    # telephones, versions, addresses
    "555-1234": "five five five one two three four",
    "(555) 123-4567": "five five five one two three four five six seven",
    "v1.2.3": "version one point two point three",
    "192.168.0.1": "one nine two dot one six eight dot zero dot one",
    "john.doe@example.com": "john dot doe at example dot com",
    "https://www.example.com/a": "w w w dot example dot com slash a",
    "example.co.uk.": "example dot c o dot u k.",
    "file.txt": "file dot t x t",
    # shortened words
    "Mr. Smith": "mister smith",
    "Mr Smith": "mister smith",
    "Mrs. Jones met Dr. Brown.": "missus jones met doctor brown.",
    "on Main St. today": "on main street today",
    "St. John": "saint john",
    "No. 5": "number five",
    "No. It is.": "no. it is.",
    "e.g. this": "for example this",
    "i.e. that": "that is that",
    "cats, dogs, etc.": "cats, dogs, et cetera.",
    "cats etc. and dogs": "cats et cetera and dogs",
    "us vs. them": "us versus them",
    "J. R. Tolkien": "j r tolkien",
    "fig. 3, vol. 2": "figure three, volume two",
    # acronyms, letters and digits, Roman numerals
    "USB": "u s b",
    "HTML": "h t m l",
    "NASA": "nasa",
    "HELLO THE WORLD": "hello the world",
    "U.S.A. today": "u s a today",
    "two PCs": "two p c's",
    "MP3": "m p three",
    "COVID-19": "covid nineteen",
    "4K": "four k",
    "PhD": "p h d",
    "C++ and C#": "c plus plus and c sharp",
    "Henry VIII": "henry the eighth",
    "Chapter IV": "chapter four",
    "World War II": "world war two",
    "I am": "i am",
    # symbols and marks
    "AT&T": "a t and t",
    "salt & pepper": "salt and pepper",
    "and/or": "and or",
    "he/she": "he slash she",
    "#5": "number five",
    "#tag": "hashtag tag",
    "snake_case": "snake case",
    "well-known": "well known",
    "don't": "don't",
    "rock ’n’ roll": "rock n roll",
    "“Really?” he asked.": "really? he asked.",
    "yes—no": "yes - no",
    "yes - no": "yes - no",
    "wait... what": "wait, what",
    "Wait... What": "wait. what",
    "what?!": "what?",
    "hello , world !": "hello, world!",
    "more (inside) text": "more, inside, text",
    "**bold** `code`": "bold code",
    "# Title\n\nText": "title text",
    "- one\n- two": "one two",
    "1. one\n2. two": "one, one two, two",
    "end.Next": "end. next",
    "one,two": "one, two",
    # what cannot be spoken
    "café naïve Zoë straße": "cafe naive zoe strasse",
    "hi 😀👍🏽 there": "hi there",
    "a\x00b\x07 c\u200bd": "ab cd",
    "привет": "",
    "😀 … !!! \n\t": "",
    "": "",
}


OTHER_WRITING = {
    # numbers as other countries write them
    "1.000.000,50": "one million point five",
    "1.234,56": "one thousand two hundred and thirty four point five six",
    "1.000.000": "one million",
    "1'000'000": "one million",
    "1_000_000": "one million",
    "1,00,000": "one hundred thousand",
    "1 000 000": "one million",
    "10 000 km": "ten thousand kilometers",
    "3,5 km": "three point five kilometers",
    "0,75": "zero point seven five",
    "1,5,7": "one five seven",
    "1,234": "one thousand two hundred and thirty four",
    "in 2019 300 people": "in twenty nineteen three hundred people",
    "192.168.100.200": "one nine two dot one six eight dot one zero zero dot two zero zero",
    "٣ apples": "three apples",
    # money
    "€2,75": "two euros seventy five",
    "12,50 €": "twelve euros fifty",
    "1,10 €": "one euro ten",
    "€2.05": "two euros and five cents",
    "€0,75": "seventy five cents",
    "€3.00": "three euros",
    "€1.234": "one thousand two hundred and thirty four euros",
    "₩1000": "one thousand won",
    "₽500": "five hundred rubles",
    "USD 50": "fifty u s dollars",
    "50 USD": "fifty u s dollars",
    "EUR 1.5 million": "one point five million euros",
    "$1.4 billion loan": "one point four billion dollar loan",
    "a $5 bill": "a five dollar bill",
    "$5 million in loans": "five million dollars in loans",
    "a 5 km run": "a five kilometer run",
    # ranges
    "10am-5pm": "ten a m to five p m",
    "10am–5pm": "ten a m to five p m",
    "9-5pm": "nine to five p m",
    "10:30–11:45": "ten thirty to eleven forty five",
    "Mon-Fri": "monday to friday",
    "Jan–Mar": "january to march",
    "$5-$10": "five dollars to ten dollars",
    "$5-10": "five to ten dollars",
    "5°C-10°C": "five degrees celsius to ten degrees celsius",
    # compounds
    "2nd-hand": "second hand",
    "21st-century art": "twenty first century art",
    "mid-1990s style": "mid nineteen nineties style",
    "20-year-old": "twenty year old",
    "10-km run": "ten kilometer run",
    "call 911": "call nine one one",
    "911 call": "nine one one call",
    # markup
    "&amp; Tom": "and tom",
    "&lt;3": "less than three",
    "caf&eacute;": "cafe",
    '<speak>Hello <break time="1s"/> world</speak>': "hello. world",
    '<speak>Hello <break time="200ms"/> world</speak>': "hello, world",
    "<p>One</p><p>Two</p>": "one two",
    "<b>bold</b> and **bold** and ~~gone~~": "bold and bold and gone",
    "x<y>z": "x less than y greater than z",
    "<!-- a note --> text": "text",
    "## Heading": "heading",
    "> quoted": "quoted",
    "x**2": "x star star two",
    "a -> b": "a to b",
}


@pytest.mark.parametrize("text", OTHER_WRITING)
def test_other_ways_of_writing(text: str) -> None:
    assert normalize(text) == OTHER_WRITING[text]


def left_out(text: str) -> list[str]:
    skipped: dict[str, None] = {}
    list(script([TextChunk(text)], skipped))
    return list(skipped)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello Мир and 世界", ["Мир", "世界"]),
        ("नमस्ते friend", ["नमस्ते"]),
        ("so nice 😀!", ["😀"]),
        ("^_^ hi", ["^_^"]),
        ("see [the docs](https://x.org/a)", ["https://x.org/a"]),
        ("naïve café, 3,5 km & ₩1000", []),
        ("№ 5", []),
        ("# Title\n\n- **one**\n- two\n\n---\n> said", []),
    ],
)
def test_what_is_left_out_is_known(text: str, pieces: list[str]) -> None:
    assert left_out(text) == pieces


@given(st.characters(categories=["L", "N", "S"]))
def test_no_letter_digit_or_symbol_is_lost_in_silence(character: str) -> None:
    formatting = (
        "*#~-=_|>`+´¨'\N{MINUS SIGN}\N{ASTERISK OPERATOR}"  # and their other forms: full width, raised, tripled
    )
    plain = unicodedata.normalize("NFKC", character).replace("\N{MODIFIER LETTER APOSTROPHE}", "'")
    other_form = set(plain) <= {*formatting}  # full width, raised, tripled
    assert character in formatting or other_form or normalize(f"so {character}") != "so" or left_out(f"so {character}")


@given(st.integers(1000, 10**12), st.integers(1, 99))
def test_a_number_is_the_same_in_every_notation(number: int, part: int) -> None:
    english = f"{number:,}.{part:02d} km"
    said = normalize(english).removesuffix(" kilometers").rstrip()
    while said.endswith(" zero"):
        said = said.removesuffix(" zero")
    european = f"{number:,}".replace(",", ".") + f",{part:02d} km"
    assert normalize(european).removesuffix(" kilometers") == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("USB", "you es bee"), ("b", "bee"), ("B.", "bee."), ("I", "eye"), ("I am a man", "i am a man"),
        ("the x's", "the ex's"), ("5 p.m.", "five pee em."), ("vitamin C", "vitamin see"), ("o'clock", "o'clock"),
    ],
)  # fmt: skip
def test_single_letters_have_names(text: str, said: str) -> None:
    assert pronounceable(text) == said


@given(st.text("abcxyz '.,", max_size=40))
def test_no_single_consonant_reaches_the_talker(text: str) -> None:
    assert all(len(word.strip(".,?!;:-")) != 1 or word[0] in "aio'" for word in pronounceable(text).split())


@pytest.mark.parametrize("text", SAID)
def test_said_as_people_say_it(text: str) -> None:
    assert normalize(text) == SAID[text]


@given(st.text(max_size=120))
def test_alphabet_is_closed(text: str) -> None:
    said = normalize(text)
    assert set(said) <= set(ALPHABET)
    assert said == " ".join(said.split())


@given(st.integers(0, 10**15 - 1))
def test_counts_with_commas_are_numbers(number: int) -> None:
    from num2words import num2words  # type: ignore[import-untyped]

    said = normalize(f"{number:,} apples")
    if number > 999:
        assert said == num2words(number).replace(",", "").replace("-", " ") + " apples"


@pytest.mark.parametrize("text", ["9" * 100_000, "a" * 100_000, "." * 100_000, "a.b" * 30_000, "$1-" * 30_000])
def test_words_without_an_end_are_bounded(text: str) -> None:
    assert max((len(word) for word in normalize(text).split()), default=0) <= 41

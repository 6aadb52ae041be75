# ruff: noqa: RUF001 (letters of the phonetic alphabet)

"""Accents of English as substitutions of phonemes, for programs that take phonemes.

The alphabet is misaki's, which Kokoro and hibari read: A, I, W, O, Q and Y are the diphthongs of face, price, mouth,
goat (American and British) and choice. What somebody else says for a sound of English follows Wells, Accents of English
(1982), and Swan and Smith, Learner English (2001), roughly.
"""

from __future__ import annotations

from collections.abc import Mapping

BRITISH = "gb"  # not substituted, but read by British rules
AMERICAN = "us"

_SPANISH = {"ɪ": "i", "z": "s", "ð": "d", "θ": "s", "v": "b", "æ": "a", "ə": "e", "ɜɹ": "eɹ", "ʊ": "u", "ʌ": "a"}
_GERMAN = {"w": "v", "ð": "z", "θ": "s", "ʤ": "ʧ", "æ": "ɛ", "ɹ": "ʁ", "ɾ": "t", "T": "t"}
_INDIAN = {
    "w": "ʋ", "v": "ʋ", "t": "ʈ", "d": "ɖ", "T": "ʈ", "θ": "t", "ð": "d", "A": "e", "O": "o", "ɹ": "r", "æ": "ɛ",
}  # fmt: skip
_FRENCH = {"h": "", "ð": "z", "θ": "s", "ɪ": "i", "ɹ": "ʁ", "ʧ": "ʃ", "ʤ": "ʒ", "ʌ": "œ", "T": "t", "ˈ": "", "ˌ": ""}
_CHINESE = {"θ": "s", "ð": "d", "v": "w", "ɪ": "i", "z": "s", "T": "t", "ˌ": "ˈ"}
_RUSSIAN = {"w": "v", "h": "x", "ɪ": "i", "ð": "z", "θ": "s", "ɹ": "r", "æ": "ɛ", "ə": "a", "T": "t"}
_JAPANESE = {"ɹ": "ɾ", "l": "ɾ", "θ": "s", "ð": "z", "v": "b", "æ": "a", "ʌ": "a", "ɜ": "a", "ə": "a", "T": "t"}

ACCENTS: Mapping[str, Mapping[str, str]] = {
    AMERICAN: {},
    BRITISH: {},
    "es": _SPANISH,
    "de": _GERMAN,
    "in": _INDIAN,
    "fr": _FRENCH,
    "zh": _CHINESE,
    "ru": _RUSSIAN,
    "ja": _JAPANESE,
}
"""Accent -> what replaces a phoneme, or a pair of them."""


def accented(phonemes: str, accent: str) -> str:
    """Phonemes of American English in an accent of :data:`ACCENTS`."""
    table = ACCENTS[accent]
    said, place = "", 0
    while place < len(phonemes):
        size = 2 if phonemes[place : place + 2] in table else 1
        sound = phonemes[place : place + size]
        said += table.get(sound, sound)
        place += size
    return said

"""Words and their pronunciations for speech recognition: pocketsphinx's English dictionary, and two rules for words
that it lacks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from muomni_cli.core.errors import RequestError

VOICELESS = frozenset({"P", "T", "K", "F", "TH"})
HISSING = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"})
SHORTEST = 3
"""Letters of a part of a compound: shorter ones are in too many words by chance."""

APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})
NOT_WORDS = re.compile(r"[^\w']+|_")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without accents and punctuation; an apostrophe stays within a word."""
    plain = unicodedata.normalize("NFKD", text.translate(APOSTROPHES)).casefold()
    bare = "".join(one for one in plain if not unicodedata.combining(one))
    return [word for piece in NOT_WORDS.split(bare) if (word := piece.strip("'"))]


@lru_cache(maxsize=1)
def english() -> Mapping[str, tuple[str, ...]]:
    """pocketsphinx's dictionary: the pronunciations of each word, phones separated by spaces.

    Raises:
        RequestError: pocketsphinx is not installed.
    """
    found: dict[str, tuple[str, ...]] = {}
    for line in (model_folder() / "cmudict-en-us.dict").read_text("utf-8").splitlines():
        name, _, phones = line.partition(" ")
        word = name.partition("(")[0]
        found[word] = (*found.get(word, ()), phones.strip())
    return found


def model_folder() -> Path:
    """Where pocketsphinx's English model lies.

    Raises:
        RequestError: it is not installed.
    """
    try:
        from pocketsphinx import get_model_path
    except ImportError as error:
        raise RequestError(
            "word error rates of speech need pocketsphinx, which is not installed", "pip install 'muomni[judge]'"
        ) from error
    return Path(get_model_path()) / "en-us"


def pronunciations(word: str) -> tuple[str, ...]:
    """Pronunciations of a word: from the dictionary, with a possessive ending (``Jorinda's``), or from the two words
    that it consists of (``snowdrop``). Empty if unknown.

    Raises:
        RequestError: pocketsphinx is not installed.
    """
    known = english()
    if word in known:
        return known[word]
    if word.endswith("'s") and word[:-2] in known:
        return tuple(f"{phones} {_ending(phones)}" for phones in known[word[:-2]])
    for place in range(len(word) - SHORTEST, SHORTEST - 1, -1):
        first, second = word[:place], word[place:]
        if first in known and second in known:
            return (f"{known[first][0]} {known[second][0]}",)
    return ()


def _ending(phones: str) -> str:
    last = phones.rsplit(maxsplit=1)[-1]
    if last in HISSING:
        return "IH Z"
    return "S" if last in VOICELESS else "Z"

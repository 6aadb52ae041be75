"""Written text as it is spoken: lower-case letters, apostrophes, spaces and a few marks, nothing else."""

from __future__ import annotations

from muomni_cli.api import Said
from muomni_talker.script import script
from muomni_talker.spelling.written import ALPHABET

__all__ = ["ALPHABET", "normalise"]


def normalise(text: str) -> str:
    """``text`` as it is spoken; its sentences joined by a space; empty if nothing of it can be spoken.

    The same characters come from :func:`muomni_talker.script.script`, word by word.
    """
    return "".join(word.text + " " * word.ends for word in script([Said(text)])).removesuffix(" ")

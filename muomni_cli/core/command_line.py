"""Preprocessing of the command line before the parser: synonyms of commands, texts that begin with a dash, and
suggestions for unknown commands."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Any, Protocol

TEXT_COMMANDS = frozenset({"chat", "tts", "trace"})  # commands whose first argument is a text

OTHER_WORDS = {
    word: command
    for command, words in {
        "listen": "transcribe recognize asr stt hear",
        "tts": "speak say synthesize",
        "chat": "ask talk run generate",
        "eval": "evaluate test score",
        "train": "fit finetune",
        "export": "convert",
        "data get": "download",
        "runs list": "ls list",
        "runs show": "show",
        "plugins": "plugin",
        "recipes": "recipe",
        "models": "model",
        "doctor": "info",
    }.items()
    for word in words.split()
}
"""Synonym from other programs -> our command."""

LEAST_ALIKE = 0.45  # least similarity (0 to 1) of a misspelled word to a command


class _Option(Protocol):
    opts: list[str]
    secondary_opts: list[str]


def translated(words: Sequence[str], commands: Collection[str]) -> list[str]:
    """``words`` with ``version`` and ``help [COMMAND...]`` as options, unless a plugin has commands of these names."""
    first, rest = next(iter(words), ""), list(words[1:])
    if first in commands:
        return list(words)
    if first == "version":
        return ["--version", *rest]
    if first == "help":
        return [*rest, "--help"]
    return list(words)


def meant_command(word: str, commands: Sequence[str]) -> str | None:
    """The command that an unknown ``word`` most likely means, if any."""
    others = {other: name for other, name in OTHER_WORDS.items() if name.partition(" ")[0] in commands}
    names = {name: name for name in commands} | {o: name for o, name in others.items() if o not in commands}
    if word.lower() in names:
        return names[word.lower()]
    near = difflib.get_close_matches(word.lower(), list(names), n=1, cutoff=LEAST_ALIKE)
    return names[near[0]] if near else None


def with_dashed_text(words: Sequence[str], options: Sequence[Any]) -> list[str]:
    """Move a text argument that begins with a dash, as in ``tts "-5°C"`` or ``chat "-5 + 3?"``, to the end, behind
    ``--``.

    Args:
        words: the words after the command's name.
        options: the command's parameters.
    """
    valued = _names(options, flags=False)
    known = valued | _names(options, flags=True)
    place = 0
    while place < len(words) and words[place] != "--":
        word = words[place]
        if _is_text(word, known):
            rest = [*words[:place], *words[place + 1 :]]
            return [*rest, word] if "--" in rest else [*rest, "--", word]
        place += 2 if word in valued else 1
    return list(words)


def with_default_page(words: Sequence[str], default: str = "trace.html") -> list[str]:
    """Insert ``default`` after ``--html`` unless a name of an HTML file follows, so that ``trace --html "What do you
    see?"`` asks a question."""
    found: list[str] = []
    for place, word in enumerate(words):
        found.append(word)
        if word == "--":
            return [*found, *words[place + 1 :]]
        if word == "--html" and not "".join(words[place + 1 : place + 2]).lower().endswith((".html", ".htm")):
            found.append(default)
    return found


def _names(options: Sequence[_Option], *, flags: bool) -> set[str]:
    chosen = (option for option in options if bool(getattr(option, "is_flag", False)) == flags)
    return {name for option in chosen for name in (*option.opts, *option.secondary_opts) if name.startswith("-")}


def _is_text(word: str, known: Collection[str]) -> bool:
    """A dash followed by something that no option begins with, or by several words."""
    if len(word) < 2 or word[0] != "-" or word[:2] in known:
        return False
    if word[1] != "-" and not (word[1].isascii() and word[1].isalpha()):
        return True
    return " " in word.partition("=")[0]

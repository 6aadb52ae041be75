"""Sources of text: plain files cut into documents (at blank lines, at every line, at lines that match, or not at all),
JSON Lines with one document a line, and conversations.

Conversations are JSON Lines of ``{"messages": [{"role": ..., "content": ...}]}`` or plain text. A message of JSON
Lines may show or play something: ``"image": "cat.png"`` or ``"audio": ["a.wav", "b.wav"]``, files relative to the one
that names them. A line may have a ``"key"`` (lines with the same key are in the same split), a ``"split"``, and say
what the last answer is ``"about"``: ``["audio"]``. Plain text has one turn a line, begun by a prefix (a line without
one continues the turn before), and a blank line between conversations. Files that end in ``.jsonl`` or ``.ndjson`` are
JSON Lines, all others plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from muomni_cli.api import Conversation, Document, FileMedia, Media, Message
from muomni_datasets.config import ConversationsConfig, JsonLinesConfig, TextConfig
from muomni_datasets.text_files import PIECE, Files, Holdout, content_key, is_unicode

HEAD = 300
"""How many characters of a document ``holdout`` looks at."""

LONGEST = 1 << 26
"""Characters of the longest line that is read: a JSON object cannot be read in pieces."""

JSON_LINES = (".jsonl", ".ndjson")

ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
}


class TextFiles:
    """The documents of text files. One longer than ``PIECE`` is cut at line ends into pieces that share its key."""

    def __init__(self, config: TextConfig) -> None:
        self._config = config
        self._files = Files(config, (".txt", ".md"))
        self._holdout = Holdout(config.holdout, "document")

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    @property
    def remarks(self) -> list[str]:
        return self._holdout.remarks

    def files(self) -> list[Path]:
        return self._files.paths()

    def documents(self) -> Iterator[Document]:
        for path in self._files.paths():
            key: str | None = None
            split: Literal["val"] | None = None
            for text, begins in pieces(self._files.lines(path), self._config.split):
                if begins or key is None:
                    key = content_key(text)
                    split = "val" if self._holdout and self._holdout.finds(text[:HEAD]) else None
                yield Document(text=text, key=key, source=str(path), split=split)


def build_text(config: TextConfig) -> TextFiles:
    """A source of text files."""
    return TextFiles(config)


def pieces(lines: Iterator[str], split: str) -> Iterator[tuple[str, bool]]:
    """Texts of at most ``PIECE`` characters (or one line), each with whether it begins a document.

    Args:
        split: as in :class:`TextConfig`.
    """
    parts = _separator(split)
    held: list[str] = []
    size, begins = 0, True
    for line in lines:
        separates = parts(line)
        if held and (separates or size + len(line) > PIECE or split == "line"):
            yield from _joined(held, begins)
            begins = separates or (split == "line" and held[-1].endswith("\n"))
            held, size = [], 0
        if separates:
            begins = True
        else:
            held.append(line)
            size += len(line)
    yield from _joined(held, begins)


def _joined(lines: list[str], begins: bool) -> Iterator[tuple[str, bool]]:
    text = "".join(lines).removesuffix("\n")
    if text.strip():
        yield text, begins


def _separator(split: str) -> Callable[[str], bool]:
    """What tells whether a line stands between two documents (and belongs to neither)."""
    if split == "file":
        return lambda line: False  # noqa: ARG005
    if split in ("blank-line", "line"):
        return lambda line: not line.strip()
    expression = re.compile(split)
    return lambda line: expression.search(line) is not None


class JsonLines:
    """The documents of JSON Lines files."""

    def __init__(self, config: JsonLinesConfig) -> None:
        self._field = config.field
        self._files = Files(config, (".jsonl", ".ndjson"))

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    def files(self) -> list[Path]:
        return self._files.paths()

    def documents(self) -> Iterator[Document]:
        for path in self._files.paths():
            for number, record in records(self._files, path):
                text = _field(record, self._field)
                if not isinstance(text, str) or not is_unicode(text):
                    self._files.note(path, f"line {number} has no text in the field {self._field}")
                    continue
                key = content_key(text[:PIECE])
                for start in range(0, len(text), PIECE):
                    yield Document(text=text[start : start + PIECE], key=key, source=str(path))


def build_json_lines(config: JsonLinesConfig) -> JsonLines:
    """A source of JSON Lines files."""
    return JsonLines(config)


def records(files: Files, path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers (from 1) and values of a JSON Lines file; a line that is not JSON is noted and left out."""
    for number, line in enumerate(files.lines(path, LONGEST), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            files.note(path, f"line {number} is not JSON ({error})")


def _field(record: Any, path: str) -> Any:
    """What lies at ``a.b.c``; None where the way ends early."""
    for name in path.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


class Conversations:
    """The conversations of files."""

    def __init__(self, config: ConversationsConfig) -> None:
        self._config = config
        self._files = Files(config, (*JSON_LINES, ".txt"))

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    def files(self) -> list[Path]:
        return self._files.paths()

    def documents(self) -> Iterator[Conversation]:
        for path in self._files.paths():
            is_json = path.name.removesuffix(".gz").endswith(JSON_LINES)
            yield from self._from_json(path) if is_json else self._from_text(path)

    def _from_json(self, path: Path) -> Iterator[Conversation]:
        for number, record in records(self._files, path):
            messages = self._messages(record, path.parent)
            key, split, about = _placed(record) if messages else (None, None, [])
            if not messages:
                self._files.note(path, f"line {number} is not a list of messages with role and content")
            elif not (key is None or (isinstance(key, str) and is_unicode(key))) or split not in (None, "train", "val"):
                self._files.note(
                    path, f'line {number} has a key that is no text, or a split that is not "train" or "val"'
                )
            elif not isinstance(about, list) or not all(name in self._config.media for name in about):
                self._files.note(path, f"line {number} is about what is no list of {', '.join(self._config.media)}")
            else:
                yield replace(self._conversation(messages, path, key, split), about=tuple(about))

    def _conversation(
        self,
        messages: tuple[Message, ...],
        path: Path,
        key: str | None = None,
        split: Literal["train", "val"] | None = None,
    ) -> Conversation:
        said = (part for m in messages for part in (m.role, m.text, *(media.name for media in m.media)))
        return Conversation(messages, key or content_key(*said), str(path), split, self._config.learn)

    def _messages(self, record: Any, folder: Path) -> tuple[Message, ...]:
        """Messages of one JSON object; none if anything about it is not as it should be."""
        listed = record.get("messages") if isinstance(record, dict) else None
        if not isinstance(listed, list):
            return ()
        messages = [self._message(entry, folder) for entry in listed]
        return tuple(message for message in messages if message) if all(messages) else ()

    def _message(self, entry: Any, folder: Path) -> Message | None:
        role = ROLES.get(str(entry.get("role"))) if isinstance(entry, dict) else None
        content = entry.get("content") if isinstance(entry, dict) else None
        if role is None or not isinstance(content, str) or not is_unicode(content):
            return None
        media: list[Media] = []
        for modality in self._config.media:
            named = entry.get(modality, [])
            names = [named] if isinstance(named, str) else named
            if not isinstance(names, list) or not all(isinstance(n, str) and n and is_unicode(n) for n in names):
                return None
            media += [FileMedia(modality, folder / name) for name in names]
        return Message(role, content, tuple(media))

    def _from_text(self, path: Path) -> Iterator[Conversation]:
        for text, begins in pieces(self._files.lines(path), "blank-line"):
            turns = self._turns(text.split("\n")) if begins else ()
            if turns:
                yield self._conversation(turns, path)
            else:
                self._files.note(path, f"this block begins with no turn: {text[:40]!r}")

    def _turns(self, lines: Sequence[str]) -> tuple[Message, ...]:
        """Messages of one block; none if it does not begin with a turn."""
        turns: list[tuple[Literal["user", "assistant"], list[str]]] = []
        for line in lines:
            if line.startswith(self._config.user_prefix):
                turns.append(("user", [line.removeprefix(self._config.user_prefix)]))
            elif line.startswith(self._config.assistant_prefix):
                turns.append(("assistant", [line.removeprefix(self._config.assistant_prefix)]))
            elif turns:
                turns[-1][1].append(line)
            else:
                return ()
        return tuple(Message(role=role, text="\n".join(said).strip()) for role, said in turns)


def build_conversations(config: ConversationsConfig) -> Conversations:
    """A source of conversations."""
    return Conversations(config)


def _placed(record: Any) -> tuple[Any, Any, Any]:
    return record.get("key"), record.get("split"), record.get("about", [])

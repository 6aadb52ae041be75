"""Sources of text: plain files split into documents (at blank lines, lines, matching lines, or not at all), JSON Lines
with one document per line, and conversations.

Conversations are JSON Lines (``.jsonl``, ``.ndjson``) of ``{"messages": [{"role": ..., "content": ...}]}`` or plain
text. A message in JSON Lines may have media, ``"image": "cat.png"`` or ``"audio": ["a.wav", "b.wav"]``, with paths
relative to the file. A line may have a ``"key"`` (lines with the same key are in the same split), a ``"split"``, and
the modalities that the last answer is ``"about"``: ``["audio"]``. Plain text has one turn per line, begun by a prefix
(a line without one continues the turn before), and a blank line between conversations.
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
from muomni_datasets.text_files import PIECE, Files, FilesSource, Holdout, content_key, is_unicode

HEAD = 300
"""Characters of a document that ``holdout`` is matched against."""

LONGEST = 1 << 26
"""Maximum characters of a line of JSON, which cannot be read in pieces."""

JSON_LINES = (".jsonl", ".ndjson")
ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
}


class TextFiles(FilesSource):
    """The documents of text files. Those longer than ``PIECE`` are split at line ends into pieces that share a key."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__(Files(config, (".txt", ".md")), Holdout(config.holdout, "document"))
        self._config = config

    def documents(self) -> Iterator[Document]:
        for path in self._files.paths():
            key: str | None = None
            split: Literal["val"] | None = None
            for text, begins in pieces(self._files.lines(path), self._config.split):
                if begins or key is None:
                    key = content_key(text)
                    split = "val" if self._holdout and self._holdout.finds(text[:HEAD]) else None
                yield Document(text=text, key=key, source=str(path), split=split)


def pieces(lines: Iterator[str], split: str) -> Iterator[tuple[str, bool]]:
    """Texts of at most ``PIECE`` characters (or one line), and whether each begins a document; ``split`` as in
    :class:`TextConfig`."""
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
    """A predicate of lines that separate documents (and belong to neither)."""
    if split == "file":
        return lambda line: False  # noqa: ARG005
    if split in ("blank-line", "line"):
        return lambda line: not line.strip()
    expression = re.compile(split)
    return lambda line: expression.search(line) is not None


class JsonLines(FilesSource):
    """The documents of JSON Lines files."""

    def __init__(self, config: JsonLinesConfig) -> None:
        super().__init__(Files(config, JSON_LINES))
        self._field = config.field

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


def records(files: Files, path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers (from 1) and values of a JSON Lines file; lines that are not JSON are reported and skipped."""
    for number, line in enumerate(files.lines(path, LONGEST), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            files.note(path, f"line {number} is not JSON ({error})")


def _field(record: Any, path: str) -> Any:
    """The value at ``a.b.c``; None if it does not exist."""
    for name in path.split("."):
        if not isinstance(record, dict):
            return None
        record = record.get(name)
    return record


class Conversations(FilesSource):
    """The conversations in JSON Lines and plain text files."""

    def __init__(self, config: ConversationsConfig) -> None:
        super().__init__(Files(config, (*JSON_LINES, ".txt")))
        self._config = config

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
                reason = f'line {number} has a key that is not text, or a split that is not "train" or "val"'
                self._files.note(path, reason)
            elif not isinstance(about, list) or not all(name in self._config.media for name in about):
                allowed = ", ".join(self._config.media)
                self._files.note(path, f'line {number}: "about" must be a list of any of {allowed}')
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
        """Messages of one JSON object; empty if anything in it is invalid."""
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
                self._files.note(path, f"this block does not begin with a turn: {text[:40]!r}")

    def _turns(self, lines: Sequence[str]) -> tuple[Message, ...]:
        """Messages of one block; empty if it does not begin with a turn."""
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


def _placed(record: Any) -> tuple[Any, Any, Any]:
    return record.get("key"), record.get("split"), record.get("about", [])

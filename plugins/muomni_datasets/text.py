"""Sources of text: text files cut into documents, and the books that come with muomni."""

from __future__ import annotations

import glob
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Literal, cast

from muomni_cli.api import Conversation, Document, FileMedia, Media, Message, RequestError, expand_path
from muomni_datasets.config import ConversationsConfig, FilesConfig, JsonLinesConfig, TextConfig

PIECE = 1 << 20  # maximum characters of a piece of a document, which bounds memory
HEAD = 300  # characters of a document that ``holdout`` is matched against
LONGEST = 1 << 26  # maximum characters of a line of JSON, which cannot be read in pieces
JSON_LINES = (".jsonl", ".ndjson")

Role = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


class Notes:
    """Problems per file: the first one, and their number."""

    def __init__(self) -> None:
        self._notes: dict[str, tuple[str, int]] = {}

    @property
    def unreadable(self) -> dict[str, str]:
        """Files that were not used completely, and why."""
        return {
            path: reason if count == 1 else f"{reason}, and {count - 1:,} more"
            for path, (reason, count) in self._notes.items()
        }

    def note(self, path: Path, reason: str) -> None:
        """Record that (part of) a file cannot be used."""
        first, count = self._notes.get(str(path), (reason, 0))
        self._notes[str(path)] = first, count + 1

    def forget(self, path: Path) -> None:
        """Clear the notes of a file before it is read again."""
        self._notes.pop(str(path), None)


class Files(Notes):
    """The files of one source. ``suffixes`` (before ``.gz``) select files in a folder; a file or glob in the config is
    used regardless of its suffix."""

    def __init__(self, config: FilesConfig, suffixes: tuple[str, ...]) -> None:
        super().__init__()
        self._config = config
        self._suffixes = suffixes

    def paths(self) -> list[Path]:
        """The files, sorted by name. Raises RequestError: there are none."""
        if not self._config.path:
            raise RequestError("a source of files has no path", 'write path = "FILE, FOLDER or GLOB" in its table')
        path = expand_path(self._config.path)
        if path.is_file():
            return [path]
        if path.is_dir():
            there = path.rglob(self._config.pattern)
            named = (file for file in there if file.name.removesuffix(".gz").endswith(self._suffixes))
            found = [file for file in named if not file.name.startswith(".") and file.is_file()]
            what = f"the folder {path} has no {' or '.join(self._suffixes)} file named {self._config.pattern}"
        else:
            found = [Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]
            what = f"there is no file, folder or glob {path}"
        if not found:
            raise RequestError(what, "correct the path in the recipe; relative paths start where the command is run")
        return sorted(found)

    def lines(self, path: Path, longest: int = PIECE) -> Iterator[str]:
        """Lines of a UTF-8 file with their line ends; one longer than ``longest`` characters comes in pieces."""
        self.forget(path)
        try:
            opened: Callable[..., IO[bytes]] = cast("Any", gzip.open) if path.suffix == ".gz" else Path.open
            # newline="\n" preserves carriage returns.
            with opened(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n") as text:
                while line := text.readline(longest):
                    yield line
        except UnicodeDecodeError as error:
            self.note(path, f"not UTF-8 ({error.reason})")
        except (OSError, EOFError, zlib.error) as error:
            self.note(path, str(error) or type(error).__name__)


class FilesSource:
    """Base of sources that read :class:`Files`."""

    def __init__(self, files: Files, holdout: Holdout | None = None) -> None:
        self._files, self._holdout = files, holdout or Holdout(())

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    @property
    def remarks(self) -> list[str]:
        return self._holdout.remarks

    def files(self) -> list[Path]:
        return self._files.paths()


class GeneratedSource:
    """Base of sources that read no files."""

    unreadable: Mapping[str, str] = MappingProxyType({})

    def files(self) -> list[Path]:
        return []


def content_key(*texts: str) -> str:
    """A key for a document without a name: equal texts get equal keys and so land on the same side of the split."""
    digest = hashlib.blake2b(digest_size=12)
    for text in texts:
        digest.update(text.encode("utf-8") + b"\0")
    return digest.hexdigest()


def is_unicode(text: str) -> bool:
    """Whether it can be encoded as UTF-8; JSON may contain lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Holdout:
    """The regular expressions ``holdout`` of a source; ``of``, ``key`` or ``document``, names what they match in
    remarks."""

    def __init__(self, expressions: Sequence[str], of: str = "key") -> None:
        self._expressions = [re.compile(expression) for expression in expressions]
        self._unmatched = {expression.pattern: None for expression in self._expressions}
        self._of = of
        self._kept = self._held = 0

    def side(self, text: str) -> Literal["train", "val"] | None:
        """The side of the split: "val" if one of the expressions matches ``text``; None if there are none."""
        if not self._expressions:
            return None
        found = [one.pattern for one in self._expressions if one.search(text)]
        for pattern in found:
            self._unmatched.pop(pattern, None)
        self._held += bool(found)
        self._kept += not found
        return "val" if found else "train"

    @property
    def remarks(self) -> list[str]:
        """Problems with the expressions, known after everything was read."""
        if self._held and not self._kept:
            every = ", ".join(repr(one.pattern) for one in self._expressions)
            return [f"holdout {every} matches every {self._of}, which leaves nothing to train on"]
        if not self._held and not self._kept:
            return []
        return [f"holdout {pattern!r} matches no {self._of}" for pattern in self._unmatched]


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
                    split = "val" if self._holdout.side(text[:HEAD]) == "val" else None
                yield Document(text=text, key=key, source=str(path), split=split)


def pieces(lines: Iterator[str], split: str) -> Iterator[tuple[str, bool]]:
    """Texts of at most ``PIECE`` characters (or one line), and whether each begins a document; ``split`` as in
    :class:`TextConfig`. Lines that separate documents belong to neither."""
    expression = re.compile(r"^\s*$" if split in ("blank-line", "line") else split)
    held: list[str] = []
    size, begins = 0, True
    for line in lines:
        separates = split != "file" and expression.search(line) is not None
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


class JsonLines(FilesSource):
    """The documents of JSON Lines files."""

    def __init__(self, config: JsonLinesConfig) -> None:
        super().__init__(Files(config, JSON_LINES))
        self._field = config.field

    def documents(self) -> Iterator[Document]:
        for path in self._files.paths():
            for number, record in records(self._files, path):
                text = record
                for name in self._field.split("."):
                    text = text.get(name) if isinstance(text, dict) else None
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
            listed = record.get("messages") if isinstance(record, dict) else None
            messages = [self._message(entry, path.parent) for entry in listed] if isinstance(listed, list) else []
            valid = tuple(message for message in messages if message)
            if not valid or len(valid) < len(messages):
                self._files.note(path, f"line {number} is not a list of messages with role and content")
                continue
            key, split, about = record.get("key"), record.get("split"), record.get("about", [])
            if not (key is None or (isinstance(key, str) and is_unicode(key))) or split not in (None, "train", "val"):
                reason = f'line {number} has a key that is not text, or a split that is not "train" or "val"'
                self._files.note(path, reason)
            elif not isinstance(about, list) or not all(name in self._config.media for name in about):
                allowed = ", ".join(self._config.media)
                self._files.note(path, f'line {number}: "about" must be a list of any of {allowed}')
            else:
                conversation = self._conversation(valid, path)
                yield replace(conversation, key=key or conversation.key, split=split, about=tuple(about))

    def _conversation(self, messages: tuple[Message, ...], path: Path) -> Conversation:
        said = (part for m in messages for part in (m.role, m.text, *(media.name for media in m.media)))
        return Conversation(messages, content_key(*said), str(path), learn=self._config.learn)

    def _message(self, entry: Any, folder: Path) -> Message | None:
        """The message of one JSON object; None if anything in it is invalid."""
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

"""Sources of text: text files cut into documents, and the books that come with muomni."""

from __future__ import annotations

import glob
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal, cast

from muomni_cli.api import Conversation, Document, FileMedia, Media, Message, RequestError, expand_path
from muomni_datasets.config import ConversationsConfig, FilesConfig, JsonLinesConfig, TextConfig

PIECE = 1 << 20
"""Maximum characters of a piece of a document, which bounds memory."""

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
        """The files, sorted by name.

        Raises:
            RequestError: there are none.
        """
        if not self._config.path:
            raise RequestError("a source of files has no path", 'write path = "FILE, FOLDER or GLOB" in its table')
        path = expand_path(self._config.path)
        if path.is_file():
            return [path]
        if path.is_dir():
            found = [file for file in path.rglob(self._config.pattern) if file.is_file() and self._counts(file)]
            what = f"the folder {path} has no {' or '.join(self._suffixes)} file named {self._config.pattern}"
        else:
            found = [Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]
            what = f"there is no file, folder or glob {path}"
        if not found:
            raise RequestError(what, "correct the path in the recipe; relative paths start where the command is run")
        return sorted(found)

    def _counts(self, file: Path) -> bool:
        return not file.name.startswith(".") and file.name.removesuffix(".gz").endswith(self._suffixes)

    def lines(self, path: Path, longest: int = PIECE) -> Iterator[str]:
        """Lines of a UTF-8 file with their line ends; one longer than ``longest`` characters comes in pieces."""
        self.forget(path)
        try:
            # newline="\n" preserves carriage returns.
            with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n") as text:
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


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


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

    def __bool__(self) -> bool:
        return bool(self._expressions)

    def finds(self, text: str) -> bool:
        """Whether one of the expressions matches ``text``."""
        found = [one.pattern for one in self._expressions if one.search(text)]
        for pattern in found:
            self._unmatched.pop(pattern, None)
        self._held += bool(found)
        self._kept += not found
        return bool(found)

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

"""Sources of text: text files cut into documents, and the books that come with muomni."""

from __future__ import annotations

import glob
import gzip
import hashlib
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, Any, Literal, cast

from muomni_cli.api import Conversation, Document, FileMedia, Media, Message, RequestError, expand_path, utf8_lines
from muomni_datasets import remote
from muomni_datasets.config import ConversationsConfig, FilesConfig, JsonLinesConfig, TextConfig

PIECE = 1 << 20  # maximum characters of a piece of a document, and bytes of a piece of a line, which bounds memory
HEAD = 300  # characters of a document that ``holdout`` is matched against
LONGEST = 1 << 26  # maximum bytes of a line of JSON, which cannot be read in pieces
JSON_LINES = (".jsonl", ".ndjson")
ARRAY = re.compile(r"\s*\[\s*(\{|$)")  # how the first line of an array of objects begins
# Files and folders that systems leave, in lower case.
OF_SYSTEMS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "icon\r", "lost+found"}
OF_SYSTEMS |= {"system volume information", "__pycache__"}


Role = Literal["system", "user", "assistant"]
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


class Notes:
    """Problems per file, by kind: the first one, and their number."""

    def __init__(self) -> None:
        self._notes: dict[str, dict[str, tuple[str, int]]] = {}  # path -> kind -> first problem, and number

    @property
    def unreadable(self) -> dict[str, str]:
        """Files that were not used completely, and why."""
        return {
            path: "; ".join(
                first + (f", and {count - 1:,} more" if count > 1 else "") for first, count in kinds.values()
            )
            for path, kinds in self._notes.items()
        }

    def note(self, path: Path | str, reason: str, subject: str = "") -> None:
        """Record that (part of) a file, or ``NAME in ARCHIVE``, cannot be used. ``subject``: the part, as ``line 3``.
        Reasons are counted together if they are equal up to a parenthesis."""
        kinds = self._notes.setdefault(str(path), {})
        kind = reason.partition(" (")[0]
        first, count = kinds.get(kind, (f"{subject} {reason}".lstrip(), 0))
        kinds[kind] = first, count + 1

    def forget(self, path: Path) -> None:
        """Clear the notes of a file, and of what is in it, before it is read again."""
        for name in [name for name in self._notes if name == str(path) or name.endswith(f" in {path}")]:
            del self._notes[name]


def is_hidden(name: str) -> bool:
    """Whether a file or folder, or one that it is in, is hidden or left by a system: ``.x``, ``__MACOSX``, ``x~``."""
    parts = (part.lower() for part in name.split("/"))
    return any(part in OF_SYSTEMS or part.startswith((".", "~$")) or part.endswith("~") for part in parts)


def walk(root: Path, left_out: Counter[str]) -> Iterator[str]:
    """Every file below ``root`` that is not hidden, relative to it, with ``/``; others are counted in ``left_out``.
    Links to folders are not followed, since they may be cyclic."""

    def cannot(_: OSError) -> None:
        left_out["folders that cannot be opened"] += 1

    for folder, below, names in os.walk(root, onerror=cannot):
        left_out["hidden"] += sum(map(is_hidden, (*below, *names)))
        below[:] = sorted(name for name in below if not is_hidden(name))
        left_out["linked folders"] += sum((Path(folder) / name).is_symlink() for name in below)
        for file in sorted(name for name in names if not is_hidden(name)):
            path = Path(folder) / file
            if path.is_file():
                yield path.relative_to(root).as_posix()
            else:
                left_out["that are no files"] += 1


def ending_of(name: str) -> str:
    """For :func:`walk`'s ``left_out``."""
    ending = PurePosixPath(name).suffix.lower()
    return f"with the ending {ending}" if ending else "without an ending"


class Files(Notes):
    """The files of one source. ``suffixes`` (before ``.gz``) select files in a folder; a file or glob in the config is
    used regardless of its suffix. Case of suffixes does not matter. A URL is listed and fetched once.

    Attributes:
        left_out: number of files in the folder that :meth:`paths` does not give, by reason.
    """

    def __init__(self, config: FilesConfig, suffixes: tuple[str, ...]) -> None:
        super().__init__()
        self._config = config
        self._suffixes = suffixes
        self._fetched: tuple[list[Path], Counter[str]] | None = None
        self.left_out: Counter[str] = Counter()

    def paths(self) -> list[Path]:
        """The files, sorted by name. Raises RequestError: there are none."""
        if not self._config.path:
            raise RequestError("a source of files has no path", 'write path = "FILE, FOLDER or GLOB" in its table')
        if remote.is_url(self._config.path):
            if self._fetched is None:
                self._fetched = remote.fetch(self._config.path, self._suffixes, self._config.pattern, is_hidden)
            self.left_out = Counter(self._fetched[1])
            return list(self._fetched[0])
        path = expand_path(self._config.path)
        self.left_out = Counter()
        if path.is_file():
            return [path]
        if path.is_dir():
            found = list(self._below(path))
            what = f"the folder {path} has no {' or '.join(self._suffixes)} file named {self._config.pattern}"
        else:
            found = list(self._matching(str(path)))
            what = f"there is no file, folder or glob {path}"
        self.left_out = +self.left_out
        if not found:
            raise RequestError(what, "correct the path in the recipe; relative paths start where the command is run")
        return sorted(found)

    def _below(self, root: Path) -> Iterator[Path]:
        pattern = self._config.pattern
        matching = {path.relative_to(root).as_posix() for path in root.rglob(pattern)} if "/" in pattern else None
        for name in walk(root, self.left_out):
            file = name.rpartition("/")[2].lower()
            if not file.removesuffix(".gz").endswith(self._suffixes):
                self.left_out[ending_of(name)] += 1
            elif name in matching if matching is not None else fnmatchcase(file, pattern.lower()):
                yield root / name
            else:
                self.left_out["not named as in pattern"] += 1

    def _matching(self, pattern: str) -> Iterator[Path]:
        """The files of a glob; hidden ones only if the glob itself names what is hidden."""
        ending = re.search(r"(?:\.\w+)+$", pattern)
        if ending and glob.has_magic(pattern):
            either = "".join(f"[{sign.lower()}{sign.upper()}]" if sign.isalpha() else sign for sign in ending[0])
            pattern = pattern[: ending.start()] + either
        named = {part for part in pattern.split("/") if is_hidden(part)}
        for name in glob.glob(pattern, recursive=True):
            if not Path(name).is_file():
                continue
            if any(is_hidden(part) and part not in named for part in name.split("/") if part not in ("", ".", "..")):
                self.left_out["hidden"] += 1
            else:
                yield Path(name)

    def lines(self, path: Path, longest: int = PIECE) -> Iterator[tuple[int, str]]:
        """:func:`utf8_lines` of a file, plain or gzipped."""
        self.forget(path)
        number = 0
        try:
            opened: Callable[..., IO[bytes]] = cast("Any", gzip.open) if path.suffix.lower() == ".gz" else Path.open
            with opened(path, "rb") as raw:
                for number, line in utf8_lines(raw, lambda *problem: self.note(path, *problem), longest):
                    yield number, line
        except (OSError, EOFError, zlib.error) as error:
            after = f" after line {number}" if number else ""
            self.note(path, f"cannot be read{after} ({str(error) or type(error).__name__})")


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

    @property
    def left_out(self) -> Mapping[str, int]:
        return self._files.left_out

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
            for text, begins in pieces((line for _, line in self._files.lines(path)), self._config.split):
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
                if not isinstance(text, str) or not text or text.isspace() or not is_unicode(text):
                    self._files.note(path, f"has no text in the field {self._field}", f"line {number}")
                    continue
                key = content_key(text[:PIECE])
                for start in range(0, len(text), PIECE):
                    yield Document(text=text[start : start + PIECE], key=key, source=str(path))


def records(files: Files, path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers (from 1) and values of a JSON Lines file; lines that are not JSON are reported and skipped."""
    first = True
    for number, line in files.lines(path, LONGEST):
        if not line or line.isspace():
            continue
        if first and ARRAY.match(line):
            files.note(path, "is one JSON array, which has to be an object a line: jq -c '.[]' ARRAY > LINES")
            return
        first = False
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            files.note(path, f"is not JSON ({error})", f"line {number}")


class Conversations(FilesSource):
    """The conversations in JSON Lines and plain text files."""

    def __init__(self, config: ConversationsConfig) -> None:
        super().__init__(Files(config, (*JSON_LINES, ".txt")))
        self._config = config

    def documents(self) -> Iterator[Conversation]:
        for path in self._files.paths():
            is_json = path.name.lower().removesuffix(".gz").endswith(JSON_LINES)
            yield from self._from_json(path) if is_json else self._from_text(path)

    def _from_json(self, path: Path) -> Iterator[Conversation]:
        for number, record in records(self._files, path):
            listed = record.get("messages") if isinstance(record, dict) else None
            messages = [self._message(entry, path.parent) for entry in listed] if isinstance(listed, list) else []
            valid = tuple(message for message in messages if message)
            if not valid or len(valid) < len(messages):
                self._files.note(path, "is not a list of messages with role and content", f"line {number}")
                continue
            key, split, about = record.get("key"), record.get("split"), record.get("about", [])
            if not (key is None or (isinstance(key, str) and is_unicode(key))) or split not in (None, "train", "val"):
                reason = 'has a key that is not text, or a split that is not "train" or "val"'
                self._files.note(path, reason, f"line {number}")
            elif not isinstance(about, list) or not all(name in self._config.media for name in about):
                allowed = ", ".join(self._config.media)
                self._files.note(path, f'has an "about" that is not a list of any of {allowed}', f"line {number}")
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
        for text, begins in pieces((line for _, line in self._files.lines(path)), "blank-line"):
            turns = self._turns(text.split("\n")) if begins else ()
            if turns:
                yield self._conversation(turns, path)
            else:
                self._files.note(path, f"does not begin with a turn ({text[:40]!r})", "a block")

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

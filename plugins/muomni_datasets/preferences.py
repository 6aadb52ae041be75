"""Pairs of a better and a worse answer: JSON Lines or Parquet with ``prompt``, ``chosen`` and ``rejected``, as the
preference datasets on the Hugging Face hub have them, and the pairs of speech that ``muomni data preferences`` makes.

The prompt is a text or a list of messages; an answer is a text, a list with the one message of the answer, or a whole
conversation that ends with it, in which case the prompt is what both conversations have before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from muomni_cli.api import Message, Preference, SpeechPreference
from muomni_datasets.config import SIDES, PreferencesConfig
from muomni_datasets.text import JSON_LINES, ROLES, Files, FilesSource, content_key, is_unicode, records

ROWS = 1024  # of Parquet read at a time
OTHER_ROLES = {"human": "user", "gpt": "assistant"}  # of conversations with the keys from and value
PARQUET = ".parquet"
COLUMNS = ("prompt", "text", "voice", "system", "chosen", "rejected", "key", "split")


class Preferences(FilesSource):
    """The pairs of JSON Lines and Parquet files, in the order of file names and lines."""

    def __init__(self, config: PreferencesConfig) -> None:
        super().__init__(Files(config, (*JSON_LINES, PARQUET)))

    def documents(self) -> Iterator[Preference | SpeechPreference]:
        for path in self._files.paths():
            whole = path.name.lower().endswith(PARQUET)
            for number, row in self._rows(path) if whole else records(self._files, path):
                found = preference_of(row, str(path)) if isinstance(row, dict) else "is not an object with a pair"
                if isinstance(found, str):
                    self._files.note(path, found, f"{'row' if whole else 'line'} {number}")
                else:
                    yield found

    def _rows(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Numbers (from 1) and values of the rows of a Parquet file."""
        import pyarrow
        from pyarrow import parquet

        self._files.forget(path)
        number = 0
        try:
            with parquet.ParquetFile(path) as file:
                columns = [name for name in COLUMNS if name in file.schema_arrow.names]
                for batch in file.iter_batches(batch_size=ROWS, columns=columns):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, {name: value for name, value in row.items() if value is not None}
        except (OSError, pyarrow.ArrowException) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            self._files.note(path, f"cannot be read ({reason})")


def preference_of(row: Mapping[str, Any], source: str) -> Preference | SpeechPreference | str:
    """The pair of a row, or why it is none."""
    if missing := [name for name in ("chosen", "rejected") if name not in row]:
        return f"has no {missing[0]}"
    key, split = row.get("key"), row.get("split", "")
    if not (key is None or (isinstance(key, str) and is_unicode(key))) or split not in SIDES:
        return 'has a key that is not text, or a split that is not "train" or "val"'
    if _is_codes(row["chosen"]) and _is_codes(row["rejected"]):
        return _speech(row, key, source)
    return _answers(row, key, source)


def _speech(row: Mapping[str, Any], key: str | None, source: str) -> SpeechPreference | str:
    text, voice = row.get("text"), row.get("voice", "")
    if not isinstance(text, str) or not text.strip() or not isinstance(voice, str):
        return "has codes without the text that they say"
    chosen, rejected = (tuple(map(tuple, row[name])) for name in ("chosen", "rejected"))
    if chosen == rejected:
        return "has the same codes as chosen and rejected"
    return SpeechPreference(text, chosen, rejected, key or text, voice, source, SIDES[row.get("split", "")])


def _answers(row: Mapping[str, Any], key: str | None, source: str) -> Preference | str:
    given = _messages(row["prompt"], "user") if "prompt" in row else ()
    if given is None:
        return "has a prompt that is neither text nor a list of messages with role and content"
    answers, contexts = [], []
    for name in ("chosen", "rejected"):
        messages = _messages(row[name], "assistant")
        if not messages or messages[-1].role != "assistant":
            return f"has no answer of the assistant at the end of {name}"
        if not messages[-1].text.strip():
            return f"has an empty answer as {name}"
        answers.append(messages[-1].text)
        contexts.append(messages[:-1])
    if contexts[0] != contexts[1]:
        return "has different conversations before the answers of chosen and rejected"
    if answers[0] == answers[1]:
        return "has the same answer as chosen and rejected"
    before = contexts[0]
    if not before or before[: len(given)] != given:  # else the conversations begin with the prompt already
        before = given if not before or before == given[-len(before) :] else (*given, *before)
    if not before or before[-1].role == "assistant" or not any(m.text.strip() for m in before):
        return "has no prompt before the answers"
    if isinstance(system := row.get("system"), str) and system and before[0].role != "system":
        before = (Message("system", system), *before)
    said = (part for message in before for part in (message.role, message.text))
    return Preference(before, answers[0], answers[1], key or content_key(*said), source, SIDES[row.get("split", "")])


def _messages(value: Any, role: str) -> tuple[Message, ...] | None:
    """A text as the message of ``role``, or a list of messages; None for anything else."""
    if isinstance(value, str):
        return (Message(ROLES[role], value),) if is_unicode(value) else None
    if not isinstance(value, list):
        return None
    found = [message_of(entry) for entry in value]
    return None if any(one is None for one in found) else tuple(one for one in found if one is not None)


def message_of(entry: Any) -> Message | None:
    """A message with role and content, or from and value; None if it is none."""
    if not isinstance(entry, dict):
        return None
    said, text = entry.get("role", entry.get("from")), entry.get("content", entry.get("value"))
    role = ROLES.get(OTHER_ROLES.get(str(said), str(said)))
    return Message(role, text) if role and isinstance(text, str) and is_unicode(text) else None


def _is_codes(value: Any) -> bool:
    """Whether it is a list of frames, each with as many whole numbers."""
    if not isinstance(value, list) or not value or not isinstance(value[0], list) or not value[0]:
        return False
    return all(
        isinstance(frame, list) and len(frame) == len(value[0]) and all(type(code) is int for code in frame)
        for frame in value
    )

"""Sources of text: plain text, JSON Lines, conversations, and tales that need no file."""

from __future__ import annotations

from muomni_cli.api import DatasetPart, hookimpl
from muomni_datasets.config import ConversationsConfig, JsonLinesConfig, TalesConfig, TextConfig


@hookimpl
def register_datasets() -> list[DatasetPart]:
    """Plain text, JSON Lines, conversations and tales."""
    return [
        DatasetPart(
            name="text",
            doc="text files, folders and globs; .gz is read as it is",
            config=TextConfig,
            build="muomni_datasets.text:build",
        ),
        DatasetPart(
            name="jsonl",
            doc="JSON Lines: one document a line, in a field of your choice",
            config=JsonLinesConfig,
            build="muomni_datasets.jsonl:build",
        ),
        DatasetPart(
            name="conversations",
            doc="conversations: JSON Lines with messages, or plain text with turn prefixes",
            config=ConversationsConfig,
            build="muomni_datasets.conversations:build",
        ),
        DatasetPart(
            name="tales",
            doc="tiny stories and conversations made from a grammar; reads no files",
            config=TalesConfig,
            build="muomni_datasets.tales:build",
        ),
    ]

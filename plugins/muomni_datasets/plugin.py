"""Sources of text, pictures, sounds and conversations: read from files, or made on the spot."""

from __future__ import annotations

from muomni_cli.api import DatasetPart, hookimpl
from muomni_datasets.config import ConversationsConfig, JsonLinesConfig, TalesConfig, TextConfig
from muomni_datasets.examples_config import FolderConfig, IdxConfig, ManifestConfig, TarConfig


@hookimpl
def register_datasets() -> list[DatasetPart]:
    """Text and conversations, then examples from files."""
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
        DatasetPart(
            name="manifest",
            doc="pictures, sounds or others listed in JSON Lines with text, label, key and split",
            config=ManifestConfig,
            build="muomni_datasets.manifest:build",
        ),
        DatasetPart(
            name="folder",
            doc="pictures or sounds in folders: class/file, or as a regular expression and captions say",
            config=FolderConfig,
            build="muomni_datasets.folder:build",
        ),
        DatasetPart(
            name="tar",
            doc="members of tar archives, read in place; named as in folder",
            config=TarConfig,
            build="muomni_datasets.tar:build",
        ),
        DatasetPart(
            name="idx",
            doc="IDX files of grey pictures and labels, as of MNIST; .gz is read as it is",
            config=IdxConfig,
            build="muomni_datasets.idx:build",
        ),
    ]

"""Sources of text, pictures, sounds and conversations: read from files, or made on the spot."""

from __future__ import annotations

from muomni_cli.api import DatasetPart, hookimpl
from muomni_datasets.asked_config import AskedConfig
from muomni_datasets.config import ConversationsConfig, JsonLinesConfig, TalesConfig, TextConfig
from muomni_datasets.examples_config import FolderConfig, IdxConfig, ManifestConfig, TarConfig
from muomni_datasets.made_config import ScenesConfig, SoundsConfig, SpokenConfig


@hookimpl
def register_datasets() -> list[DatasetPart]:
    """Text and conversations, examples from files, examples made on the spot, and questions about examples."""
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
        DatasetPart(
            name="scenes",
            doc="drawn scenes of coloured shapes, with captions or questions; reads no files",
            config=ScenesConfig,
            build="muomni_datasets.scenes:build",
        ),
        DatasetPart(
            name="sounds",
            doc="tones, sweeps, noise and clicks with labels and captions; reads no files",
            config=SoundsConfig,
            build="muomni_datasets.sounds:build",
        ),
        DatasetPart(
            name="spoken",
            doc="any text, spoken by the program flite",
            config=SpokenConfig,
            build="muomni_datasets.spoken:build",
            teacher="muomni_datasets.spoken:teacher",
        ),
        DatasetPart(
            name="asked",
            doc="questions about the examples of other sources, of several modalities at once",
            config=AskedConfig,
            build="muomni_datasets.asked:build",
        ),
    ]

"""Sources of text, pictures, sounds and conversations, read from files or made on the spot; public datasets."""

from __future__ import annotations

from muomni_cli.api import DatasetPart, Download, hookimpl
from muomni_datasets.config import (
    ConversationsConfig,
    FolderConfig,
    GeneratedQuestionsConfig,
    IdxConfig,
    JsonLinesConfig,
    ManifestConfig,
    ScenesConfig,
    SoundsConfig,
    SpokenConfig,
    TalesConfig,
    TarConfig,
    TextConfig,
)
from muomni_datasets.public_datasets import downloads

ABOUT_SCENES = {
    "count": 20,
    "val_count": 4,
    "val_fraction": 0.3,
    "from": {"scene": {"use": "scenes", "count": 20}},
    "ask": [{"question": ("What is it?", "What do you see?"), "answer": "{scene.text}"}],
}
"""A few questions about scenes that are made on the spot."""


@hookimpl
def register_datasets() -> list[DatasetPart]:
    """Text and conversations, examples from files, examples made on the spot, and questions about examples."""
    return [
        DatasetPart(
            name="text",
            doc="text files, folders and globs; .gz is read as it is",
            config=TextConfig,
            build="muomni_datasets.text:build_text",
            sample="muomni_datasets.samples:text",
        ),
        DatasetPart(
            name="jsonl",
            doc="JSON Lines: one document a line, in a field of your choice",
            config=JsonLinesConfig,
            build="muomni_datasets.text:build_json_lines",
            sample="muomni_datasets.samples:json_lines",
        ),
        DatasetPart(
            name="conversations",
            doc="conversations: JSON Lines with messages, or plain text with turn prefixes",
            config=ConversationsConfig,
            build="muomni_datasets.text:build_conversations",
            sample="muomni_datasets.samples:conversations",
        ),
        DatasetPart(
            name="tales",
            doc="tiny stories and conversations made from a grammar; reads no files",
            config=TalesConfig,
            build="muomni_datasets.stories:build",
            test_config={"count": 20},
        ),
        DatasetPart(
            name="manifest",
            doc="pictures, sounds or others listed in JSON Lines with text, label, key and split",
            config=ManifestConfig,
            build="muomni_datasets.labeled_files:build_manifest",
            sample="muomni_datasets.samples:manifest",
        ),
        DatasetPart(
            name="folder",
            doc="pictures or sounds in folders: class/file, or as a regular expression and captions say",
            config=FolderConfig,
            build="muomni_datasets.labeled_files:build_folder",
            sample="muomni_datasets.samples:pictures",
        ),
        DatasetPart(
            name="tar",
            doc="members of tar archives, read in place; named as in folder",
            config=TarConfig,
            build="muomni_datasets.archives:build_tar",
            sample="muomni_datasets.samples:archive",
        ),
        DatasetPart(
            name="idx",
            doc="IDX files of grey pictures and labels, as of MNIST; .gz is read as it is",
            config=IdxConfig,
            build="muomni_datasets.archives:build_idx",
            sample="muomni_datasets.samples:idx",
        ),
        DatasetPart(
            name="scenes",
            doc="drawn scenes of coloured shapes, with captions or questions; reads no files",
            config=ScenesConfig,
            build="muomni_datasets.scenes:build",
            test_config={"count": 20},
        ),
        DatasetPart(
            name="sounds",
            doc="tones, sweeps, noise and clicks with labels and captions; reads no files",
            config=SoundsConfig,
            build="muomni_datasets.synthetic_sounds:build",
            test_config={"count": 20},
        ),
        DatasetPart(
            name="spoken",
            doc="any text, spoken by a speech program (flite or hibari)",
            config=SpokenConfig,
            build="muomni_datasets.synthesized_speech:build",
            test_config={"sentences": ("A hen.", "A fox.")},
            synthesizer="muomni_datasets.synthesized_speech:synthesizer",
        ),
        DatasetPart(
            name="asked",
            doc="questions about the examples of other sources, of several modalities at once",
            config=GeneratedQuestionsConfig,
            build="muomni_datasets.generated_qa:build",
            test_config=ABOUT_SCENES,
        ),
    ]


@hookimpl
def register_downloads() -> list[Download]:
    """Speech, images and text that others publish."""
    return downloads()

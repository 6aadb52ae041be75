"""Sources of text, pictures, sounds and conversations, from files or generated; public datasets."""

from __future__ import annotations

from muomni_cli.api import DatasetPart, Download, hookimpl
from muomni_datasets import config, pictures_config, questions_config
from muomni_datasets.formats import FORMATS
from muomni_datasets.public_datasets import downloads

DATASETS = [
    DatasetPart(
        name="text",
        doc="text files, folders and globs, plain or .gz",
        config=config.TextConfig,
        build="muomni_datasets.text:TextFiles",
        sample="muomni_datasets.samples:text",
    ),
    DatasetPart(
        name="jsonl",
        doc="JSON Lines: one document a line, in a field of your choice",
        config=config.JsonLinesConfig,
        build="muomni_datasets.text:JsonLines",
        sample="muomni_datasets.samples:json_lines",
    ),
    DatasetPart(
        name="parquet",
        doc="Parquet files: one document a row, in a column of your choice (pip install 'muomni[data]')",
        config=config.ParquetConfig,
        build="muomni_datasets.parquet:Parquet",
        sample="muomni_datasets.samples:parquet",
    ),
    DatasetPart(
        name="conversations",
        doc="conversations: JSON Lines with messages, or plain text with turn prefixes",
        config=config.ConversationsConfig,
        build="muomni_datasets.text:Conversations",
        sample="muomni_datasets.samples:conversations",
    ),
    DatasetPart(
        name="preferences",
        doc="pairs of a better and a worse answer: JSON Lines or Parquet with prompt, chosen and rejected",
        config=config.PreferencesConfig,
        build="muomni_datasets.preferences:Preferences",
        sample="muomni_datasets.samples:preferences",
    ),
    DatasetPart(
        name="tales",
        doc="tiny stories and conversations generated from a grammar; reads no files",
        config=config.TalesConfig,
        build="muomni_datasets.stories:Tales",
        test_config={"count": 20},
    ),
    DatasetPart(
        name="small-talk",
        doc="greetings, questions about the model, simple facts, and what it cannot know; reads no files",
        config=config.SmallTalkConfig,
        build="muomni_datasets.small_talk:SmallTalk",
        test_config={"count": 20},
    ),
    DatasetPart(
        name="manifest",
        doc="pictures, sounds or others listed in JSON Lines with text, label, key and split",
        config=config.ManifestConfig,
        build="muomni_datasets.labeled_files:Manifest",
        sample="muomni_datasets.samples:manifest",
        json_lines=True,
    ),
    DatasetPart(
        name="folder",
        doc="pictures or sounds in folders: class/file, or labeled by a regular expression or captions",
        config=config.FolderConfig,
        build="muomni_datasets.labeled_files:Folder",
        sample="muomni_datasets.samples:pictures",
    ),
    DatasetPart(
        name="tar",
        doc="members of tar archives, read in place; labeled as in folder",
        config=config.TarConfig,
        build="muomni_datasets.archives:Tar",
        sample="muomni_datasets.samples:archive",
    ),
    DatasetPart(
        name="idx",
        doc="IDX files of gray pictures and labels, like MNIST, plain or .gz",
        config=config.IdxConfig,
        build="muomni_datasets.archives:Idx",
        sample="muomni_datasets.samples:idx",
    ),
    DatasetPart(
        name="scenes",
        doc="drawn scenes of colored shapes, with captions or questions; reads no files",
        config=pictures_config.ScenesConfig,
        build="muomni_datasets.scenes:Scenes",
        test_config={"count": 20},
    ),
    DatasetPart(
        name="things",
        doc="drawn everyday things with names, digits, words, and what has no name (muomni data get things)",
        config=pictures_config.ThingsConfig,
        build="muomni_datasets.things:Things",
        sample="muomni_datasets.samples:things",
    ),
    DatasetPart(
        name="sounds",
        doc="tones, sweeps, noise and clicks with labels and captions; reads no files",
        config=config.SoundsConfig,
        build="muomni_datasets.synthetic_sounds:SyntheticSounds",
        test_config={"count": 20},
    ),
    DatasetPart(
        name="spoken",
        doc="any text, spoken by a speech program (flite or hibari)",
        config=config.SpokenConfig,
        build="muomni_datasets.synthesized_speech:SpokenSentences",
        test_config={"sentences": ("A hen.", "A fox.")},
        synthesizer="muomni_datasets.synthesized_speech:synthesizer",
    ),
    DatasetPart(
        name="asked",
        doc="questions about the examples of other sources, of several modalities at once",
        config=questions_config.GeneratedQuestionsConfig,
        build="muomni_datasets.generated_qa:GeneratedQuestions",
        test_config={
            "count": 20,
            "val_count": 4,
            "val_fraction": 0.3,
            "from": {"scene": {"use": "scenes", "count": 20}},
            "ask": [{"question": ("What is it?", "What do you see?"), "answer": "{scene.text}"}],
        },
    ),
]


@hookimpl
def register_datasets() -> list[DatasetPart]:
    return DATASETS + FORMATS


@hookimpl
def register_downloads() -> list[Download]:
    return downloads()

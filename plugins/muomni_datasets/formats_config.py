"""Settings of the sources that read the layouts of others. Imported by every listing, so it must not import anything
heavy."""

from __future__ import annotations

from pydantic import Field

from muomni_cli.api import PartConfig
from muomni_datasets.config import FilesConfig, Learn, Split

MODALITY = r"^[a-z0-9_-]*$"
_MODALITY = 'modality of the examples: "image", "audio" or another one; empty: texts without media'


class CsvConfig(FilesConfig):
    """A table with one example a row."""

    modality: str = Field("", pattern=MODALITY, description=_MODALITY)
    delimiter: str = Field("", max_length=1, description="between columns; empty: a tab in .tsv files, else a comma")
    quotes: bool = Field(True, description="whether double quotes enclose values that contain the delimiter")
    columns: tuple[str, ...] = Field((), description="names of the columns, if the first line does not hold them")
    file: str = Field("file_name", description="column of the file, relative to the table")
    text: str = Field("text", description="column of the text, transcript or caption")
    label: str = Field("label", description="column of the class")
    key: str = Field("key", description="column of what decides the split, such as a book or a speaker")
    voice: str = Field("voice", description="column of the speaker")
    side: str = Field("split", description='column of the side of the split: "train", "val" or empty')


class CorpusConfig(FilesConfig):
    """A corpus whose lists name their files."""

    split: Split = Field("", description='"train" or "val": side of all examples; empty: by hash')


class LJSpeechConfig(CorpusConfig):
    """The layout of LJSpeech: metadata.csv beside a folder wavs."""

    normalized: bool = Field(True, description="use the last column, in which numbers are words, where there is one")
    voice: str = Field("", description="name of the speaker")


class CommonVoiceConfig(FilesConfig):
    """The layout of Common Voice: lists beside a folder clips."""

    lists: tuple[str, ...] = Field(
        ("train", "dev"),
        min_length=1,
        description="lists to read; train is for training, dev and test for validation, of others hashes of speakers "
        "decide",
    )


class LibriSpeechConfig(CorpusConfig):
    """The layout of LibriSpeech: reader/chapter/reader-chapter.trans.txt beside its sounds."""

    lower: bool = Field(True, description="texts in lower case instead of capitals")


class CocoCaptionsConfig(CorpusConfig):
    """The annotations of COCO captions."""

    pattern: str = Field("captions_*.json", description="in a folder, only annotations whose name matches this glob")
    images: str = Field(
        "", description="folder of the pictures; empty: the one after which the annotations are named, such as "
        "../train2017 of annotations/captions_train2017.json, or else their own"
    )  # fmt: skip


class WebDatasetConfig(FilesConfig):
    """Shards of WebDataset. A field is an extension of a sample's files, or a value in its JSON, as in json.caption."""

    path: str = Field(
        "", description="a shard, a folder, a glob, or a range such as train-{000..012}.tar; ~ and $NAME are expanded"
    )
    modality: str = Field("image", pattern=MODALITY, description=_MODALITY)
    media: tuple[str, ...] = Field((), description="extensions of the media, such as jpg; empty: all of the modality")
    text: tuple[str, ...] = Field(
        ("txt", "caption", "json.caption", "json.text"), description="fields of the text, of which the first is taken"
    )
    label: tuple[str, ...] = Field(("cls", "json.label"), description="fields of the class")
    classes: tuple[str, ...] = Field((), description="names of the classes, if cls holds numbers from 0")
    key: str = Field("", description="field of what decides the split, such as json.speaker; empty: the sample's name")
    voice: str = Field("", description="field of the speaker")


class HuggingFaceConfig(PartConfig):
    """A dataset of the package datasets."""

    path: str = Field(
        "", description="a folder of save_to_disk or of Parquet, JSON, CSV or media files, or OWNER/NAME on the hub"
    )
    subset: str = Field("", description="subset (configuration) of the dataset, if it has several")
    revision: str = Field("", description="commit, tag or branch on the hub; empty: the newest")
    splits: dict[str, Split] = Field(
        {},
        description='splits to read and their side, such as { train = "train", test = "val" }; empty: train for '
        "training and validation, or else test, for validation; of a single split hashes decide",
    )
    streaming: bool = Field(False, description="read from the hub while it is downloaded, and keep nothing of it")
    modality: str = Field("", pattern=MODALITY, description=_MODALITY)
    media: str = Field("", description="column of the media; empty: the name of the modality")
    text: str = Field("text", description="column of the text, transcript or caption")
    label: str = Field("label", description="column of the class")
    key: str = Field("", description="column of what decides the split, such as a speaker; empty: the text or the row")
    voice: str = Field("", description="column of the speaker")
    messages: str = Field("", description="column of conversations, which then are what the source gives")
    learn: Learn = Field("answers", description='train on the "answers" of conversations only, or on "all" turns')
    preferences: bool = Field(False, description="rows are pairs: columns chosen, rejected and, unless in them, prompt")

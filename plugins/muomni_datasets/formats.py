"""Declarations of the sources that read the layouts of others."""

from __future__ import annotations

from muomni_cli.api import DatasetPart
from muomni_datasets import formats_config as config

FORMATS = [
    DatasetPart(
        name="csv",
        doc="tables of values separated by commas or tabs: texts, or files with text, label, key and speaker",
        config=config.CsvConfig,
        build="muomni_datasets.corpora:Csv",
        sample="muomni_datasets.format_samples:csv_table",
    ),
    DatasetPart(
        name="ljspeech",
        doc="speech in the layout of LJSpeech: metadata.csv and wavs/",
        config=config.LJSpeechConfig,
        build="muomni_datasets.corpora:LJSpeech",
        sample="muomni_datasets.format_samples:ljspeech",
        recordings="muomni_datasets.corpora:ljspeech_settings",
    ),
    DatasetPart(
        name="common-voice",
        doc="speech in the layout of Common Voice: train.tsv, dev.tsv and clips/",
        config=config.CommonVoiceConfig,
        build="muomni_datasets.corpora:CommonVoice",
        sample="muomni_datasets.format_samples:common_voice",
        recordings="muomni_datasets.corpora:common_voice_settings",
    ),
    DatasetPart(
        name="librispeech",
        doc="speech in the layout of LibriSpeech: reader/chapter/*.trans.txt beside FLAC files",
        config=config.LibriSpeechConfig,
        build="muomni_datasets.corpora:LibriSpeech",
        sample="muomni_datasets.format_samples:librispeech",
    ),
    DatasetPart(
        name="coco-captions",
        doc="pictures with captions in the layout of COCO: annotations as JSON and a folder of pictures",
        config=config.CocoCaptionsConfig,
        build="muomni_datasets.corpora:CocoCaptions",
        sample="muomni_datasets.format_samples:coco_captions",
    ),
    DatasetPart(
        name="webdataset",
        doc="shards of WebDataset, read in place: a sample's files share the name up to the first dot",
        config=config.WebDatasetConfig,
        build="muomni_datasets.webdataset:WebDataset",
        sample="muomni_datasets.format_samples:webdataset",
    ),
    DatasetPart(
        name="hf",
        doc="datasets of the package datasets, from a folder or the hub (pip install 'muomni[datasets]')",
        config=config.HuggingFaceConfig,
        build="muomni_datasets.hugging_face:HuggingFace",
        sample="muomni_datasets.format_samples:hugging_face",
    ),
]

"""Everything that a plugin imports: declarations, capabilities and the protocols of parts. Imports no torch or numpy.

A plugin is a Python package that implements some of the hooks of :mod:`muomni_cli.registry.hookspecs` with
:data:`hookimpl` and returns declarations::

    from muomni_cli.api import Capability, ThinkerPart, hookimpl

    @hookimpl
    def register_thinkers():
        return [ThinkerPart(name="mine", doc="...", config=MyConfig, build="my_thinker.model:build",
                            capabilities={Capability.CACHE, Capability.RAGGED})]

The records and protocols are documented in :mod:`muomni_cli.contract`, which also has the protocols that a part
implements without importing them. Shared networks are in :mod:`muomni_cli.nn`, audio processing in
:mod:`muomni_cli.audio`, and conformance checks in :mod:`muomni_cli.testing`. The host itself does not import this
module.
"""

from __future__ import annotations

from muomni_cli.contract.bundle import Graph, GraphFn, GraphInput, RowsGraph, RowsGraphFn
from muomni_cli.contract.codecs import WaveCodec, is_waveform, sample_rate_of, samples_per_frame
from muomni_cli.contract.data import (
    Conversation,
    Dataset,
    Document,
    Example,
    ExampleData,
    Examples,
    FileMedia,
    Item,
    Media,
    Message,
    Preference,
    SliceMedia,
    SpeechPreference,
)
from muomni_cli.contract.declarations import (
    CallbackPart,
    Capability,
    CheckSpec,
    CodecPart,
    DatasetPart,
    Depth,
    Download,
    EncoderPart,
    ExporterPart,
    Factor,
    LossWeight,
    ModelFiles,
    Part,
    PartConfig,
    RecipeFile,
    RemoteFile,
    RuntimePart,
    SpeechProgramPart,
    Step,
    TalkerPart,
    ThinkerPart,
    TokenizerPart,
    VocoderPart,
    Width,
)
from muomni_cli.contract.metrics import EvalSample, Evaluation, MetricResult, MetricSet
from muomni_cli.contract.models import Cache, Encoder, EncoderOutput, Thinker, ThinkerOutput, Tokenizer, Word
from muomni_cli.contract.speech import (
    CharSpan,
    Codec,
    CodeShape,
    FrameSpan,
    MelConfig,
    Sampler,
    Talker,
    TextChunk,
    Utterance,
    Vocoder,
    VoiceSettings,
    require_mel,
)
from muomni_cli.contract.training import Batch, Callback, Loss, Objective, Policy, Sample, SpeechPolicy, StageContext
from muomni_cli.core import console, files, stopping
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.lockstep import Lockstep, LockstepRow
from muomni_cli.core.text import cut_sentences, utf8_lines
from muomni_cli.data import speech_programs, split
from muomni_cli.inference.transcription import subtitles
from muomni_cli.registry.hookspecs import hookimpl
from muomni_cli.registry.sets import expand_path
from muomni_cli.runs.run import OpenedRecipe, open_recipe
from muomni_cli.training.tracking import Tracker, TrackerConfig

__all__ = [
    "Batch", "Cache", "Callback", "CallbackPart", "Capability", "CharSpan", "CheckSpec", "CodeShape", "Codec",
    "CodecPart", "Conversation", "Dataset", "DatasetPart", "Depth", "Document", "Download", "Encoder", "EncoderOutput",
    "EncoderPart", "EvalSample", "Evaluation", "Example", "ExampleData", "Examples", "ExporterPart", "Factor",
    "FileMedia", "FrameSpan", "Graph", "GraphFn", "GraphInput", "Item", "Lockstep", "LockstepRow", "Loss", "LossWeight",
    "Media", "MelConfig", "Message", "MetricResult", "MetricSet", "ModelFiles", "MuomniError", "Objective",
    "OpenedRecipe", "Part", "PartConfig", "Policy", "Preference", "RecipeFile", "RemoteFile", "RequestError",
    "RowsGraph", "RowsGraphFn", "RuntimePart", "Sample", "Sampler", "SliceMedia", "SpeechPolicy", "SpeechPreference",
    "SpeechProgramPart", "StageContext", "Step", "Talker", "TalkerPart", "TextChunk", "Thinker", "ThinkerOutput",
    "ThinkerPart", "Tokenizer", "TokenizerPart", "Tracker", "TrackerConfig", "Utterance", "Vocoder", "VocoderPart",
    "VoiceSettings", "WaveCodec", "Width", "Word", "console", "cut_sentences", "expand_path", "files", "hookimpl",
    "is_waveform", "open_recipe", "require_mel", "sample_rate_of", "samples_per_frame", "speech_programs", "split",
    "stopping", "subtitles", "utf8_lines",
]  # fmt: skip

"""All that a plugin imports: declarations, capabilities, and the protocols its parts fulfil.

This module imports no torch and no numpy, so declaring a part costs nothing. A plugin is an import package that
implements some of the hooks of :mod:`muomni_cli.registry.hookspecs` with :data:`hookimpl` and returns declarations::

    from muomni_cli.api import Can, ThinkerPart, hookimpl

    @hookimpl
    def register_thinkers():
        return [ThinkerPart(name="mine", doc="...", config=MyConfig, build="my_thinker.model:build",
                            can={Can.CACHE, Can.RAGGED})]

Shapes in docstrings use the letters B batch, T tokens, D width, V vocabulary, H heads, L layers.
The records and protocols themselves, with their documentation, are in :mod:`muomni_cli.contract`. A protocol that a
part fulfils without importing it (what a runtime opens, what runs a codec's graphs) is there alone. Networks that
several parts share are in :mod:`muomni_cli.nn`, sound is in :mod:`muomni_cli.audio`, and conformance checks are in
:mod:`muomni_cli.testing`. Only plugins import this module; the host imports what lies below it.
"""

from __future__ import annotations

from muomni_cli.contract.bundle import Graph, GraphFn, GraphInput
from muomni_cli.contract.data import (
    Conversation,
    Dataset,
    Document,
    Example,
    ExampleData,
    Examples,
    FileMedia,
    Media,
    Message,
    SliceMedia,
)
from muomni_cli.contract.declarations import (
    CallbackPart,
    Capability,
    CheckSpec,
    CodecPart,
    DatasetPart,
    Download,
    EncoderPart,
    ModelFiles,
    Part,
    PartConfig,
    RecipeFile,
    RemoteFile,
    RuntimePart,
    Step,
    TalkerPart,
    ThinkerPart,
    TokenizerPart,
    VocoderPart,
)
from muomni_cli.contract.metrics import EvalSample, Evaluation, MetricResult, MetricSet
from muomni_cli.contract.models import Cache, Encoder, EncoderOutput, Thinker, ThinkerOutput, Tokenizer, Word
from muomni_cli.contract.speech import (
    CharSpan,
    Codec,
    CodeShape,
    MelConfig,
    Sampler,
    Talker,
    TextChunk,
    Vocoder,
    VoiceSettings,
)
from muomni_cli.contract.training import Batch, Callback, Loss, Objective, Sample, StageContext
from muomni_cli.core import console, files
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.text import cut_sentences
from muomni_cli.data import split
from muomni_cli.registry.hookspecs import hookimpl
from muomni_cli.registry.recipe_paths import expand_path
from muomni_cli.runs.provenance import OpenedRecipe, open_recipe

__all__ = [
    "Batch",
    "Cache",
    "Callback",
    "CallbackPart",
    "Capability",
    "CharSpan",
    "CheckSpec",
    "CodeShape",
    "Codec",
    "CodecPart",
    "Conversation",
    "Dataset",
    "DatasetPart",
    "Document",
    "Download",
    "Encoder",
    "EncoderOutput",
    "EncoderPart",
    "EvalSample",
    "Evaluation",
    "Example",
    "ExampleData",
    "Examples",
    "FileMedia",
    "Graph",
    "GraphFn",
    "GraphInput",
    "Loss",
    "Media",
    "MelConfig",
    "Message",
    "MetricResult",
    "MetricSet",
    "ModelFiles",
    "MuomniError",
    "Objective",
    "OpenedRecipe",
    "Part",
    "PartConfig",
    "RecipeFile",
    "RemoteFile",
    "RequestError",
    "RuntimePart",
    "Sample",
    "Sampler",
    "SliceMedia",
    "StageContext",
    "Step",
    "Talker",
    "TalkerPart",
    "TextChunk",
    "Thinker",
    "ThinkerOutput",
    "ThinkerPart",
    "Tokenizer",
    "TokenizerPart",
    "Vocoder",
    "VocoderPart",
    "VoiceSettings",
    "Word",
    "console",
    "cut_sentences",
    "expand_path",
    "files",
    "hookimpl",
    "open_recipe",
    "split",
]

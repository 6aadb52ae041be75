"""The hooks that a plugin may implement, and validation of the declarations that they return."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pluggy

from muomni_cli.contract.declarations import (
    CallbackPart,
    Capability,
    CheckSpec,
    CodecPart,
    DatasetPart,
    Download,
    EncoderPart,
    ExporterPart,
    ModelFiles,
    Part,
    PartConfig,
    RecipeFile,
    RemoteFile,
    RuntimePart,
    SpeechProgramPart,
    TalkerPart,
    ThinkerPart,
    TokenizerPart,
    VocoderPart,
)
from muomni_cli.contract.metrics import MetricSet

if TYPE_CHECKING:
    import typer
    from numpy.typing import NDArray

API_VERSION = 1  # incremented when a declaration or protocol changes incompatibly
hookspec = pluggy.HookspecMarker("muomni")
hookimpl = pluggy.HookimplMarker("muomni")


class HookSpecs:
    """Hooks named ``register_`` are called once, at startup, and return a list of declarations, except
    ``register_commands``. Others are called whenever their answer is needed."""

    @hookspec
    def register_tokenizers(self) -> Sequence[TokenizerPart]:  # type: ignore[empty-body]
        """Tokenizers: text to ids and back."""

    @hookspec
    def register_thinkers(self) -> Sequence[ThinkerPart]:  # type: ignore[empty-body]
        """Thinkers: language models."""

    @hookspec
    def register_encoders(self) -> Sequence[EncoderPart]:  # type: ignore[empty-body]
        """Encoders: images, audio or another modality to tokens for the Thinker."""

    @hookspec
    def register_codecs(self) -> Sequence[CodecPart]:  # type: ignore[empty-body]
        """Codecs: mel spectrograms to discrete codes and back."""

    @hookspec
    def register_talkers(self) -> Sequence[TalkerPart]:  # type: ignore[empty-body]
        """Talkers: text to codec codes."""

    @hookspec
    def register_vocoders(self) -> Sequence[VocoderPart]:  # type: ignore[empty-body]
        """Vocoders: mel spectrograms to audio samples."""

    @hookspec
    def register_datasets(self) -> Sequence[DatasetPart]:  # type: ignore[empty-body]
        """Sources of documents, conversations or examples."""

    @hookspec
    def register_speech_programs(self) -> Sequence[SpeechProgramPart]:  # type: ignore[empty-body]
        """Speech programs whose voices make training data."""

    @hookspec
    def register_callbacks(self) -> Sequence[CallbackPart]:  # type: ignore[empty-body]
        """Callbacks that observe a training stage."""

    @hookspec
    def register_runtimes(self) -> Sequence[RuntimePart]:  # type: ignore[empty-body]
        """Runtimes that run exported models without PyTorch."""

    @hookspec
    def register_exporters(self) -> Sequence[ExporterPart]:  # type: ignore[empty-body]
        """Formats of other programs that ``muomni export`` writes."""

    @hookspec
    def register_recipes(self) -> Sequence[RecipeFile]:  # type: ignore[empty-body]
        """Recipes that ``muomni recipes`` lists and copies."""

    @hookspec
    def register_models(self) -> Sequence[ModelFiles]:  # type: ignore[empty-body]
        """Trained models that the package ships."""

    @hookspec
    def register_downloads(self) -> Sequence[Download]:  # type: ignore[empty-body]
        """Public datasets that ``muomni data get`` downloads and recipes name as ``set:NAME``."""

    @hookspec
    def register_metrics(self) -> Sequence[MetricSet]:  # type: ignore[empty-body]
        """Metrics for ``muomni eval``."""

    @hookspec
    def register_checks(self) -> Sequence[CheckSpec]:  # type: ignore[empty-body]
        """Additional conformance checks for ``muomni plugins check``."""

    @hookspec
    def register_commands(self, cli: typer.Typer) -> None:
        """Add commands to ``cli``; the commands of a group that is named as one of muomni's join it. A name that is
        taken becomes ``plugin:name``."""

    @hookspec(firstresult=True)
    def end_of_turn(self, samples: NDArray[Any], rate: int) -> bool | None:
        """Whether a speaker who pauses has ended the turn, in a live conversation. ``samples``: (N,) float32 of the
        turn so far, with the pause of 0.2 seconds; ``rate``: in Hz. None leaves it to the length of the silence, or to
        another plugin. It must be quick: other conversations wait for it."""


Declaration = Part | RecipeFile | ModelFiles | Download | MetricSet | CheckSpec

DECLARES: dict[str, type[Declaration]] = {
    "register_tokenizers": TokenizerPart,
    "register_thinkers": ThinkerPart,
    "register_encoders": EncoderPart,
    "register_codecs": CodecPart,
    "register_talkers": TalkerPart,
    "register_vocoders": VocoderPart,
    "register_datasets": DatasetPart,
    "register_speech_programs": SpeechProgramPart,
    "register_callbacks": CallbackPart,
    "register_runtimes": RuntimePart,
    "register_exporters": ExporterPart,
    "register_recipes": RecipeFile,
    "register_models": ModelFiles,
    "register_downloads": Download,
    "register_metrics": MetricSet,
    "register_checks": CheckSpec,
}
"""Hook -> type of its declarations."""
KINDS = tuple(declared.kind for declared in DECLARES.values())
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_REQUIRED = ("build", "read", "num_tokens")  # fields that refer to code: "package.module:attr"
_OPTIONAL = (
    "objective", "pretrained", "graphs", "runner", "steps", "transcribe", "respond", "predictor", "head_graphs",
    "read_chunks", "bench_inputs", "align", "sample", "synthesizer",
)  # fmt: skip


def check_declaration(hook: str, declared: object) -> Declaration:
    """Return ``declared`` if ``hook`` may return it. TypeError if it or a field has the wrong type, ValueError if a
    field has an invalid value."""
    expected = DECLARES[hook]
    if not isinstance(declared, expected):
        raise TypeError(f"{hook} returned {type(declared).__name__}, not {expected.__name__}")
    if not isinstance(declared.name, str) or not _NAME.fullmatch(declared.name):
        raise ValueError(f"{hook}: {declared.name!r} is not a valid name (lower case letters, digits, - and _)")
    where = f"{declared.kind} {declared.name}"
    if not isinstance(declared.doc, str) or not declared.doc.strip() or "\n" in declared.doc:
        raise ValueError(f"{where}: doc must be one line of text")
    if isinstance(declared, RecipeFile):
        if not isinstance(declared.path, Path):
            raise TypeError(f"{where}: path must be a pathlib.Path")
        if not declared.path.is_file():
            raise ValueError(f"{where}: there is no file {declared.path}")
    elif isinstance(declared, ModelFiles):
        _check_model(declared, where)
    elif isinstance(declared, Download):
        _check_download(declared, where)
    elif isinstance(declared, MetricSet):
        if not isinstance(declared.stages, tuple) or not declared.stages:
            raise ValueError(f"{where}: stages must be a tuple of names of stages")
        _check_references(where, {"make": declared.make})
    elif isinstance(declared, CheckSpec):
        _check_references(where, {"check": declared.check})
    else:
        _check_part(declared, where)
    return declared


def _check_model(model: ModelFiles, where: str) -> None:
    if model.bundle is None and model.run is None:
        raise ValueError(f"{where}: neither a bundle nor a run")
    if not isinstance(model.license, str) or "\n" in model.license:
        raise ValueError(f"{where}: license must be one line of text")
    for field in ("bundle", "run", "card", "scores"):
        path = getattr(model, field)
        if path is None:
            continue
        if not isinstance(path, Path):
            raise TypeError(f"{where}: {field} must be a pathlib.Path")
        if not (path.is_dir() if field in ("bundle", "run") else path.is_file()):
            raise ValueError(f"{where}: its {field} is not there: {path}")


def _check_download(download: Download, where: str) -> None:
    for field in ("license", "license_url"):
        value = getattr(download, field)
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            raise ValueError(f"{where}: {field} must be one line of text")
    for field in ("paths", "files", "system"):
        if not isinstance(getattr(download, field), tuple):
            raise TypeError(f"{where}: {field} must be a tuple")
    if not download.paths or not all(_is_relative(path) for path in download.paths):
        raise ValueError(f"{where}: paths must name files below the data folder")
    for file in download.files:
        _check_remote(file, where)
    if download.layout is not None:
        _check_references(where, {"layout": download.layout})
    if download.shipped is not None:
        if download.files or len(download.paths) != 1:
            raise ValueError(f"{where}: a shipped dataset has one path and nothing to download")
        if not isinstance(download.shipped, Path) or not download.shipped.is_file():
            raise ValueError(f"{where}: the shipped file is not there: {download.shipped}")
    elif not download.files:
        raise ValueError(f"{where}: neither files to download nor a shipped file")
    elif download.layout is None and len(download.files) != len(download.paths):
        raise ValueError(f"{where}: without a layout there must be as many paths as files")


def _check_remote(file: object, where: str) -> None:
    if not isinstance(file, RemoteFile):
        raise TypeError(f"{where}: files must be RemoteFile, not {type(file).__name__}")
    if not isinstance(file.url, str) or not re.match(r"https?://[^/]+/|npm:(@[\w.-]+/)?[\w.-]+@[\w.-]+$", file.url):
        raise ValueError(f"{where}: {file.url!r} is not an http or https address, nor npm:NAME@VERSION")
    if not isinstance(file.size, int) or file.size <= 0:
        raise ValueError(f"{where}: the size of {file.url} must be a positive number of bytes")
    if file.sha256 is not None and not (isinstance(file.sha256, str) and re.fullmatch("[0-9a-f]{64}", file.sha256)):
        raise ValueError(f"{where}: the SHA-256 of {file.url} must be 64 hexadecimal digits in lower case")
    if file.sha512 is not None and not (isinstance(file.sha512, str) and re.fullmatch("[0-9a-f]{128}", file.sha512)):
        raise ValueError(f"{where}: the SHA-512 of {file.url} must be 128 hexadecimal digits in lower case")
    if not file.filename or PurePosixPath(file.filename).name != file.filename:
        raise ValueError(f"{where}: {file.filename!r} is not a file name")


def _is_relative(path: object) -> bool:
    if not isinstance(path, str) or not path or "\\" in path or ":" in path:
        return False
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and bool(parts.name)


def _check_part(part: Part, where: str) -> None:
    if not isinstance(part.config, type) or not issubclass(part.config, PartConfig):
        raise TypeError(f"{where}: config must be a subclass of PartConfig")
    missing = {"ctx_len", "d_model"} - part.config.model_fields.keys()
    if missing and isinstance(part, ThinkerPart):
        raise ValueError(f"{where}: its config must have {' and '.join(sorted(missing))}")
    if isinstance(part, RuntimePart) and (not isinstance(part.marker, str) or Path(part.marker).name != part.marker):
        raise ValueError(f"{where}: marker is {part.marker!r}, not the name of a file")
    if isinstance(part, SpeechProgramPart):
        wrong = [voice for voice in part.voices if not isinstance(voice, str) or not _NAME.fullmatch(voice)]
        if not part.voices or wrong:
            raise ValueError(f"{where}: voices must be names (lower case letters, digits, - and _)")
    if isinstance(part, EncoderPart):
        if not 0 < part.max_context_fraction <= 1:
            raise ValueError(f"{where}: max_context_fraction is {part.max_context_fraction}, not above 0 and at most 1")
        if not isinstance(part.modality, str) or not _NAME.fullmatch(part.modality):
            raise ValueError(
                f"{where}: {part.modality!r} is not a valid modality name (lower case letters, digits, - and _)"
            )
    _check_references(where, references_of(part))
    unknown = [capability for capability in part.capabilities if not isinstance(capability, Capability)]
    if unknown:
        raise ValueError(f"{where}: unknown capability {unknown[0]!r}; known: {', '.join(Capability)}")
    settings = {field.alias or name for name, field in part.config.model_fields.items()}
    if strange := {*part.test_config} - settings:
        raise ValueError(f"{where}: `test_config` contains the unknown setting {min(strange)}")


def references_of(part: Part) -> dict[str, str]:
    """Field -> reference, for every field of a part that refers to code and is set."""
    found = {name: getattr(part, name) for name in _REQUIRED if hasattr(part, name)}
    found |= {name: reference for name in _OPTIONAL if (reference := getattr(part, name, None)) is not None}
    return found | {f"peers[{peer!r}]": reference for peer, reference in dict(part.peers).items()}


def _check_references(where: str, references: Mapping[str, object]) -> None:
    for field, value in references.items():
        if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
            raise ValueError(f'{where}: {field} is {value!r}, not "package.module:attr"')

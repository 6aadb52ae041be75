"""The inference engine of a training run: loads each part from the checkpoint of its stage. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import nn

from muomni_cli.contract.codecs import code_shape
from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.models import Predictor, Tokenizer, Transcriber
from muomni_cli.contract.speech import Codec
from muomni_cli.core.errors import RequestError
from muomni_cli.models.locate import makes_samples
from muomni_cli.models.torch_engine import TorchEngine
from muomni_cli.omni import OmniModel
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.stages import DPO, OMNI, TUNED
from muomni_cli.registry.entries import build_arguments, is_named, open_entry
from muomni_cli.registry.registry import RegisteredPart, built_in, get_registry, resolve
from muomni_cli.runs.checkpoint import (
    build_aside,
    build_part,
    fresh_codec,
    load_model,
    load_part,
    omni_entries,
    open_omni,
    read_checkpoint,
)
from muomni_cli.runs.digests import DIGESTS, verify
from muomni_cli.runs.run import RunFolder, read_header

THINKER = "thinker"


class RunEngine(TorchEngine):
    """An :class:`muomni_cli.contract.engine.Engine` over a run.

    ``weights``: use this checkpoint for its stage, not the best one. ``stage``: use the Thinker of ``thinker`` or
    ``omni``; None for the later one.
    """

    def __init__(
        self,
        run: RunFolder,
        weights: Path | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        stage: str | None = None,
    ) -> None:
        super().__init__(f"run {run.root}", device, threads)
        self.run, self._named, self._stage = run, weights, stage
        self._named_stage = None if weights is None else weights.resolve().parent.name
        self._model = run.model()
        self.chat = self._model["chat"]
        self._tokenizer: Tokenizer | None = None

    def source(self, part: str) -> str:
        stage = self._thinker_stage if part in (THINKER, *self.modalities) else part
        weights = self.checkpoint(stage or THINKER)
        if weights is None:
            return self.label
        return f"{weights} (step {read_header(weights)['step']})" if stage == self._thinker_stage else str(weights)

    def checkpoint(self, stage: str) -> Path | None:
        """The checkpoint of a stage, or of the one that tunes its part on pairs: the named one, else the best, else the
        last."""
        folders = [self.run.stage(one).resolve() for one in (stage, TUNED.get(stage, stage))]
        if self._named is not None and self._named.resolve().parent in folders:
            return self._named
        return self.run.tuned(stage)

    @cached_property
    def _thinker_stage(self) -> str | None:
        """The stage whose Thinker is used; None if none is trained."""
        if self._stage is None and self._named_stage in (OMNI, THINKER, DPO):
            return OMNI if self._named_stage == DPO else self._named_stage
        stages = [self._stage] if self._stage else [OMNI, THINKER]
        return next((stage for stage in stages if self.checkpoint(stage) is not None), None)

    @cached_property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        own, found = self._model["parts"], {}
        if self._thinker_stage == OMNI:
            found = dict(self._joint_entries)
        elif self._thinker_stage is not None and THINKER in own:
            found = {THINKER: own[THINKER]}
        for stage, entry in own.items():
            if stage not in found and stage not in (THINKER, "tokenizer") and self.checkpoint(stage) is not None:
                found[stage] = entry
        return found

    @cached_property
    def modalities(self) -> Sequence[str]:
        return [name for name in self._joint_entries if name != THINKER] if self._thinker_stage == OMNI else []

    @property
    def _joint_entries(self) -> Mapping[str, Mapping[str, Any]]:
        return omni_entries(self.run, self.checkpoint(OMNI))

    @cached_property
    def thinker_stages(self) -> Sequence[str]:
        return [stage for stage in (THINKER, OMNI) if self.checkpoint(stage) is not None]

    def at(self, stage: str) -> RunEngine:
        super().at(stage)  # raises if there is none
        if stage == self._thinker_stage:
            return self
        return RunEngine(self.run, self._named, device=str(self.device), stage=stage)

    @cached_property
    def heads(self) -> Mapping[str, Mapping[str, Any]]:
        found = {}
        for stage, entry in self._model["parts"].items():
            if entry.get("kind") == EncoderPart.kind and self.checkpoint(stage) is not None:
                part = open_entry(entry)[0].part
                if isinstance(part, EncoderPart) and (part.predictor or part.transcribe):
                    found[stage] = entry
        return found

    @cached_property
    def voice_models(self) -> Mapping[str, RunEngine]:
        return {name: RunEngine(run, device=str(self.device)) for name, run in self.run.voices().items()}

    def verify(self) -> int:
        return verify(self.run.root) if (self.run.root / DIGESTS).is_file() else 0

    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:  # kept, since forms of answers are compiled for each tokenizer
            self._tokenizer = self.run.tokenizer()
        return self._tokenizer

    def predictor(self, modality: str) -> Predictor:
        if modality not in self.heads:
            raise RequestError(f"{self.label} has no trained {modality}", f"train it first: {self._command(modality)}")
        return cast("Predictor", self._head(modality))

    def transcriber(self) -> Transcriber:
        for modality, entry in self.heads.items():
            part = open_entry(entry)[0].part
            if isinstance(part, EncoderPart) and part.transcribe and self._named_stage in (None, modality):
                return cast("Transcriber", self._head(modality))
        raise RequestError(
            f"{self.label} has no trained encoder that transcribes",
            "train it: muomni train audio RECIPE, or name another run with -m",
        )

    def _head(self, modality: str) -> nn.Module:
        def build() -> nn.Module:
            entry = self.heads[modality]
            registered, config = open_entry(entry)
            part, weights = registered.part, self.checkpoint(modality)
            assert isinstance(part, EncoderPart), "heads are those of encoders"
            assert weights is not None, "self.heads requires one"
            if part.predictor is not None:
                module = resolve(part.predictor, f"encoder {part.name}")(config, entry.get("head_metadata", {}))
            else:
                assert part.transcribe is not None, "self.heads requires a predictor or transcribe"
                module = resolve(part.transcribe, f"encoder {part.name}")(config)
            load_model(module, read_checkpoint(weights), ema=True)
            return cast("nn.Module", module)

        return cast("nn.Module", self._once(f"{modality} with its head", build))

    def _open_omni(self) -> OmniModel:
        stage = self._thinker_stage
        if stage is None or THINKER not in self.parts or self.run.status("tokenizer") != "finished":
            raise RequestError(
                f"{self.label} is not complete: it needs a tokenizer and a Thinker checkpoint",
                f"train what is missing: muomni train all {self.run.recipe_path}",
            )
        weights = cast("Path", self.checkpoint(stage))
        if stage == OMNI:
            return open_omni(self.run, weights)
        registered, config = open_entry(self.parts[THINKER])
        module = build_part(registered, config, self.parts[THINKER])
        load_model(module, read_checkpoint(weights), ema=True)
        return OmniModel(module, {})

    def _open_speech(self, part: str) -> nn.Module:
        if part in ("codec", "talker"):
            weights = self.checkpoint(part) if part in self.parts else None
            if weights is None:
                raise RequestError(
                    f"{self.label} has no trained {part}, so it cannot speak",
                    f"train it: {self._command(part)}, or name another run with -m",
                )
            module = load_part(self._model["parts"][part], weights)
            if part == "talker":
                require_made_for(self.run, "talker", self.speech_module("codec"))
            return module
        if part in super().vocoders:
            if "codec" in self.parts:
                require_made_for(self.run, "vocoder", self.speech_module("codec"))
            return load_part(self.parts["vocoder"], cast("Path", self.checkpoint("vocoder")))
        registered, config = untrained_vocoder(self.run, part)
        own = "codec" in self.parts
        mel = self.codec().mel if own else fresh_codec(load_recipe(str(self.run.recipe_path))).mel
        return cast("nn.Module", build_aside(registered, config, {"mel": mel.model_dump(mode="json")}))

    @property
    def vocoders(self) -> Sequence[str]:
        if "codec" in self.parts and makes_samples(self.parts["codec"]):
            return []
        return list(dict.fromkeys([*super().vocoders, *ready_vocoders()]))

    def vocoder_name(self, name: str | None = None) -> str:
        own = super().vocoders  # the trained one, if any
        if own and (name is None or is_named(self.parts["vocoder"], name)):
            return own[0]
        registered, _ = untrained_vocoder(self.run, name)
        if registered.part.objective is not None or registered.part.borrowed:
            raise RequestError(
                f"the vocoder {registered.use} of {self.label} is not trained",
                f"train it: {self._command('vocoder')}, or use one that needs no training: {_ready()}",
            )
        return registered.use

    def _command(self, stage: str) -> str:
        return f"muomni train {stage} {self.run.recipe_path}"


def untrained_vocoder(run: RunFolder, name: str | None = None) -> tuple[RegisteredPart, Any]:
    """A vocoder by name, by default the recipe's, with the recipe's settings or the defaults."""
    chosen = load_recipe(str(run.recipe_path)).vocoder if run.recipe_path.is_file() else None
    if name is None:
        if chosen is None:
            raise RequestError(f"run {run.root} has no vocoder", f"name one that needs no training: {_ready()}")
        return chosen.registered, chosen.config
    if chosen is not None and name == chosen.registered.part.name:
        return chosen.registered, chosen.config
    registered = get_registry().get("vocoder", name, built_in)
    if chosen is not None and chosen.registered.part == registered.part:
        return registered, chosen.config
    return registered, registered.part.config()


def ready_vocoders() -> list[str]:
    """Names of the vocoders that need no training."""
    every = get_registry().all("vocoder")
    return [one.use for one in every if one.part.objective is None and not one.part.borrowed]


def _ready() -> str:
    return " or ".join(f"--vocoder {name}" for name in ready_vocoders()) or "none is installed"


def require_made_for(run: RunFolder, stage: str, codec: Codec) -> None:
    entry = run.model()["parts"][stage]
    now = {"codes": code_shape(codec), "mel": getattr(codec, "mel", None)}
    if any(now[name] != value for name, value in build_arguments(entry).items() if name in now):
        raise RequestError(
            f"the {stage} of run {run.root} was trained for a different codec than the run has now",
            f"train it again: muomni train {stage} {run.recipe_path} --force",
        )

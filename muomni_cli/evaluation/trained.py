"""A run as evaluation asks it. Imports torch, no part by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from muomni_cli.contract.declarations import Can, EncoderPart
from muomni_cli.contract.models import Answers, Tokenizer
from muomni_cli.contract.speech import Codec, Vocoder
from muomni_cli.data.shares import Sense
from muomni_cli.evaluation.examined import Aloud, Sizes
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.models.engines import senses_of
from muomni_cli.omni.model import Omni
from muomni_cli.recipe import Recipe, TrainSettings
from muomni_cli.recipe.stages import OMNI
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.checkpoint import load_model, read_checkpoint
from muomni_cli.runs.folder import WEIGHTS, RunFolder, open_entry
from muomni_cli.runs.parts import omni_entries, open_omni, open_part, weights_of
from muomni_cli.sound.coding import decode_codes, encode_waves, to_samples
from muomni_cli.speaking.open import open_voice, speaking_with, usable_vocoders
from muomni_cli.speaking.voice import Voice
from muomni_cli.training.context import TrainingContext
from muomni_cli.training.voice_parts import any_vocoder, fresh_codec, open_vocoder


class TrainedModel:
    """See :class:`muomni_cli.evaluation.examined.Examined`.

    Args:
        run: with the weights.
        recipe: names the data; its parts are those of the run.
        device: where the model runs.
        progress: told of long preparations.
    """

    def __init__(self, run: RunFolder, recipe: Recipe, device: torch.device, progress: Callable[[str], None]) -> None:
        self._run, self._recipe, self._device, self._progress = run, recipe, device, progress

    @property
    def label(self) -> str:
        """What to call it."""
        return f"run {self._run.root}"

    def missing(self, stage: str) -> str:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        vocoder = self._recipe.vocoder
        ready = stage == "vocoder" and vocoder is not None and vocoder.registered.part.objective is None
        if not ready and not any((self._run.stage(stage) / name).is_file() for name in WEIGHTS):
            return "is not trained"
        if stage in self._recipe.encoders:
            part = self._recipe.encoders[stage].registered.part
            if isinstance(part, EncoderPart) and part.answer is None:
                return f"({part.name}) gives no answers that could be scored"
        return ""

    def tokenizer(self) -> Tokenizer:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return self._run.tokenizer()

    def text(self, stage: str, batches: int, task: str) -> Mapping[str, float]:
        """As the Thinker's own objective measures it."""
        recipe = self._recipe
        assert recipe.thinker is not None, "what writes is a Thinker"
        module: Any = self._omni.thinker if stage == OMNI else open_part(self._run, stage, self._command(stage))[0]
        settings = recipe.train_for("thinker").model_copy(update={"val_batches": batches})
        context = replace(self._context(settings, "thinker"), held_out=task)
        part = recipe.thinker.registered.part
        assert part.objective is not None, "every Thinker has an objective"
        objective = resolve(part.objective, f"{part.kind} {part.name}")(module.to(self._device).eval(), context)
        found: Mapping[str, float] = objective.validate()
        return found

    def answers(self, stage: str) -> Answers:
        """With averaged weights where the checkpoint has them."""
        registered, config, entry = self._run.part(stage, self._command(stage))
        part = registered.part
        assert isinstance(part, EncoderPart), "the stage of a modality trains its encoder"
        assert part.answer is not None, "else it is missing"
        module: nn.Module = resolve(part.answer, f"encoder {part.name}")(config, entry.get("learned", {}))
        load_model(module, read_checkpoint(weights_of(self._run, stage, self._command(stage))), ema=True)
        return cast("Answers", module.eval().requires_grad_(False).to(self._device))

    @property
    def senses(self) -> Mapping[str, Sense]:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return senses_of(self._run)

    def joint(self) -> TorchJoint:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        can = open_entry(omni_entries(self._run)["thinker"])[0].part.can
        return TorchJoint(self._omni, can)

    def sizes(self) -> Sizes:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return fresh_codec(self._recipe)

    def codec(self) -> TorchCoder:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return TorchCoder(self._speech.codec())

    def vocoder(self) -> Aloud | None:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return self._aloud(open_vocoder(self._speech))

    def any_vocoder(self) -> Aloud | None:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return self._aloud(any_vocoder(self._speech, self._speech.codec()))

    def voice(self) -> Voice:
        """With a vocoder that is ready."""
        run = self._run
        return open_voice(speaking_with(run, next(iter(usable_vocoders(run)), None)), str(self._device))

    def _aloud(self, vocoder: Vocoder | None) -> Aloud | None:
        return None if vocoder is None else lambda mel: to_samples(vocoder, mel, self._device)

    @cached_property
    def _omni(self) -> Omni:
        omni = open_omni(self._run, weights_of(self._run, OMNI, self._command(OMNI)))
        return omni.eval().requires_grad_(False).to(self._device)

    @cached_property
    def _speech(self) -> TrainingContext:
        return self._context(self._recipe.train_for("codec"), "codec")

    def _context(self, settings: TrainSettings, stage: str) -> TrainingContext:
        recipe = self._recipe
        return TrainingContext(recipe, stage, settings, recipe.seed, self._device, self._run, self._progress)

    def _command(self, stage: str) -> str:
        return f"muomni train {stage} {self._recipe.source}"


class TorchJoint:
    """See :class:`muomni_cli.evaluation.examined.Joint`."""

    def __init__(self, omni: Omni, can: frozenset[Can] | set[Can]) -> None:
        self._omni, self._can = omni, can

    @property
    def context(self) -> int:
        """Most tokens in one sequence."""
        return int(self._omni.thinker.config.ctx_len)

    def backend(self) -> TorchBackend:
        """See :class:`muomni_cli.evaluation.examined.Joint`."""
        return TorchBackend(self._omni.thinker, self._can)

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.evaluation.examined.Joint`."""
        return self._omni.encode(modality, inputs)


class TorchCoder:
    """See :class:`muomni_cli.evaluation.examined.Coder`."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def encode(self, wave: NDArray[Any]) -> NDArray[Any]:
        """(N,) samples -> (T,Q) codes."""
        return encode_waves(self._codec, [wave])[0]

    def decode(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """(T,Q) codes -> (M,F) log-mel."""
        return decode_codes(self._codec, codes)

"""A model that runs without PyTorch as evaluation asks it. Knows declarations, no runtime and no part by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.engine import Engine
from muomni_cli.contract.models import Answers, Tokenizer
from muomni_cli.contract.speech import RunCodec, RunVocoder
from muomni_cli.data.corpus import open_text
from muomni_cli.data.held_out import HeldOut, nats_of
from muomni_cli.data.shares import Sense
from muomni_cli.data.windows import Window
from muomni_cli.evaluation.examined import Aloud, Sizes
from muomni_cli.generation import Backend
from muomni_cli.models.bundle import answers_of, encoders_of
from muomni_cli.models.engines import senses_of
from muomni_cli.recipe import Recipe
from muomni_cli.recipe.model import SPEAKING
from muomni_cli.recipe.stages import OMNI
from muomni_cli.speaking.voice import Voice, voice_of


class PackedModel:
    """See :class:`muomni_cli.evaluation.examined.Examined`.

    Args:
        packed: the model.
        recipe: names the data; its parts are those of the model.
        progress: told of long preparations.
    """

    def __init__(self, packed: Engine, recipe: Recipe, progress: Callable[[str], None]) -> None:
        self._packed, self._recipe, self._progress = packed, recipe, progress

    @property
    def label(self) -> str:
        """What to call it."""
        return self._packed.label

    def missing(self, stage: str) -> str:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        if stage == OMNI:
            lacking = self._recipe.encoders.keys() - set(self._packed.senses)
            return f"is not in it with {' and '.join(sorted(lacking))}" if lacking else ""
        if stage in self._recipe.encoders:
            own = [part for _, part, _ in encoders_of(self._packed) if part.modality == stage]
            return "" if any(part.answer and part.runs for part in own) else "has no head in it"
        needed = SPEAKING if stage == "talker" else {"codec", stage} if stage in SPEAKING else {stage}
        if not self._packed.parts.keys() >= set(needed):
            return "is not in it"
        return "is in it only as the stage omni tuned it" if stage == "thinker" and self._packed.senses else ""

    def tokenizer(self) -> Tokenizer:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return self._packed.tokenizer()

    def text(self, stage: str, batches: int, task: str) -> Mapping[str, float]:  # noqa: ARG002 - there is one Thinker
        """As the host's own objective measures any Thinker."""
        recipe = self._recipe
        assert recipe.thinker is not None, "what writes is a Thinker"
        tokenizer = self.tokenizer()
        length = int(recipe.thinker.config.ctx_len)  # type: ignore[attr-defined]
        streams = [one for one in open_text(recipe, tokenizer, self._progress).val if one.source == task]
        return HeldOut(streams, tokenizer, length, recipe.train_for("thinker").batch_size, batches).measure(self._nats)

    def _nats(self, window: Window) -> float:
        """Of all that is to be said in a batch of windows, one after the other."""
        total = 0.0
        for ids, mask in zip(window.tokens, window.mask, strict=True):
            counted = np.flatnonzero(mask)
            if counted.size:
                end = int(counted[-1]) + 1
                total += float(nats_of(self._packed.score(ids[:end]), ids[1 : end + 1])[counted].sum())
        return total

    def answers(self, stage: str) -> Answers:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return answers_of(self._packed, stage)

    @property
    def senses(self) -> Mapping[str, Sense]:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return senses_of(self._packed)

    def joint(self) -> PackedJoint:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return PackedJoint(self._packed)

    def sizes(self) -> Sizes:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return self._codec

    def codec(self) -> PackedCoder:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return PackedCoder(self._codec)

    @property
    def _codec(self) -> RunCodec:
        codec: RunCodec = self._packed.runner("codec")
        return codec

    def vocoder(self) -> Aloud | None:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        if "vocoder" not in self._packed.parts:
            return None
        vocoder: RunVocoder = self._packed.runner("vocoder")

        def aloud(mel: NDArray[np.float32]) -> NDArray[np.float32]:
            sounds = vocoder.stream()
            return np.concatenate([sounds.push(mel), sounds.finish()])

        return aloud

    def any_vocoder(self) -> Aloud | None:
        """Its own: there is no other."""
        return self.vocoder()

    def voice(self) -> Voice:
        """See :class:`muomni_cli.evaluation.examined.Examined`."""
        return voice_of(self._packed)


class PackedJoint:
    """See :class:`muomni_cli.evaluation.examined.Joint`."""

    def __init__(self, packed: Engine) -> None:
        self._packed = packed
        self._context = packed.backend().context

    @property
    def context(self) -> int:
        """Most tokens in one sequence."""
        return self._context

    def backend(self) -> Backend[Any]:
        """See :class:`muomni_cli.evaluation.examined.Joint`."""
        return self._packed.backend()

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.evaluation.examined.Joint`."""
        return self._packed.encode(modality, np.asarray(inputs))


class PackedCoder:
    """See :class:`muomni_cli.evaluation.examined.Coder`."""

    def __init__(self, codec: RunCodec) -> None:
        self._codec = codec

    def encode(self, wave: NDArray[Any]) -> NDArray[Any]:
        """(N,) samples -> (T,Q) codes."""
        return self._codec.encode(wave)

    def decode(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """(T,Q) codes -> (M,F) log-mel."""
        mels = self._codec.stream()
        return np.concatenate([mels.push(codes), mels.finish()])

"""What is evaluated: an engine with a recipe's data, the stages it can be evaluated on, its codec and its vocoder.

Shapes: N samples, T code frames, Q codebooks, M mel frames, F mel bins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.eval.metrics import metric_result
from muomni_cli.recipe.stages import OMNI
from muomni_cli.registry.entries import open_entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from muomni_cli.contract.codecs import WaveCodecRunner
    from muomni_cli.contract.engine import Engine
    from muomni_cli.contract.speech import ArrayStream, Codec, CodecRunner
    from muomni_cli.data.split import Split
    from muomni_cli.recipe.model import Recipe

CODEC, VOCODER = "codec", "vocoder"


@dataclass(frozen=True, slots=True, eq=False)
class EvalContext:
    """See :class:`muomni_cli.contract.metrics.Evaluation`."""

    model: Engine
    recipe: Recipe  # from :func:`with_parts_of`
    split: Split
    limit: int | None  # most examples per source; 0 for all, None for the default
    progress: Callable[[str], None]
    batch_size: int = 32

    def limited(self, rows: Sequence[int], usual: int = 0) -> list[int]:
        """At most ``limit`` (default ``usual``) of ``rows``, drawn at random but always the same, in their order."""
        limit = usual if self.limit is None else self.limit
        if not limit or len(rows) <= limit:
            return list(rows)
        chosen = np.random.default_rng(0).permutation(len(rows))[:limit]
        return sorted(rows[index] for index in chosen.tolist())

    card = staticmethod(metric_result)


def with_parts_of(engine: Engine, recipe: Recipe) -> Recipe:
    """The recipe's data with the model's own trained parts in place of the recipe's."""
    from muomni_cli.recipe.model import PartSpec

    entries: Mapping[str, Mapping[str, Any]] = {**engine.heads, **engine.parts}
    opened = {stage: open_entry(entry) for stage, entry in entries.items()}
    own = {stage: PartSpec(registered.part.name, registered, config) for stage, (registered, config) in opened.items()}
    parts = {slot: own.get(slot, chosen) for slot, chosen in recipe.parts.items()}
    encoders = {modality: own.get(modality, chosen) for modality, chosen in recipe.encoders.items()}
    return dataclasses.replace(recipe, parts=parts, encoders=encoders)


def missing(engine: Engine, recipe: Recipe, stage: str, absent: str = "is not trained") -> str:
    """Why a stage cannot be evaluated, to be read after its name; empty if it can.

    Args:
        engine: the model.
        recipe: from :func:`with_parts_of`.
        stage: any stage of the recipe, or ``vocoder`` for one that needs no training.
        absent: what to say of a stage that the model does not have.
    """
    if stage in ("thinker", OMNI):
        stages = engine.thinker_stages
        if stage not in stages:
            return f"is in it only as the stage {OMNI} tuned it" if OMNI in stages else absent
        lacking = recipe.encoders.keys() - set(engine.at(OMNI).modalities) if stage == OMNI else ()
        return f"is not in it with {' and '.join(sorted(lacking))}" if lacking else ""
    if stage in recipe.encoders:
        part = recipe.encoders[stage].registered.part
        if isinstance(part, EncoderPart) and part.predictor is None:
            return f"({part.name}) gives no answers that could be scored"
        if stage in engine.heads:
            return ""
        return "is in it without the head that its own stage trains" if stage in engine.modalities else absent
    if stage == VOCODER:
        return "" if own_vocoder(engine, recipe) else absent
    if stage not in engine.parts:
        return absent
    return "" if CODEC in engine.parts else f"needs the codec, which {absent}"


def any_codec(engine: Engine, recipe: Recipe) -> CodecRunner | WaveCodecRunner | Codec:
    """The trained codec, else the recipe's, for its sizes. RequestError if there is neither."""
    if CODEC in engine.parts:
        return engine.codec()
    from muomni_cli.runs.checkpoint import fresh_codec

    return fresh_codec(recipe)


def streamed(stream: ArrayStream, whole: NDArray[Any]) -> NDArray[np.float32]:
    """The output of a codec or vocoder for a whole input: (T,Q) codes -> (M,F) log-mel, or (M,F) -> (N,) samples."""
    return np.concatenate([stream.push(whole), stream.finish()])


def own_vocoder(engine: Engine, recipe: Recipe) -> str | None:
    """The name of the model's vocoder; None if it has none that is trained or needs no training."""
    if VOCODER in engine.parts:
        return engine.vocoder_name()
    usable: Sequence[str] = engine.vocoders
    return recipe.vocoder.registered.use if recipe.vocoder and recipe.vocoder.registered.use in usable else None


def any_vocoder(engine: Engine, recipe: Recipe) -> str | None:
    """The name of :func:`own_vocoder`, else of one that needs no training."""
    return own_vocoder(engine, recipe) or next(iter(engine.vocoders), None)

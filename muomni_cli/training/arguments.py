"""What each kind of part is built with besides its config, taken from the parts before it. Knows no part by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from muomni_cli.runs.arguments import build_arguments, code_shape

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe
    from muomni_cli.training.context import TrainingContext


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments of a part's ``build``, as ``model.json`` holds them."""

    written: Mapping[str, Any]

    @property
    def built(self) -> dict[str, Any]:
        """As ``build`` takes them."""
        return build_arguments(self.written)


def part_arguments(recipe: Recipe, stage: str, context: TrainingContext) -> Arguments:
    """The arguments for the part that ``stage`` trains.

    Raises:
        RequestError: a part that must come before it is missing; names the command that makes it.
    """
    if stage == "thinker":
        return Arguments({"vocab_size": context.tokenizer().vocab_size})
    if stage == "vocoder":
        return Arguments({"mel": context.fresh_codec().mel.model_dump(mode="json")})
    if stage == "talker":
        voices = sorted({*context.examples().train.voices})
        width = 0 if recipe.thinker is None else int(recipe.thinker.config.d_model)  # type: ignore[attr-defined]
        return Arguments({"codes": asdict(code_shape(context.fresh_codec())), "voices": voices, "thinker_width": width})
    return Arguments({})

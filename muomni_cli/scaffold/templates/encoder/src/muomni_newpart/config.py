"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from typing import ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from muomni_cli.api import PartConfig

SHAPES = ("falls", "rises", "steps", "waves")
"""Classes of the generated curves."""


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`, and limits of files."""

    training_only: ClassVar[frozenset[str]] = frozenset({"dropout"})

    channels: PositiveInt = Field(2, description="numbers in a line of a file")
    d_model: PositiveInt = Field(64, description="width of its tokens")
    halvings: PositiveInt = Field(3, description="convolutions of stride 2: a token stands for 2^halvings lines")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of each layer's output dropped in training")
    max_lines: PositiveInt = Field(10_000, description="longest file that is read, in lines")
    max_bytes: PositiveInt = Field(4 << 20, description="size of the largest file that is read")


class CurvesConfig(PartConfig):
    """Generated curves."""

    count: PositiveInt = Field(600, description="curves for training")
    val_count: PositiveInt = Field(200, description="curves for validation")
    lines: PositiveInt = Field(64, ge=16, description="approximate length of a curve")
    seed: NonNegativeInt = Field(0, description="random seed")


class QuestionsConfig(CurvesConfig):
    """Questions about generated curves."""

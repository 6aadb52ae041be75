"""Settings. Every field needs a default and a description, which muomni shows as documentation."""

from typing import ClassVar

from pydantic import Field, PositiveInt

from muomni_cli.api import PartConfig, Width

SHAPES = ("falls", "rises", "steps", "waves")
"""Classes of the generated curves."""


class NewpartConfig(PartConfig):
    """Sizes of :class:`muomni_newpart.model.Newpart`, and limits of files."""

    training_only: ClassVar[frozenset[str]] = frozenset({"dropout"})

    channels: Width = Field(2, description="numbers in a line of a file")
    d_model: Width = Field(64, description="width of its tokens")
    halvings: int = Field(3, ge=1, le=16, description="convolutions of stride 2: a token stands for 2^halvings lines")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of each layer's output dropped in training")
    max_lines: int = Field(10_000, ge=1, le=10_000_000, description="longest file that is read, in lines")
    max_bytes: PositiveInt = Field(4 << 20, description="size of the largest file that is read")


class CurvesConfig(PartConfig):
    """Generated curves."""

    count: int = Field(600, ge=1, le=1_000_000, description="curves for training")
    val_count: int = Field(200, ge=1, le=1_000_000, description="curves for validation")
    lines: int = Field(64, ge=16, le=10_000, description="approximate length of a curve")
    seed: int = Field(0, ge=0, lt=2**63, description="random seed")


class QuestionsConfig(CurvesConfig):
    """Questions about generated curves."""

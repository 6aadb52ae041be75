"""Settings of the encoder and of the two sources. Knows no torch."""

from typing import ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from muomni_cli.api import PartConfig

COLUMNS = ("t", "ax", "ay", "az", "gx", "gy", "gz", "mx", "my", "mz")
"""Of a file: seconds, m/s² along three axes, rad/s around them, µT along them."""

ACTIVITIES = ("falling", "running", "sitting", "turning", "walking", "waving")


class MotionConfig(PartConfig):
    """Sizes of :class:`muomni_motion.model.Motion`, and limits of files."""

    training_only: ClassVar[frozenset[str]] = frozenset({"dropout"})

    rate: PositiveFloat = Field(50.0, description="samples a second; files of another rate are resampled")
    d_model: PositiveInt = Field(64, description="width of its tokens")
    halvings: PositiveInt = Field(4, description="convolutions of stride 2: a token stands for 2^halvings samples")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of each layer's output dropped in training")
    max_seconds: PositiveFloat = Field(60.0, description="longest recording that is read")
    max_bytes: PositiveInt = Field(8 << 20, description="size of the largest file that is read")


class RecordingsConfig(PartConfig):
    """Simulated recordings."""

    people: PositiveInt = Field(60, description="simulated people for training")
    val_people: PositiveInt = Field(20, description="others, for validation")
    each: PositiveInt = Field(2, description="recordings of each person in each activity")
    seconds: PositiveFloat = Field(3.0, ge=1.5, description="length of a recording, about")
    rate: PositiveFloat = Field(50.0, ge=20, description="samples a second of the simulated sensor")
    seed: NonNegativeInt = Field(0, description="another seed, other people")


class QuestionsConfig(RecordingsConfig):
    """Questions about them."""

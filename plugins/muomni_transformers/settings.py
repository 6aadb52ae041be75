"""What the settings of all pretrained parts have: the folder with their weights, which also says their sizes. Imports
no torch: listings read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, model_validator

from muomni_cli.api import PartConfig, RequestError, expand_path


class CheckpointConfig(PartConfig):
    """Settings of a part from a checkpoint. ``family``: of checkpoints; ``sizes``: names of the settings that only the
    checkpoint decides, and a recipe need not state."""

    training_only: ClassVar[frozenset[str]] = frozenset({"weights", "frozen"})
    family: ClassVar[str]
    sizes: ClassVar[tuple[str, ...]]

    weights: str = Field(
        "",
        description="folder with a checkpoint in Hugging Face's format; it sets all sizes that the recipe does not",
    )

    @model_validator(mode="before")
    @classmethod
    def _settings_of_weights(cls, values: Any, info: ValidationInfo) -> Any:
        """In a recipe, the settings of ``weights`` in place of the defaults. A run states them all."""
        if not (info.context and isinstance(values, dict)):
            return values
        if values.get("weights") and isinstance(values["weights"], str):
            from muomni_transformers.checkpoint_config import settings_of

            try:
                found = settings_of(cls.family, expand_path(values["weights"]))
                usual = {name: cls.model_fields[name].default for name in cls.sizes}  # what a config.json may leave out
                values = cls.completed(values, {**usual, **found})
            except RequestError as error:
                if not all(name in values for name in cls.sizes):  # a resolved recipe states them
                    raise ValueError(f"{error.what}; {error.fix}") from error
        return {name: _tuples(value) for name, value in values.items()}

    @classmethod
    def completed(cls, values: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
        """A recipe's table with the settings of its checkpoint; ValueError if it states another size itself."""
        for name in cls.sizes:
            if name in values and _tuples(values[name]) != _tuples(found[name]):
                raise ValueError(f"{name} of the checkpoint in {values['weights']} is {found[name]}: leave {name} out")
        return {**found, **values}


def _tuples(value: Any) -> Any:
    """Lists as tuples: strict validation takes no lists of Python's for them."""
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value

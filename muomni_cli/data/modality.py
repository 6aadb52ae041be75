"""How much of the context each modality may fill, and what is done with more. Knows counts, no models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from muomni_cli.contract.data import Media
from muomni_cli.contract.declarations import EncoderPart, PartConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.data.media import read_media
from muomni_cli.registry.registry import Registered, resolve


@dataclass(frozen=True, slots=True)
class Sense:
    """One modality of a model: the declaration of its encoder and the encoder's settings."""

    part: EncoderPart
    config: PartConfig

    @property
    def modality(self) -> str:
        """What it is called."""
        return self.part.modality

    def read(self, media: Media) -> NDArray[Any]:
        """One input of the encoder. RequestError if it is not there or cannot be read."""
        return read_media(self.part.read, self.config, media)

    def count(self, inputs: NDArray[Any]) -> int:
        """How many tokens the encoder makes of one input."""
        return int(resolve(self.part.count, f"encoder {self.part.name}")(self.config, inputs))

    def allot(self, counts: Sequence[int], context: int) -> list[int]:
        """How many tokens of each input of one conversation are used, of ``counts`` that the encoder makes.

        Where tokens are in the order of time, the end of what does not fit is left out.

        Raises:
            RequestError: they do not fit, with the counts.
        """
        room = int(context * self.part.share)
        kept, left = [], room
        for count in counts:
            kept.append(min(count, left))
            left -= kept[-1]
        if kept != list(counts) and not (self.part.in_time and all(kept)):
            raise RequestError(
                f"{len(counts)} {self.modality} input{'s' * (len(counts) > 1)} would take {sum(counts)} tokens, and "
                f"{self.modality} may fill {room} of the context's {context}",
                "give fewer or smaller ones, or train with a larger ctx_len",
            )
        return kept


def sense_of(registered: Registered, config: PartConfig) -> Sense:
    """The sense that a recipe or a run chose."""
    assert isinstance(registered.part, EncoderPart), "the registry gives what it is asked for"
    return Sense(registered.part, config)


def in_order(media: Sequence[Media], senses: Mapping[str, Sense]) -> list[Media]:
    """Media in the order of the model's senses, as they stand before the text.

    Raises:
        RequestError: the model has no encoder for one of them.
    """
    known = list(senses)
    for one in media:
        if one.modality not in known:
            raise RequestError(
                f"this model has no encoder for {one.modality}, which {one.name} needs",
                f"it takes {' and '.join(known)}" if known else "it takes text alone: train the stage omni",
            )
    return sorted(media, key=lambda one: known.index(one.modality))

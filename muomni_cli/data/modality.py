"""How much of the context each modality may fill, and truncation of inputs that need more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from muomni_cli.contract.data import Media
from muomni_cli.contract.declarations import EncoderPart, PartConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.data.media import read_media
from muomni_cli.registry.registry import RegisteredPart, resolve


@dataclass(frozen=True, slots=True)
class Modality:
    """One modality of a model: its encoder's declaration and settings."""

    part: EncoderPart
    config: PartConfig

    @property
    def modality(self) -> str:
        return self.part.modality

    def read(self, media: Media) -> NDArray[Any]:
        """One input of the encoder. RequestError if the media are missing or unreadable."""
        return read_media(self.part.read, self.config, media)

    def num_tokens(self, inputs: NDArray[Any]) -> int:
        return int(resolve(self.part.num_tokens, f"encoder {self.part.name}")(self.config, inputs))

    def allot(self, counts: Sequence[int], context: int) -> list[int]:
        """Tokens to use of each input in a conversation, out of ``counts``. If tokens are in temporal order, the end of
        inputs that do not fit is dropped. Raises RequestError: they do not fit."""
        room = int(context * self.part.max_context_fraction)
        kept, left = [], room
        for count in counts:
            kept.append(min(count, left))
            left -= kept[-1]
        if kept != list(counts) and not (self.part.truncatable and all(kept)):
            raise RequestError(
                f"{len(counts)} {self.modality} input{'s' * (len(counts) > 1)} would take {sum(counts)} tokens, and "
                f"{self.modality} may fill {room} of the context's {context}",
                "give fewer or smaller ones, or train with a larger ctx_len",
            )
        return kept


def modality_of(registered: RegisteredPart, config: PartConfig) -> Modality:
    assert isinstance(registered.part, EncoderPart)
    return Modality(registered.part, config)


def in_order(media: Sequence[Media], modalities: Mapping[str, Modality]) -> list[Media]:
    """Media in the order of the model's modalities, as they precede the text. Raises RequestError: the model has no
    encoder for one of them."""
    known = list(modalities)
    for one in media:
        if one.modality not in known:
            raise RequestError(
                f"this model has no encoder for {one.modality}, which {one.name} needs",
                f"it takes {' and '.join(known)}" if known else "it takes text alone: train the stage omni",
            )
    return sorted(media, key=lambda one: known.index(one.modality))

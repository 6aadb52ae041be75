"""The parts that speak as modules of PyTorch, and the voice that they make together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.contract.speech import Codec, Talker, Vocoder
from muomni_cli.speaking.voice import Voice


@dataclass(frozen=True, slots=True)
class SpeakingParts:
    """All on one device, in evaluation mode.

    Args:
        talker: text to codes.
        codec: codes to log-mel.
        vocoder: log-mel to samples.
        label: what to call them.
        vocoder_name: what the vocoder is called.
    """

    talker: Talker
    codec: Codec
    vocoder: Vocoder
    label: str
    vocoder_name: str

    @property
    def device(self) -> torch.device:
        """Where they are."""
        device: torch.device = next(self.codec.parameters()).device  # type: ignore[attr-defined]
        return device

    def voice(self) -> Voice:
        """What speaks."""
        return Voice(
            self.talker,
            lambda: TorchSounds(self.codec, self.vocoder, self.device),
            self.codec.mel.sample_rate,
            self.label,
            self.vocoder_name,
            temperature=float(getattr(self.talker.config, "temperature", 0.0)),
        )


class TorchSounds:
    """A :class:`muomni_cli.contract.speech.Flow` from (T,Q) codes to (N,) samples.

    Args:
        codec: codes to log-mel.
        vocoder: log-mel to samples.
        device: of both.
    """

    def __init__(self, codec: Codec, vocoder: Vocoder, device: torch.device) -> None:
        self._codec, self._device = codec, device
        self._mels, self._waves = codec.stream(), vocoder.stream()

    @torch.inference_mode()
    def push(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Take (T,Q), give the samples that are sure."""
        given = torch.from_numpy(np.ascontiguousarray(codes)).to(self._device)
        samples = self._waves.push(self._mels.push(self._codec.decode(given[None])))
        made: NDArray[np.float32] = samples[0].float().cpu().numpy()
        return made

    @torch.inference_mode()
    def finish(self) -> NDArray[np.float32]:
        """The samples that are left."""
        last = torch.cat((self._waves.push(self._mels.finish()), self._waves.finish()), dim=1)
        made: NDArray[np.float32] = last[0].float().cpu().numpy()
        return made

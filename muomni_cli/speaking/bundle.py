"""The voice of an exported bundle: its Talker, codec and vocoder behind the interface that PyTorch has, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from muomni_cli.contract.packed import Packed
from muomni_cli.contract.sound import MelConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.speaking.voice import Voice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def voice_of(packed: Packed, vocoder: str | None = None) -> Voice:
    """What speaks.

    Args:
        packed: the model.
        vocoder: what its vocoder must be called; any if None.

    Raises:
        RequestError: it does not speak, or has another vocoder.
    """
    for part in ("talker", "codec", "vocoder"):
        if part not in packed.parts:
            raise RequestError(f"{packed.label} has no {part}, so it cannot speak", "name another model with -m")
    own = str(packed.parts["vocoder"]["use"])
    if vocoder is not None and vocoder.rpartition(":")[2] != own:
        raise RequestError(f"{packed.label} has the vocoder {own} alone, not {vocoder}", "leave --vocoder out")
    mel: MelConfig = packed.runner("codec").mel
    temperature = float(packed.parts["talker"]["config"].get("temperature", 0.0))
    return Voice(
        packed.runner("talker"), lambda: Sounds(packed), mel.sample_rate, packed.label, own, temperature=temperature
    )


class Sounds:
    """A :class:`muomni_cli.contract.speech.Flow` from (T,Q) codes to (N,) samples."""

    def __init__(self, packed: Packed) -> None:
        self._mels, self._waves = packed.runner("codec").stream(), packed.runner("vocoder").stream()

    def push(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Take (T,Q), give the samples that are sure."""
        made: NDArray[np.float32] = self._waves.push(self._mels.push(codes))
        return made

    def finish(self) -> NDArray[np.float32]:
        """The samples that are left."""
        import numpy as np

        return np.concatenate([self._waves.push(self._mels.finish()), self._waves.finish()])

"""Whole answers of a bundle beside those of PyTorch: what single graphs cannot show. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.api import Codec, Vocoder
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.runs.folder import open_entry
from muomni_cli.sound.coding import decode_codes
from muomni_cli.speaking.bundle import Sounds
from muomni_cli.speaking.parts import TorchSounds
from muomni_onnx import replay
from muomni_onnx.distances import absolute
from muomni_onnx.parts import THINKER, Exported, Model
from muomni_onnx.replay import Told
from muomni_onnx.runtime import OnnxModel

MEL = 1e-3
"""Largest difference of a log-mel, in nats, that is made of the same codes."""
SAMPLES = 1e-3
"""Largest difference of a sample, full scale 1."""
FURTHER = 0.02
"""By which share samples may be further from the mel that they were made of, where they cannot be compared."""
SAVED = 12
"""Code frames whose samples are kept, to check with later."""


@dataclass(frozen=True, slots=True)
class Whole:
    """One kind of answer: ``equal`` of ``asked`` choices, or how far the answer is and may be; and whose it is."""

    name: str
    parts: tuple[str, ...]
    equal: int = 0
    asked: int = 0
    error: float = 0.0
    allowed: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether it is PyTorch's."""
        return self.equal == self.asked and self.error <= self.allowed

    @property
    def says(self) -> str:
        """The result in words."""
        if self.asked:
            return f"{self.equal} of {self.asked} {self.name} are those of PyTorch"
        return f"{self.name}: {self.error:.1e} from PyTorch, {self.allowed:.0e} allowed"


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers, and what is kept of them to check with later."""

    wholes: list[Whole]
    saved: dict[str, NDArray[Any]]


def answer(model: Model, packed: OnnxModel, tell: Callable[[str], None]) -> Answered:
    """Let both sides answer everything that the model can.

    Args:
        model: in PyTorch.
        packed: the bundle of it.
        tell: told what is being done.
    """
    wholes: list[Whole] = []
    saved: dict[str, NDArray[Any]] = {}
    thinker, talker, codec, vocoder = (_runnable(model, packed, name) for name in (THINKER, *VOICE))
    if thinker is not None:
        tell(f"comparing {replay.TOKENS} greedy tokens")
        wholes.append(_text(thinker, packed, saved))
    codes: NDArray[np.int64] | None = None
    if talker is not None:
        tell(f"comparing {replay.FRAMES} greedy code frames")
        codes = _codes(talker, packed, wholes, saved)
    if codec is not None and vocoder is not None:
        tell("comparing what they sound like")
        module = cast("Codec", codec.module)
        if codes is None or not len(codes):
            codes = np.random.default_rng(0).integers(0, module.codebook_size, (replay.FRAMES, module.codebooks))
        wholes += _sounds(module, cast("Vocoder", vocoder.module), packed, codes, saved)
    return Answered(wholes, saved)


VOICE = ("talker", "codec", "vocoder")


def _runnable(model: Model, packed: OnnxModel, name: str) -> Exported | None:
    """The part, if it is in the bundle and says who runs it (the Thinker is run by the host)."""
    part = model.part(name) if name in packed.parts else None
    if part is None or (name != THINKER and open_entry(part.entry)[0].part.runs is None):
        return None
    return part


def _text(part: Exported, packed: OnnxModel, saved: dict[str, NDArray[Any]]) -> Whole:
    thinker: Any = part.module
    registered, _ = open_entry(part.entry)
    prompt = replay.prompt_for(thinker.vocab_size, int(thinker.config.ctx_len))
    ours = replay.told_text(packed.backend(), prompt)
    theirs = replay.told_text(TorchBackend(thinker, registered.part.can), prompt)
    saved |= {"text/prompt": prompt, "text/tokens": ours.values}
    equal, asked = replay.agreeing([ours], [theirs], _allowed(packed.parts[THINKER]))
    return Whole("greedy tokens", (THINKER,), equal, asked)


def _codes(
    part: Exported, packed: OnnxModel, wholes: list[Whole], saved: dict[str, NDArray[Any]]
) -> NDArray[np.int64] | None:
    """The code frames that PyTorch told."""
    talker: Any = part.module
    width = int(part.entry.get("thinker_width", 0))
    ours = replay.told_codes(packed.runner("talker"), width)
    with torch.inference_mode():
        theirs = replay.told_codes(talker, width)
    equal, asked = replay.agreeing(ours, theirs, _allowed(packed.parts["talker"]))
    wholes.append(Whole("greedy code frames", ("talker",), equal, asked))
    saved |= {f"codes/{number}": one.values.astype(np.int32) for number, one in enumerate(ours)}
    return _joined(theirs)


def _joined(told: list[Told]) -> NDArray[np.int64] | None:
    return np.concatenate([one.values for one in told]) if told else None


def _sounds(
    codec: Codec, vocoder: Vocoder, packed: OnnxModel, codes: NDArray[np.int64], saved: dict[str, NDArray[Any]]
) -> list[Whole]:
    """Codes to log-mel and to samples."""
    flow = TorchSounds(codec, vocoder, torch.device("cpu"))
    mel = decode_codes(codec, codes)
    made = replay.sounded(packed.runner("codec").stream(), codes)
    ours, theirs = replay.sounded(Sounds(packed), codes), replay.sounded(flow, codes)
    few = codes[:SAVED]
    saved |= {"sound/codes": few.astype(np.int32), "sound/samples": replay.sounded(Sounds(packed), few)}
    saved["sound/mel"] = replay.sounded(packed.runner("codec").stream(), few)
    first = Whole("log-mel of code frames", ("codec",), error=absolute(made, mel), allowed=MEL)
    if not replay.is_loose(packed.parts["vocoder"]):
        return [first, Whole("samples", ("codec", "vocoder"), error=absolute(ours, theirs), allowed=SAMPLES)]
    heard = [replay.heard_apart(samples, mel, codec.mel) for samples in (ours, theirs)]
    further = max(0.0, heard[0] / max(heard[1], 1e-9) - 1)
    return [first, Whole("what the samples sound like", ("codec", "vocoder"), error=further, allowed=FURTHER)]


def _allowed(entry: Mapping[str, Any]) -> float:
    """The largest difference of any logit of a part, by what its graphs declare."""
    return max(float(graph["tolerance"]) for graph in entry["graphs"].values())

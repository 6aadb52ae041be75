"""The inference engine over PyTorch modules, trained or random.

Shapes: B batch, T tokens or code frames, D width of the Thinker, V vocabulary, Q codebooks, M mel frames, F mel bins,
N samples.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.audio.mel import encode_waves, wave_stream
from muomni_cli.contract.codecs import WaveCodec, is_waveform, sample_rate_of
from muomni_cli.contract.declarations import Part
from muomni_cli.contract.engine import Engine, GraphCall
from muomni_cli.contract.models import Predictor, Tokenizer, Transcriber
from muomni_cli.contract.speech import ArrayStream, Codec, MelConfig, SpeechGenerator, TensorStream, Vocoder
from muomni_cli.core.errors import RequestError
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.nn.device import choose_device, set_threads
from muomni_cli.omni import OmniModel
from muomni_cli.registry.entries import is_named, open_entry, use_of


class TorchEngine(ABC):
    """An :class:`muomni_cli.contract.engine.Engine`; subclasses provide the modules.

    Modules are opened once, under a lock, and then only read, so threads may share an engine. They also share PyTorch's
    thread pool, whose size ``threads`` sets for the whole process; None keeps PyTorch's setting.
    """

    chat: Mapping[str, Any]

    def __init__(self, label: str, device: str = "auto", threads: int | None = None) -> None:
        self.label = label
        set_threads(threads or 0)
        self.device = choose_device(device)
        self._lock = threading.RLock()
        self._modules: dict[str, Any] = {}

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Mapping[str, Any]]: ...

    @property
    @abstractmethod
    def modalities(self) -> Sequence[str]: ...

    @abstractmethod
    def tokenizer(self) -> Tokenizer: ...

    @abstractmethod
    def _open_omni(self) -> OmniModel:
        """The Thinker and its fused encoders, if any."""

    @abstractmethod
    def _open_speech(self, part: str) -> nn.Module:
        """The codec, the Talker or, by name, a vocoder."""

    @property
    def thinker_stages(self) -> Sequence[str]:
        return ["omni" if self.modalities else "thinker"] if "thinker" in self.parts else []

    def at(self, stage: str) -> TorchEngine:
        if stage not in self.thinker_stages:
            raise RequestError(f"{self.label} has no Thinker of the stage {stage}", "train it, or name another model")
        return self

    @property
    def alignment(self) -> int:
        return 1  # nothing is quantized

    @property
    def batches(self) -> int:
        return 1  # most of a step is Python, which runs one thread at a time

    @property
    def heads(self) -> Mapping[str, Mapping[str, Any]]:
        return {}

    @property
    def voice_models(self) -> Mapping[str, Engine]:
        return {}

    @property
    def provenance(self) -> Mapping[str, Any]:
        return {}

    def source(self, part: str) -> str:  # noqa: ARG002
        return self.label

    def verify(self) -> int:
        return 0

    def declaration(self, part: str) -> Part:
        """The declaration of one of :attr:`parts`."""
        return open_entry(self.parts[part])[0].part

    def omni(self) -> OmniModel:
        """The Thinker with its fused encoders, on the device. RequestError if there is no Thinker."""
        return cast("OmniModel", self._once("omni", self._open_omni))

    def speech_module(self, part: str) -> Any:
        """The module of ``codec``, ``talker`` or a :meth:`vocoder_name`. RequestError if it is missing."""
        return self._once(part, lambda: self._open_speech(part))

    def backend(
        self,
        *,
        prefix_cache: bool = False,
        hidden: bool = False,
        share: int = 1,  # noqa: ARG002 - all threads of PyTorch's share the cores
    ) -> TorchBackend:
        capabilities = self.declaration("thinker").capabilities if "thinker" in self.parts else frozenset()
        return TorchBackend(
            self.omni().thinker, capabilities, prefix_cache=prefix_cache, pack_weights=True, hidden=hidden
        )

    @torch.inference_mode()
    def score(self, ids: NDArray[Any]) -> NDArray[np.float32]:
        rows = torch.from_numpy(ids.astype(np.int64))[None].to(self.device)
        logits: NDArray[np.float32] = self.omni().thinker(rows).logits[0].float().cpu().numpy()
        return logits

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
        if modality not in self.modalities:
            raise RequestError(f"{self.label} has no encoder for {modality}", "train it, and then the stage omni")
        return self.omni().encode(modality, inputs)

    def predictor(self, modality: str) -> Predictor:
        raise RequestError(f"{self.label} has no trained {modality} encoder", "name a model that was trained with -m")

    def transcriber(self) -> Transcriber:
        raise RequestError(f"{self.label} has no encoder that transcribes", "name another model with -m")

    def talker(self) -> SpeechGenerator:
        return cast("SpeechGenerator", self.speech_module("talker"))

    def codec(self) -> TorchCodec:
        return TorchCodec(self.speech_module("codec"), self.device)

    @property
    def vocoders(self) -> Sequence[str]:
        return [use_of(self.parts["vocoder"])] if "vocoder" in self.parts else []

    def vocoder_name(self, name: str | None = None) -> str:
        if not self.vocoders:
            raise RequestError(f"{self.label} has no vocoder, so it does not speak", "name another model")
        if name is None or is_named(self.parts["vocoder"], name):
            return self.vocoders[0]
        raise RequestError(f"{self.label} has no vocoder {name}", f"it has {', '.join(self.vocoders)}")

    def vocoder(self, name: str) -> TorchVocoder:
        return TorchVocoder(self.speech_module(name), self.device)

    @property
    def graph_seconds(self) -> float:
        return 0.0

    @contextmanager
    def watched(self, notify: Callable[[GraphCall], None]) -> Iterator[None]:  # noqa: ARG002
        yield

    def close(self) -> None:
        self._modules.clear()
        for one in self.voice_models.values():
            one.close()

    def _once(self, name: str, build: Callable[[], Any]) -> Any:
        """The module ``name``, built on first use: evaluation mode, no gradients, on the device."""
        with self._lock:
            if name not in self._modules:
                self._modules[name] = build().eval().requires_grad_(False).to(self.device)
            return self._modules[name]


class TorchCodec:
    """A :class:`muomni_cli.contract.speech.CodecRunner` or :class:`muomni_cli.contract.codecs.WaveCodecRunner` over a
    module."""

    def __init__(self, codec: Codec, device: torch.device) -> None:
        self._codec, self._device = codec, device

    @property
    def mel(self) -> MelConfig:
        return self._codec.mel  # which a codec of waveforms does not have

    @property
    def sample_rate(self) -> int:
        return sample_rate_of(self._codec)

    @property
    def frame(self) -> int:
        return self._codec.frame

    @property
    def codebook_size(self) -> int:
        return self._codec.codebook_size

    def encode(self, wave: NDArray[Any]) -> NDArray[Any]:
        return encode_waves(self._codec, [wave])[0].astype(np.int64)

    def stream(self) -> ArrayStream:
        if is_waveform(self._codec):
            return _Stream(wave_stream(cast("WaveCodec", self._codec)), lambda codes: codes, self._device)
        return _Stream(self._codec.stream(), self._codec.decode, self._device)


class TorchVocoder:
    """A :class:`muomni_cli.contract.speech.VocoderRunner` over a module."""

    def __init__(self, vocoder: Vocoder, device: torch.device) -> None:
        self._vocoder, self._device = vocoder, device

    def stream(self) -> ArrayStream:
        return _Stream(self._vocoder.stream(), lambda mel: mel, self._device)


class _Stream:
    def __init__(self, stream: TensorStream, prepare: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._stream, self._prepare, self._device = stream, prepare, device

    @torch.inference_mode()
    def push(self, piece: NDArray[Any]) -> NDArray[Any]:
        given = torch.from_numpy(np.ascontiguousarray(piece)).to(self._device)
        return self._out(self._stream.push(self._prepare(given[None])))

    @torch.inference_mode()
    def finish(self) -> NDArray[Any]:
        return self._out(self._stream.finish())

    @staticmethod
    def _out(made: Tensor) -> NDArray[Any]:
        array: NDArray[Any] = made[0].float().cpu().numpy()
        return array

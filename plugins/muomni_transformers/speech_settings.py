"""Settings of pretrained vocoders and codecs. Imports no torch: listings read it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from muomni_cli.api import Depth, MelConfig, Width
from muomni_cli.audio.context_stream import FIRST
from muomni_transformers.mels import OF_SPEECHT5, OF_VOCOS
from muomni_transformers.settings import CheckpointConfig

Few = Annotated[tuple[Depth, ...], Field(min_length=1, max_length=16)]
Bandwidth = Annotated[float, Field(gt=0, le=1000)]
OF_THE_MEL = ("sample_rate", "hop", "n_mels")  # what the network of a vocoder is made for


class VocoderConfig(CheckpointConfig):
    """Settings of a vocoder from a checkpoint, which was trained on one log-mel, ``mel``."""

    @property
    def frozen(self) -> bool:
        """No stage trains it."""
        return True

    @classmethod
    def completed(cls, values: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
        stated = values.get("mel", {})
        if not isinstance(stated, dict):
            return super().completed(values, found)
        for name in OF_THE_MEL:
            if name in stated and stated[name] != found["mel"][name]:
                told = f"mel.{name} of the checkpoint in {values['weights']} is {found['mel'][name]}: leave {name} out"
                raise ValueError(told)
        return super().completed({**values, "mel": {**found["mel"], **stated}}, found)


class HifiGanConfig(VocoderConfig):
    """Sizes of a HiFi-GAN generator (arXiv:2010.05646); the defaults are those of speecht5_hifigan.

    The checkpoint does not say of which log-mel it makes sound but for its rate, hop and bins: the rest is that of
    SpeechT5, or what a ``preprocessor_config.json`` beside it says, or what the recipe does.
    """

    family: ClassVar[str] = "hifigan"
    sizes: ClassVar[tuple[str, ...]] = ("channels", "rates", "kernels", "resblock_kernels", "resblock_dilations")

    mel: MelConfig = Field(
        OF_SPEECHT5,
        description="the log-mel that the checkpoint was trained on; that of the codec must be the same",
    )
    channels: Width = Field(512, description="channels before the first upsampling; halved by each")
    rates: Few = Field((4, 4, 4, 4), description="factors of upsampling; their product is the hop of the mel")
    kernels: Few = Field((8, 8, 8, 8), description="kernel sizes of the upsampling convolutions")
    resblock_kernels: Few = Field((3, 7, 11), description="kernel sizes of the residual blocks after each upsampling")
    resblock_dilations: Annotated[tuple[Few, ...], Field(min_length=1, max_length=16)] = Field(
        ((1, 3, 5), (1, 3, 5), (1, 3, 5)), description="dilations of the convolutions in each of these blocks"
    )
    slope: float = Field(0.1, ge=0, lt=1, description="of the leaky ReLU")
    normalized: bool = Field(True, description="whether the log-mel is normalized by statistics of the checkpoint")

    @property
    def reach(self) -> int:
        """Mel frames before and after its own that a sample depends on, at most."""
        widest = max(
            sum((kernel - 1) // 2 * (dilation + 1) for dilation in dilations)
            for kernel, dilations in zip(self.resblock_kernels, self.resblock_dilations, strict=True)
        )
        reach = 3  # of the last convolution
        for rate, kernel in zip(reversed(self.rates), reversed(self.kernels), strict=True):
            reach = -(-(reach + widest + kernel) // rate)
        return reach + 3

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if math.prod(self.rates) != self.mel.hop:
            raise ValueError(
                f"rates {list(self.rates)} multiply to {math.prod(self.rates)}, not mel.hop {self.mel.hop}"
            )
        for one, other in (("kernels", "rates"), ("resblock_dilations", "resblock_kernels")):
            if len(getattr(self, one)) != len(getattr(self, other)):
                raise ValueError(f"{one} and {other} must be equally many")
        if odd := [f"{k} at rate {r}" for k, r in zip(self.kernels, self.rates, strict=True) if k < r or (k - r) % 2]:
            raise ValueError(f"kernels must exceed their rates by an even number: {', '.join(odd)}")
        if even := [str(kernel) for kernel in self.resblock_kernels if kernel % 2 == 0]:
            raise ValueError(f"resblock_kernels must be odd: {', '.join(even)}")
        if self.channels % 2 ** len(self.rates):
            raise ValueError(f"channels {self.channels} cannot be halved {len(self.rates)} times")
        return self


class VocosCheckpointConfig(VocoderConfig):
    """Sizes of a Vocos of its authors (arXiv:2306.00814); the defaults are those of vocos-mel-24khz."""

    family: ClassVar[str] = "vocos-checkpoint"
    sizes: ClassVar[tuple[str, ...]] = ("channels", "layers", "hidden")

    mel: MelConfig = Field(
        OF_VOCOS,
        description="the log-mel that the checkpoint was trained on; that of the codec must be the same",
    )
    channels: Width = Field(512, description="width of the backbone")
    layers: Depth = Field(8, description="ConvNeXt blocks")
    hidden: Width = Field(1536, description="hidden width of a block")

    @property
    def reach(self) -> int:
        """Mel frames before and after its own that a sample depends on, at most."""
        return 3 + 3 * self.layers + -(-self.mel.n_fft // (2 * self.mel.hop)) + 1

    @model_validator(mode="after")
    def _frames_overlap(self) -> Self:
        if 2 * self.mel.hop > self.mel.n_fft or self.mel.n_fft % 2:
            raise ValueError(f"mel.n_fft {self.mel.n_fft} must be even, and at least twice mel.hop {self.mel.hop}")
        return self


class SeanetConfig(CheckpointConfig):
    """What codecs of waveforms with a SEANet (arXiv:2009.02095) at both ends have in common."""

    training_only: ClassVar[frozenset[str]] = frozenset({"weights", "max_seconds"})

    sample_rate: int = Field(24_000, ge=4000, le=48_000, description="samples a second")
    filters: Width = Field(32, description="channels at the rate of the samples; doubled by each downsampling")
    rates: Few = Field(
        (8, 5, 4, 2), description="factors of the convolutions' upsampling, the decoder's first one first"
    )
    residual_layers: Depth = Field(1, description="residual blocks at each rate")
    kernel: Depth = Field(7, description="kernel size of the first convolution")
    last_kernel: Depth = Field(7, description="kernel size of the last convolution")
    residual_kernel: Depth = Field(3, description="kernel size of the residual blocks")
    dilation_growth: Depth = Field(2, description="factor of the dilation from one residual block to the next")
    compress: Depth = Field(2, description="divides the channels inside of residual blocks")
    shortcut: bool = Field(True, description="whether residual blocks have a convolution beside them")
    codebook_size: int = Field(1024, ge=2, le=65_536, description="codes K per codebook; a power of 2")
    max_seconds: float = Field(60.0, gt=0, le=3600, description="longest audio read from one file")

    @property
    def frozen(self) -> bool:
        """No stage trains it."""
        return True

    @property
    def frame(self) -> int:
        """Samples per code frame."""
        return math.prod(self.rates)

    @property
    def shortest(self) -> int:
        """Samples of the shortest audio."""
        return self.frame

    @model_validator(mode="after")
    def _codes_are_whole_bits(self) -> Self:
        if self.codebook_size & (self.codebook_size - 1):
            raise ValueError(f"codebook_size {self.codebook_size} is no power of 2")
        return self


def _with_default(name: str, default: Any) -> Any:
    """A setting of :class:`SeanetConfig` with another default."""
    return Field(default, description=str(SeanetConfig.model_fields[name].description))


class EncodecConfig(SeanetConfig):
    """Sizes of an EnCodec (arXiv:2210.13438) that is causal and of one channel; the defaults are those of
    encodec_24khz: 75 frames a second."""

    family: ClassVar[str] = "encodec"
    sizes: ClassVar[tuple[str, ...]] = (
        "sample_rate", "filters", "rates", "residual_layers", "kernel", "last_kernel", "residual_kernel",
        "dilation_growth", "compress", "shortcut", "d_model", "lstm_layers", "codebook_size", "padding", "bandwidths",
    )  # fmt: skip

    bandwidth: Bandwidth = Field(
        6.0, description="kbit/s of the codes, which decide how many of the checkpoint's codebooks are "
        "used; one of bandwidths"
    )  # fmt: skip
    bandwidths: Annotated[tuple[Bandwidth, ...], Field(min_length=1, max_length=64)] = Field(
        (1.5, 3.0, 6.0, 12.0, 24.0), description="bandwidths in kbit/s that the checkpoint was trained for"
    )
    d_model: Width = Field(128, description="width of the latents and of the code vectors")
    lstm_layers: Depth = Field(2, description="layers of each of the two LSTMs")
    padding: Literal["reflect", "constant", "replicate"] = Field(
        "reflect", description="what a sound begins with, for convolutions that look back further"
    )

    @property
    def _bits(self) -> float:
        """Bits a second of one codebook."""
        return math.ceil(self.sample_rate / self.frame) * math.log2(self.codebook_size)

    @property
    def codebooks(self) -> int:
        """Codebooks Q of the bandwidth."""
        return max(1, math.floor(1000 * self.bandwidth / self._bits))

    @property
    def trained_codebooks(self) -> int:
        """Codebooks that the checkpoint has."""
        return int(1000 * self.bandwidths[-1] // self._bits)

    @property
    def lookahead(self) -> int:
        """Frames after a sound's first one that decide what is reflected before it: no frame depends on later ones but
        for the first, which depend on each other. 0 without reflection."""
        if self.padding != "reflect":
            return 0
        found = max(self.kernel, self.last_kernel, 2) - 1  # at the rate of the frames; 1 for the way down to it
        widest = (self.residual_kernel - 1) * int(self.dilation_growth ** (self.residual_layers - 1))
        return max(found, widest // self.rates[0])

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.bandwidth not in self.bandwidths:
            known = ", ".join(f"{one:g}" for one in self.bandwidths)
            raise ValueError(
                f"bandwidth {self.bandwidth:g} must be one of {known}, which the checkpoint was trained for"
            )
        if self.codebooks > self.trained_codebooks:
            needed = f"bandwidth {self.bandwidth:g} needs {self.codebooks} codebooks"
            raise ValueError(f"{needed}, and the checkpoint has {self.trained_codebooks}")
        if self.lookahead >= FIRST:
            raise ValueError(f"the first {self.lookahead + 1} frames depend on each other: at most {FIRST} may")
        return self


class MimiConfig(SeanetConfig):
    """Sizes of a Mimi codec (arXiv:2410.00037); the defaults are those of kyutai's: 12.5 frames a second."""

    family: ClassVar[str] = "mimi"
    sizes: ClassVar[tuple[str, ...]] = (
        "sample_rate", "filters", "rates", "d_model", "n_layers", "n_heads", "d_ff", "codebook_size", "code_dim",
        "trained_codebooks",
    )  # fmt: skip

    codebooks: int = Field(8, ge=2, le=1024, description="codebooks Q that are used: the first of the checkpoint's")
    filters: Width = _with_default("filters", 64)
    rates: Few = _with_default("rates", (8, 6, 5, 4))
    last_kernel: Depth = _with_default("last_kernel", 3)
    shortcut: bool = _with_default("shortcut", False)
    d_model: Width = Field(512, description="width of the transformers")
    n_layers: Depth = Field(8, description="blocks of each of the two transformers")
    n_heads: Depth = Field(8, description="attention heads; must divide d_model")
    d_ff: Width = Field(2048, description="width of the MLP's hidden layer")
    window: Width = Field(250, description="frames of the transformers that attention looks back")
    rope_theta: float = Field(10_000.0, gt=1, le=1e9, description="base of the rotary wavelengths")
    norm_eps: float = Field(1e-5, gt=0, le=1, description="added to the variance inside LayerNorm")
    groups: Width = Field(512, description="groups of the convolution that doubles the frame rate; must divide d_model")
    codebook_size: int = Field(
        2048, ge=2, le=65_536, description=str(SeanetConfig.model_fields["codebook_size"].description)
    )
    code_dim: Width = Field(256, description="width of the code vectors")
    trained_codebooks: int = Field(32, ge=2, le=1024, description="codebooks that the checkpoint has")
    semantic: Depth = Field(1, description="codebooks of the first of the two quantizers")

    @property
    def frame(self) -> int:
        """Samples per code frame."""
        return 2 * super().frame

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if not self.semantic < self.codebooks <= self.trained_codebooks:
            known = f"from {self.semantic + 1} to {self.trained_codebooks}"
            raise ValueError(f"codebooks {self.codebooks} must be {known}, which the checkpoint has")
        for name, parts in (("n_heads", self.n_heads), ("groups", self.groups)):
            if self.d_model % parts:
                raise ValueError(f"d_model {self.d_model} cannot be split into {name} {parts} equal parts")
        if self.d_model // self.n_heads % 2:
            raise ValueError(f"heads of width {self.d_model // self.n_heads} have no halves to rotate")
        return self

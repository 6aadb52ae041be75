"""Pretrained parts: settings of encoders, and registration of all. Every listing imports this module, so it imports no
torch, numpy, Pillow or transformers.

The settings describe the network and the preprocessing completely, in a recipe as in a run: ``weights`` fills them in
from a checkpoint, and a run opens without reading its configuration again.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from muomni_cli.api import CodecPart, Depth, EncoderPart, Factor, VocoderPart, Width, hookimpl
from muomni_transformers.settings import CheckpointConfig
from muomni_transformers.speech_settings import EncodecConfig, HifiGanConfig, MimiConfig, VocosCheckpointConfig

Share = Annotated[float, Field(ge=0, le=1)]
Activation = Literal["gelu", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu"]
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
OPENAI = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}


class PretrainedConfig(CheckpointConfig):
    """What all encoders here have: sizes, and whether they are trained further."""

    sizes: ClassVar[tuple[str, ...]] = ("d_model", "n_layers", "n_heads", "d_ff")

    frozen: bool = Field(True, description="keep the weights as they are; false: the stage omni trains them further")
    d_model: Width = Field(768, description="width of its hidden states")
    n_layers: Depth = Field(12, description="blocks of attention and MLP")
    n_heads: Depth = Field(12, description="attention heads; must divide d_model")
    d_ff: Width = Field(3072, description="width of the MLP's hidden layer")
    activation: Activation = Field("gelu", description="of the MLP")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} cannot be split into n_heads {self.n_heads} equal heads")
        return self


class ImageEncoderConfig(PretrainedConfig):
    """Sizes of a pretrained vision transformer, and the preprocessing that it was trained with."""

    size: Width = Field(224, le=4096, description="side of the square that every picture becomes, in pixels")
    resize: int = Field(
        0,
        ge=0,
        le=8192,
        description="what the shorter side is scaled to before the center is cut out, in pixels; 0: each side is "
        "scaled to the square, whatever its proportions",
    )
    resample: Literal["bilinear", "bicubic", "lanczos"] = Field("bicubic", description="how pictures are scaled")
    mean: tuple[Share, Share, Share] = Field((0.5, 0.5, 0.5), description="subtracted from red, green, blue in 0 to 1")
    std: tuple[Factor, Factor, Factor] = Field((0.5, 0.5, 0.5), description="divides red, green, blue after that")
    patch: Width = Field(16, description="side of one patch, in pixels; must divide size")
    norm_eps: Factor = Field(1e-6, description="added to the variance inside LayerNorm")
    tokens: Literal["patches", "pooled"] | Width = Field(
        "patches",
        description='tokens for the Thinker: "patches", every patch; "pooled", the one token that the checkpoint makes '
        "of a picture; or a number g, the patches averaged to g x g tokens",
    )
    max_pixels: PositiveInt = Field(
        50_000_000,
        le=89_478_485,
        description="most pixels of a picture as it is decoded, a large JPEG in an eighth of its size",
    )
    max_side: PositiveInt = Field(65_535, le=1_000_000, description="longest side of a picture that is read, in pixels")
    max_bytes: PositiveInt = Field(256 << 20, le=1 << 40, description="size of the largest file that is read, in bytes")

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.size // self.patch

    @property
    def token_count(self) -> int:
        """Tokens for each picture."""
        if self.tokens == "pooled":
            return 1
        return self.grid**2 if self.tokens == "patches" else int(self.tokens) ** 2

    @model_validator(mode="after")
    def _picture_fits(self) -> Self:
        if self.size % self.patch:
            raise ValueError(f"size {self.size} cannot be cut into patches of {self.patch}")
        if self.resize and self.resize < self.size:
            raise ValueError(f"resize {self.resize} is smaller than the square of {self.size} that is cut out")
        if isinstance(self.tokens, int) and self.grid % self.tokens:
            fits = [str(g) for g in range(1, self.grid + 1) if self.grid % g == 0]
            raise ValueError(f"tokens {self.tokens} does not divide {self.grid} x {self.grid}: use {' or '.join(fits)}")
        return self


class SiglipConfig(ImageEncoderConfig):
    """Settings of SigLIP's vision encoder (arXiv:2303.15343); the defaults are those of siglip-base-patch16-224."""

    family: ClassVar[str] = "siglip"

    activation: Activation = Field("gelu_pytorch_tanh", description="of the MLP")


class ClipConfig(ImageEncoderConfig):
    """Settings of CLIP's vision encoder (arXiv:2103.00020); the defaults are those of clip-vit-base-patch32."""

    family: ClassVar[str] = "clip"

    resize: int = Field(224, ge=0, le=8192, description=str(ImageEncoderConfig.model_fields["resize"].description))
    mean: tuple[Share, Share, Share] = Field(OPENAI["mean"], description="subtracted from red, green, blue in 0 to 1")
    std: tuple[Factor, Factor, Factor] = Field(OPENAI["std"], description="divides red, green, blue after that")
    patch: Width = Field(32, description="side of one patch, in pixels; must divide size")
    activation: Activation = Field("quick_gelu", description="of the MLP")
    norm_eps: Factor = Field(1e-5, description="added to the variance inside LayerNorm")


class Dinov2Config(ImageEncoderConfig):
    """Settings of DINOv2 (arXiv:2304.07193); the defaults are those of dinov2-base."""

    family: ClassVar[str] = "dinov2"

    resize: int = Field(256, ge=0, le=8192, description=str(ImageEncoderConfig.model_fields["resize"].description))
    mean: tuple[Share, Share, Share] = Field(IMAGENET["mean"], description="subtracted from red, green, blue in 0 to 1")
    std: tuple[Factor, Factor, Factor] = Field(IMAGENET["std"], description="divides red, green, blue after that")
    patch: Width = Field(14, description="side of one patch, in pixels; must divide size")
    trained_size: Width = Field(
        518, le=4096, description="side of the square that its positions were trained for, in pixels; they are "
        "interpolated to size"
    )  # fmt: skip
    swiglu: bool = Field(False, description="whether the MLP is SwiGLU, as in the giant")

    @model_validator(mode="after")
    def _mlp_fits(self) -> Self:
        if self.d_ff % self.d_model:
            raise ValueError(f"d_ff {self.d_ff} is no multiple of d_model {self.d_model}")
        return self


class WhisperConfig(PretrainedConfig):
    """Sizes of Whisper's encoder (arXiv:2212.04356); the defaults are those of whisper-tiny.

    It hears a window of fixed length, padded with silence; only the tokens of the sound itself go to the Thinker.
    """

    family: ClassVar[str] = "whisper"

    d_model: Width = Field(384, description="width of its hidden states")
    n_layers: Depth = Field(4, description="blocks of attention and MLP")
    n_heads: Depth = Field(6, description="attention heads; must divide d_model")
    d_ff: Width = Field(1536, description="width of the MLP's hidden layer")
    n_mels: Depth = Field(80, le=400, description="mel bins")
    n_ctx: Width = Field(1500, description="frames of its window, 50 a second: 1500 are 30 seconds")
    stack: int = Field(
        4, ge=1, le=50, description="frames that stand side by side in one token: 4 gives 12.5 tokens a second"
    )

    @property
    def sample_rate(self) -> int:
        return 16_000

    @property
    def frame(self) -> int:
        """Samples of one frame."""
        return 320

    @property
    def window(self) -> int:
        """Samples that it hears at once, which is the longest sound."""
        return self.n_ctx * self.frame

    @property
    def max_seconds(self) -> float:
        return self.window / self.sample_rate

    def num_tokens(self, samples: int) -> int:
        """Tokens of a sound of ``samples`` samples."""
        return -(-samples // (self.frame * self.stack))

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.n_ctx % self.stack:
            raise ValueError(f"n_ctx {self.n_ctx} is no multiple of stack {self.stack}")
        return self


TINY = {"d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64}
TINY_MEL = {"sample_rate": 8000, "n_fft": 256, "window": 160, "hop": 40, "n_mels": 20}
TINY_PICTURE = {**TINY, "size": 32, "patch": 8}


def _image_encoder(name: str, doc: str, config: type[ImageEncoderConfig], **small: Any) -> EncoderPart:
    return EncoderPart(
        name=name,
        doc=doc,
        modality="image",
        config=config,
        build=f"muomni_transformers.vision:build_{name}",
        pretrained="muomni_transformers.weights:load",
        graphs="muomni_transformers.graphs:image_graphs",
        steps="muomni_transformers.graphs:image_steps",
        read="muomni_transformers.pictures:read",
        num_tokens="muomni_transformers.pictures:count",
        bench_inputs="muomni_transformers.pictures:inputs",
        cache_fields=frozenset({"size", "resize", "resample", "max_pixels", "max_side", "max_bytes"}),
        test_config={**TINY_PICTURE, **small},
        max_context_fraction=0.5,
    )


@hookimpl
def register_encoders() -> list[EncoderPart]:
    return [
        _image_encoder("siglip", "vision encoder of a SigLIP checkpoint, from a folder", SiglipConfig),
        _image_encoder("clip", "vision encoder of a CLIP checkpoint, from a folder", ClipConfig, resize=32),
        _image_encoder("dinov2", "DINOv2 checkpoint, from a folder", Dinov2Config, resize=36, trained_size=40),
        EncoderPart(
            name="whisper",
            doc="encoder of a Whisper checkpoint, from a folder; 12.5 tokens a second",
            modality="audio",
            config=WhisperConfig,
            build="muomni_transformers.whisper:build",
            pretrained="muomni_transformers.weights:load",
            graphs="muomni_transformers.graphs:audio_graphs",
            steps="muomni_transformers.graphs:audio_steps",
            read="muomni_transformers.sounds:read",
            num_tokens="muomni_transformers.sounds:count",
            bench_inputs="muomni_transformers.sounds:inputs",
            cache_fields=frozenset({"n_ctx"}),
            test_config={**TINY, "n_mels": 20, "n_ctx": 64},
            truncatable=True,
        ),
    ]


@hookimpl
def register_vocoders() -> list[VocoderPart]:
    return [
        VocoderPart(
            name="hifigan",
            doc="HiFi-GAN vocoder of a checkpoint, from a folder, as SpeechT5 has it",
            config=HifiGanConfig,
            build="muomni_transformers.hifigan:build",
            pretrained="muomni_transformers.weights:load",
            graphs="muomni_transformers.hifigan:graphs",
            runner="muomni_transformers.runtime:ContextRunner",
            test_config={
                "mel": TINY_MEL,
                **{"channels": 16, "rates": (5, 8), "kernels": (11, 16)},
                **{"resblock_kernels": (3, 5), "resblock_dilations": ((1, 3), (1, 2))},
            },
        ),
        VocoderPart(
            name="vocos-checkpoint",
            doc="Vocos of a published checkpoint, from a folder with config.yaml",
            config=VocosCheckpointConfig,
            build="muomni_transformers.vocos:build",
            pretrained="muomni_transformers.vocos:load",
            graphs="muomni_transformers.hifigan:graphs",
            runner="muomni_transformers.runtime:ContextRunner",
            test_config={"mel": TINY_MEL, "channels": 16, "layers": 2, "hidden": 24},
        ),
    ]


def _codec(name: str, doc: str, config: type[MimiConfig | EncodecConfig], **small: Any) -> CodecPart:
    return CodecPart(
        name=name,
        doc=doc,
        config=config,
        build=f"muomni_transformers.{name}:build",
        pretrained="muomni_transformers.weights:load",
        graphs="muomni_transformers.seanet:graphs",
        runner="muomni_transformers.runtime:CodecRunner",
        read="muomni_cli.audio.io:read",
        cache_fields=frozenset({"sample_rate", "max_seconds", "rates"}),
        waveform=True,
        test_config={"sample_rate": 8000, "filters": 4, "rates": (5, 4), "d_model": 16, "codebook_size": 16, **small},
    )


@hookimpl
def register_codecs() -> list[CodecPart]:
    return [
        _codec(
            "mimi",
            "Mimi codec of a checkpoint, from a folder; of waveforms, 12.5 frames a second, without a vocoder",
            MimiConfig,
            **{"n_layers": 2, "n_heads": 2, "d_ff": 24, "window": 6, "groups": 16, "code_dim": 8},
            **{"trained_codebooks": 4, "codebooks": 3},
        ),
        _codec(
            "encodec",
            "EnCodec of a checkpoint, from a folder; of waveforms, 75 frames a second, without a vocoder",
            EncodecConfig,
            **{"bandwidth": 4.8, "bandwidths": (1.6, 4.8, 6.4)},
        ),
    ]

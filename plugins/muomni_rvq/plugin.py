"""The codec ``rvq``: settings and registration, without torch, for every listing."""

from typing import ClassVar

from pydantic import Field, PositiveFloat

from muomni_cli.api import CodecPart, Depth, Factor, LossWeight, MelConfig, PartConfig, Width, hookimpl

SMALL = {  # the smallest settings that use every feature
    "mel": {"sample_rate": 8000, "n_fft": 256, "window": 160, "hop": 40, "n_mels": 20},
    **{"codebook_size": 32, "code_dim": 8, "width": 24, "encoder_layers": 1, "decoder_layers": 2, "fine_width": 16},
}


class CodecConfig(PartConfig):
    """Sizes of :class:`muomni_rvq.model.RvqCodec`. At hop 160 and 16 kHz a code frame of 8 mel frames lasts 80 ms: 12.5
    a second, and 2 codebooks of 128 are 175 bit/s."""

    training_only: ClassVar[frozenset[str]] = frozenset(
        {"max_seconds", "crop_seconds", "free_steps", "decay", "revive", "codebook_dropout", "commitment", "squared",
         "tie"}
    )  # fmt: skip

    mel: MelConfig = Field(MelConfig(), description="log-mel that is encoded; the vocoder uses the same")
    mel_mean: float = Field(-5.0, ge=-1e3, le=1e3, description="subtracted from the log-mel for the network")
    mel_scale: Factor = Field(4.0, description="divides the log-mel for the network, after mel_mean")
    frame: Depth = Field(8, description="mel frames per code frame")
    codebooks: Depth = Field(2, description="codebooks Q: the first codes a frame, each further one the residual")
    codebook_size: int = Field(128, ge=2, le=65536, description="codes K per codebook")
    code_dim: Width = Field(32, description="width of the code vectors")
    width: Width = Field(256, description="channels of the blocks at the rate of code frames")
    encoder_layers: int = Field(3, ge=0, le=1024, description="blocks of the encoder (not causal)")
    decoder_layers: int = Field(4, ge=0, le=1024, description="blocks of the decoder at the rate of code frames")
    fine_width: Width = Field(128, description="channels of the blocks at the rate of mel frames")
    fine_layers: int = Field(1, ge=0, le=1024, description="blocks of the decoder at the rate of mel frames")
    expansion: Depth = Field(4, description="hidden width of a block, as a multiple of its channels")
    kernel: Depth = Field(7, description="kernel size of a block's convolution, in frames")
    lookahead: int = Field(
        1, ge=0, le=1024, description="code frames of lookahead of the decoder: better audio, 80 ms later each"
    )
    max_seconds: float = Field(60.0, gt=0, le=3600, description="longest audio read from one file")
    crop_seconds: PositiveFloat = Field(3.2, le=60, description="seconds of audio per row of a training batch")
    free_steps: float = Field(
        0.3, ge=0, lt=1, description="share of the steps, the first ones, that train without quantization"
    )
    decay: float = Field(0.97, ge=0, lt=1, description="decay per step of the moving averages that codes are")
    revive: float = Field(
        0.1, ge=0, lt=1, description="replace a code used less than this share of the mean; 0 for never"
    )
    codebook_dropout: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of training rows that are decoded without a random number of the last codebooks",
    )
    commitment: LossWeight = Field(
        0.25, description="weight of the commitment loss, the distance of frames from their codes"
    )
    squared: LossWeight = Field(0.25, description="weight of the squared error beside the absolute error")
    tie: LossWeight = Field(
        0.1, description="weight of the distance of a decoded frame from the mean log-mel of its window"
    )

    @property
    def sample_rate(self) -> int:
        return self.mel.sample_rate

    @property
    def samples(self) -> int:
        """Samples per code frame."""
        return self.mel.hop * self.frame

    @property
    def shortest(self) -> int:
        """Samples of the shortest audio: one mel window; the rest of a code frame is silence."""
        return self.mel.window


@hookimpl
def register_codecs() -> list[CodecPart]:
    return [
        CodecPart(
            name="rvq",
            doc="residual vector quantization of 80 ms windows of log-mel; streaming decoder",
            config=CodecConfig,
            build="muomni_rvq.model:build",
            graphs="muomni_rvq.graphs:graphs",
            runner="muomni_rvq.runtime:RvqRunner",
            steps="muomni_rvq.graphs:steps",
            objective="muomni_rvq.objective:Reconstruction",
            read="muomni_cli.audio.io:read",
            test_config=SMALL,
            cache_fields=frozenset({"sample_rate", "max_seconds", "shortest"}),
        )
    ]

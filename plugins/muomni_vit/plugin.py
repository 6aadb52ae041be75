"""The vision encoder ``vit``: settings and registration. Every listing imports this module, so it imports no torch,
numpy or Pillow.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from muomni_cli.api import Depth, EncoderPart, Factor, PartConfig, Width, hookimpl

Share = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[int, Field(ge=1, le=95)]  # of a JPEG picture


class ImageAugmentConfig(PartConfig):
    """Image augmentation in the encoder's own training. All off by default: a flip that is harmless in one data set
    changes the label in another."""

    shift: int = Field(0, ge=0, le=1024, description="largest shift in pixels; edge pixels fill the gap")
    flip: float = Field(0.0, ge=0, le=1, description="share of pictures that are mirrored left to right")
    erase: float = Field(0.0, ge=0, le=1, description="share of pictures with a rectangle erased (arXiv:1708.04896)")
    erase_width: float = Field(0.4, gt=0, le=1, description="longest side of that rectangle, as a share of the picture")
    oblong: float = Field(0.0, ge=0, le=1, description="share of pictures that are read as if they were not square")
    aspect: float = Field(1.8, ge=1, le=4, description="largest ratio of the longer side of those to the shorter one")
    gray: float = Field(0.0, ge=0, le=1, description="share of pictures without color")
    blur: float = Field(0.0, ge=0, le=1, description="share of pictures with a Gaussian blur")
    blur_radius: float = Field(1.5, gt=0, le=16, description="largest radius of the blur, in pixels")
    jpeg: float = Field(0.0, ge=0, le=1, description="share of pictures compressed as JPEG")
    jpeg_quality: tuple[Quality, Quality] = Field((30, 90), description="lowest and highest quality of those")

    @property
    def degrades(self) -> bool:
        """Whether it asks for anything of :mod:`muomni_vit.degradation`."""
        return bool(self.oblong or self.gray or self.blur or self.jpeg)

    @model_validator(mode="after")
    def _quality_rises(self) -> Self:
        low, high = self.jpeg_quality
        if low > high:
            raise ValueError(f"jpeg_quality begins at {low}, above its end, {high}")
        return self


class WordsConfig(PartConfig):
    """Sizes of the byte-level text model that reads captions (contrast) or writes them (captions) while the encoder is
    trained on its own. It needs no tokenizer and is not part of the omni model."""

    d_model: Width = Field(128, description="width of the text model")
    n_layers: Depth = Field(2, description="its blocks of attention and MLP")
    n_heads: Depth = Field(4, description="its attention heads; must divide d_model")
    longest: Width = Field(96, le=4096, description="longest text in bytes; longer ones are truncated")
    hidden: float = Field(
        0.0, ge=0, lt=1, description="captions: share of the words hidden from the text model in training, so that it "
        "relies on the picture rather than on the words before (arXiv:1511.06349)"
    )  # fmt: skip

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} cannot be split into n_heads {self.n_heads} equal heads")
        return self


class VitConfig(PartConfig):
    """Sizes of :class:`muomni_vit.model.Vit` and the rules of :mod:`muomni_vit.preprocessing`.

    The defaults give 916,992 parameters::

        patches    128 x 3 x 16 x 16, no bias                         98,304
        CLS        128                                                   128
        positions  (1 + 14 x 14) x 128                                25,216
        4 blocks   qkv 49,536 + out 16,512 + MLP 131,712 + norms 512  793,088  (4 x 198,272)
        final norm 2 x 128                                               256

    The patches have no bias because the positions already add one vector to each.
    """

    training_only: ClassVar[frozenset[str]] = frozenset({"dropout", "learn", "label_smoothing", "words", "augment"})

    size: Width = Field(224, le=4096, description="side of the square that every picture becomes, in pixels")
    patch: Width = Field(16, description="side of one patch, in pixels; must divide size")
    stem: Literal["patch", "conv"] = Field(
        "patch",
        description="patch embedding: one linear map, or convolutions of stride 2, which learn faster from few "
        "pictures (arXiv:2106.14881; patch must be a power of 2)",
    )
    d_model: Width = Field(128, description="width of its tokens")
    n_layers: Depth = Field(4, description="blocks of attention and MLP")
    n_heads: Depth = Field(4, description="attention heads; each is d_model / n_heads wide")
    d_ff: Width = Field(512, description="width of the MLP's hidden layer")
    tokens: Literal["cls"] | Width = Field(
        "cls", description='tokens for the Thinker: "cls", one token; or a number g, the patches pooled to g x g tokens'
    )
    positions: Literal["learned", "rope"] = Field(
        "learned", description="position embedding: learned vectors, or 2-D rotary (rows and columns apart)"
    )
    rope_theta: Factor = Field(100.0, description="base of the rotary wavelengths, counted in patches")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of each branch's output dropped in training")
    norm_eps: Factor = Field(1e-6, description="added to the variance inside LayerNorm")
    fit: Literal["pad", "extend", "crop", "stretch"] = Field(
        "pad",
        description="pictures that are not square: pad adds bars of the mean color; extend cuts plain ends and adds "
        "bars of the color at the picture's edge; crop keeps the center; stretch distorts to a square",
    )
    mean: tuple[Share, Share, Share] = Field(
        (0.5, 0.5, 0.5), description="subtracted from red, green and blue in 0 to 1; also the color of pad's bars"
    )
    std: tuple[Factor, Factor, Factor] = Field(
        (0.5, 0.5, 0.5), description="divides red, green and blue after the mean is subtracted"
    )
    max_pixels: PositiveInt = Field(
        50_000_000,
        le=89_478_485,
        description="most pixels of a picture as it is decoded, a large JPEG in an eighth of its size; "
        "at most the limit of Pillow",
    )
    max_side: PositiveInt = Field(65_535, le=1_000_000, description="longest side of a picture that is read, in pixels")
    max_bytes: PositiveInt = Field(256 << 20, le=1 << 40, description="size of the largest file that is read, in bytes")
    learn: Literal["auto", "labels", "contrast", "captions"] = Field(
        "auto",
        description="objective of its own stage: classify labels, match pictures with texts, or write the text; "
        "auto: labels if all pictures have one, else contrast",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="labels: label smoothing of the cross-entropy")
    words: WordsConfig = Field(WordsConfig(), description="contrast and captions: the text model beside the encoder")
    augment: ImageAugmentConfig = Field(ImageAugmentConfig(), description="augmentation of training pictures")

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.size // self.patch

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    @property
    def token_count(self) -> int:
        """Tokens for each picture."""
        return 1 if self.tokens == "cls" else int(self.tokens) ** 2

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.size % self.patch:
            raise ValueError(f"size {self.size} cannot be cut into patches of {self.patch}")
        if self.stem == "conv" and self.patch.bit_count() != 1:
            raise ValueError(f'patch {self.patch} must be a power of 2 with stem = "conv"')
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} cannot be split into n_heads {self.n_heads} equal heads")
        if self.positions == "rope" and self.head_dim % 4:
            raise ValueError(
                f"a head is d_model / n_heads = {self.d_model} / {self.n_heads} = {self.head_dim} wide; "
                "2-D rotary positions need a multiple of 4"
            )
        if self.tokens != "cls" and self.tokens > self.grid:
            raise ValueError(f"tokens {self.tokens}: there are only {self.grid} x {self.grid} patches")
        return self


@hookimpl
def register_encoders() -> list[EncoderPart]:
    return [
        EncoderPart(
            name="vit",
            doc="vision transformer on square patches; gives its CLS token, or its patches pooled to a grid",
            modality="image",
            config=VitConfig,
            build="muomni_vit.model:build",
            objective="muomni_vit.objective:choose",
            graphs="muomni_vit.graphs:graphs",
            steps="muomni_vit.graphs:steps",
            read="muomni_vit.preprocessing:read",
            num_tokens="muomni_vit.preprocessing:count",
            predictor="muomni_vit.objective:build_predictor",
            runner="muomni_vit.runtime:VisionPredictorRunner",
            head_graphs="muomni_vit.graphs:head_graphs",
            bench_inputs="muomni_vit.preprocessing:inputs",
            test_config={"size": 32, "patch": 8, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64},
            max_context_fraction=0.5,
            peers={"transformers": "muomni_vit.peer:vit"},
        )
    ]

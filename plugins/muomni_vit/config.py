"""The sizes of the vision transformer, how pictures reach it, how it learns, and which of them fit together. Knows no
torch."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from muomni_cli.api import PartConfig

Share = Annotated[float, Field(ge=0, le=1)]


class ImageAugmentConfig(PartConfig):
    """What is done to pictures in the encoder's own training, so that few stand for many. All of it is off at first:
    what changes nothing in one set of pictures (left and right in clothes) is the very thing to be learned in another.
    """

    shift: NonNegativeInt = Field(0, description="furthest that a picture is moved, in pixels; its edges are drawn out")
    flip: float = Field(0.0, ge=0, le=1, description="share of pictures of which left and right change places")
    erase: float = Field(
        0.0, ge=0, le=1, description="share of pictures from which a rectangle is cut out (arXiv:1708.04896)"
    )
    erase_width: float = Field(0.4, gt=0, le=1, description="longest side of that rectangle, as a share of the picture")


class WordsConfig(PartConfig):
    """Sizes of the text model beside the encoder in its own training: what reads captions (contrast) or writes them
    (captions). It works on bytes, needs no tokenizer, and is not part of the model that is used later."""

    d_model: PositiveInt = Field(128, description="width of the text model")
    n_layers: PositiveInt = Field(2, description="its blocks of attention and MLP")
    n_heads: PositiveInt = Field(4, description="its attention heads; must divide d_model")
    longest: PositiveInt = Field(96, le=4096, description="bytes of a text that are learned; longer ones are cut")
    hidden: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="captions: share of the words that is hidden from the text model in training, so that it looks at "
        "the picture and does not guess from the words before (arXiv:1511.06349)",
    )

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

    size: PositiveInt = Field(224, le=4096, description="side of the square that every picture becomes, in pixels")
    patch: PositiveInt = Field(16, description="side of one patch, in pixels; must divide size")
    stem: Literal["patch", "conv"] = Field(
        "patch",
        description="what makes patches of pixels: one linear map, or convolutions of stride 2, which learn faster "
        "from few pictures (arXiv:2106.14881; patch must be a power of 2)",
    )
    d_model: PositiveInt = Field(128, description="width of its tokens")
    n_layers: PositiveInt = Field(4, description="blocks of attention and MLP")
    n_heads: PositiveInt = Field(4, description="attention heads; each is d_model / n_heads wide")
    d_ff: PositiveInt = Field(512, description="width of the MLP's hidden layer")
    tokens: Literal["cls"] | PositiveInt = Field(
        "cls",
        description='what reaches the Thinker: "cls", one token; or a number g, the patches pooled to g x g tokens',
    )
    positions: Literal["learned", "rope"] = Field(
        "learned", description="where a patch is: a learned vector each, or 2-D rotary (rows and columns apart)"
    )
    rope_theta: PositiveFloat = Field(100.0, description="base of the rotary wavelengths, counted in patches")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of each branch's output dropped in training")
    norm_eps: PositiveFloat = Field(1e-6, description="added to the variance inside LayerNorm")
    fit: Literal["pad", "crop", "stretch"] = Field(
        "pad",
        description="a picture that is not square: pad shows all of it between bars, crop its centre, "
        "stretch bends it to a square",
    )
    mean: tuple[Share, Share, Share] = Field(
        (0.5, 0.5, 0.5), description="subtracted from red, green and blue, which go from 0 to 1; also the bars of pad"
    )
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (0.5, 0.5, 0.5), description="what red, green and blue are then divided by"
    )
    max_pixels: PositiveInt = Field(
        50_000_000, le=89_478_485, description="most pixels in a picture that is read; at most Pillow's own limit"
    )
    max_side: PositiveInt = Field(65_535, description="longest side of a picture that is read, in pixels")
    max_bytes: PositiveInt = Field(256 << 20, description="size of the largest file that is read, in bytes")
    learn: Literal["auto", "labels", "contrast", "captions"] = Field(
        "auto",
        description="what its own stage teaches: to name a picture's label, to tell which text belongs to which "
        "picture, or to write the text; auto: labels where all pictures have one, else contrast",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="labels: share of the aim that is spread over all classes"
    )
    words: WordsConfig = Field(WordsConfig(), description="contrast and captions: the text model beside the encoder")
    augment: ImageAugmentConfig = Field(ImageAugmentConfig(), description="what training does to its pictures")

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.size // self.patch

    @property
    def head_dim(self) -> int:
        """Width of one head."""
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
            raise ValueError(f"patch {self.patch} is no power of 2, and convolutions of stride 2 halve a picture")
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

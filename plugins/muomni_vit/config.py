"""The sizes of the vision transformer, how pictures reach it, and which of them fit together. Knows no torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from muomni_cli.api import PartConfig

Share = Annotated[float, Field(ge=0, le=1)]


class VitConfig(PartConfig):
    """Sizes of :class:`muomni_vit.model.Vit` and the rules of :mod:`muomni_vit.reading`.

    The defaults give 916,992 parameters::

        patches    128 x 3 x 16 x 16, no bias                         98,304
        CLS        128                                                   128
        positions  (1 + 14 x 14) x 128                                25,216
        4 blocks   qkv 49,536 + out 16,512 + MLP 131,712 + norms 512  793,088  (4 x 198,272)
        final norm 2 x 128                                               256

    The patches have no bias because the positions already add one vector to each.
    """

    size: PositiveInt = Field(224, le=4096, description="side of the square that every picture becomes, in pixels")
    patch: PositiveInt = Field(16, description="side of one patch, in pixels; must divide size")
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

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.size // self.patch

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.d_model // self.n_heads

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.size % self.patch:
            raise ValueError(f"size {self.size} cannot be cut into patches of {self.patch}")
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

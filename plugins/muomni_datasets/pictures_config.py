"""Settings of the sources of drawn pictures. Imported by every listing, so it must not import anything heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from muomni_datasets.config import MadeConfig

Color = Literal["red", "green", "blue", "yellow", "purple", "orange", "black", "white", "pink", "brown"]
COLORS: tuple[Color, ...] = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")  # the default
NAMED: tuple[Color, ...] = ("pink", "brown")  # used only if named, to test a model on unseen colors
Shape = Literal["circle", "square", "triangle", "star"]
SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle", "star")
Ground = Literal["gray", "muted", "white", "light", "dark", "black", "dark-blue", "any", "gradient", "noise"]
GROUNDS: tuple[Ground, ...] = ("gray", "muted")  # the default of scenes
EVERY: tuple[Ground, ...] = ("white", "any", "gradient", "noise")  # the default of things
Style = Literal["noto", "fluent", "twemoji", "outline", "noto-v1", "emojione", "fxemoji", "streamline"]
STYLES: tuple[Style, ...] = (  # in the order of the archives of set:things
    "noto", "fluent", "twemoji", "outline", "noto-v1", "emojione", "fxemoji", "streamline",
)  # fmt: skip
Show = Literal["thing", "same", "pair", "digit", "word", "unknown", "held"]
SHOWS: tuple[Show, ...] = ("thing", "same", "pair", "digit", "word", "unknown")
PAIRS = tuple(f"{color} {shape}" for color in COLORS + NAMED for shape in SHAPES)  # all kinds of objects in scenes


def _is_pair(text: str) -> str:
    if text not in PAIRS:
        raise ValueError(f"must be a color ({', '.join(COLORS + NAMED)}) and a shape ({', '.join(SHAPES)})")
    return text


Pair = Annotated[str, AfterValidator(_is_pair)]  # a color and a shape: "green star"
JpegQuality = Annotated[int, Field(ge=1, le=95)]
Aspect = Annotated[float, Field(ge=1, le=4)]
FillingRadius = Annotated[float, Field(ge=16, le=32)]


class DrawnConfig(MadeConfig):
    """Settings of all sources that draw pictures."""

    size: int = Field(64, ge=16, le=1024, description="height and width in pixels, of an oblong picture the shorter")
    grounds: tuple[Ground, ...] = Field(
        EVERY, min_length=1, description="possible grounds: gray, muted (colors), white, light, dark, black, "
        "dark-blue, any (one color), gradient and noise; no object of nearly the same color is drawn on them"
    )  # fmt: skip
    aspect: Aspect | tuple[Aspect, Aspect] = Field(
        1.0, description="largest ratio of the longer to the shorter side, or the least and the largest"
    )
    gray: float = Field(0.0, ge=0, le=1, description="share of the pictures without color")
    blur: float = Field(0.0, ge=0, le=8, description="largest radius of a Gaussian blur, in 1/64 of the picture")
    quality: tuple[JpegQuality, JpegQuality] | None = Field(
        None, description="lowest and highest quality of JPEG pictures; PNG if unset"
    )
    plain: float = Field(
        0.0, ge=0, le=1, description="share of the pictures that are square PNG without blur, in color"
    )

    @property
    def aspects(self) -> tuple[float, float]:
        """The least and the largest ratio of the sides."""
        return self.aspect if isinstance(self.aspect, tuple) else (1.0, self.aspect)

    @model_validator(mode="after")
    def _ranges_rise(self) -> DrawnConfig:
        if self.quality and self.quality[0] > self.quality[1]:
            raise ValueError(f"quality begins at {self.quality[0]}, above its end, {self.quality[1]}")
        if self.aspects[0] > self.aspects[1]:
            raise ValueError(f"aspect begins at {self.aspects[0]:g}, above its end, {self.aspects[1]:g}")
        return self


class ThingsConfig(DrawnConfig):
    """Drawn things with names, digits and words, and what has no name."""

    path: str = Field("set:things", description="tar of drawn emoji, STYLE/CODE.png")
    styles: tuple[Style, ...] = Field(
        ("noto", "fluent"), min_length=1, description="possible drawing styles: noto, fluent, twemoji and outline have "
        "every thing; noto-v1, emojione, fxemoji and streamline only some, and another style draws the others"
    )  # fmt: skip
    show: tuple[Show, ...] = Field(
        SHOWS, min_length=1, description="what a picture may show, each as often as it is listed: a thing, two to four "
        "of the same, a pair of different ones, a digit, a word, something unknown (an emoji without a name, a "
        "pattern, odd letters), or held (unknown emoji that training is not to show)"
    )  # fmt: skip
    names: tuple[str, ...] = Field((), description="names of possible things; empty for all")
    sizes: tuple[Annotated[float, Field(ge=0.1, le=1)], Annotated[float, Field(ge=0.1, le=1)]] = Field(
        (0.3, 1.0), description="smallest and largest side of a thing alone, as a share of the picture's shorter side"
    )

    vary: float = Field(
        0.0, ge=0, le=1, description="share of the things that are mirrored, turned, squashed, paler or darker"
    )

    @model_validator(mode="after")
    def _sizes_rise(self) -> ThingsConfig:
        if self.sizes[0] > self.sizes[1]:
            raise ValueError(f"sizes begins at {self.sizes[0]:g}, above its end, {self.sizes[1]:g}")
        return self


class ScenesConfig(DrawnConfig):
    """Drawn scenes."""

    objects: tuple[Annotated[int, Field(ge=1, le=3)], ...] = Field(
        (1, 2), min_length=1, description="possible numbers of objects: any of 1, 2 and 3"
    )
    counting: float = Field(0.0, ge=0, le=1, description="share of the scenes that show one to four equal objects")
    filling: float = Field(
        0.0, ge=0, le=1, description="share of the scenes that show one object so large that it fills the picture"
    )
    filling_radius: tuple[FillingRadius, FillingRadius] = Field(
        (18.0, 30.0), description="smallest and largest radius of such an object, in 1/64 of the picture"
    )
    colors: tuple[Color, ...] = Field(COLORS, min_length=1, description="possible colors")
    shapes: tuple[Shape, ...] = Field(SHAPES, min_length=1, description="possible shapes")
    without: tuple[Pair, ...] = Field((), description='kinds that are never drawn, such as "green star"')
    only: tuple[Pair, ...] = Field(
        (), description="kinds reserved for the first object, which has no others; empty for all"
    )
    smooth: bool = Field(False, description="draw soft edges")
    grounds: tuple[Ground, ...] = Field(
        GROUNDS, min_length=1, description="possible grounds, as in things; "
        "no object of nearly the same color is drawn on them"
    )  # fmt: skip
    give: Literal["captions", "questions"] = Field(
        "captions", description='"captions": examples with captions; "questions": conversations'
    )

    @property
    def kinds(self) -> list[str]:
        """All kinds that may be drawn, in the order of :data:`PAIRS`."""
        pairs = [(pair, *pair.split()) for pair in PAIRS if pair not in self.without]
        return [pair for pair, color, shape in pairs if color in self.colors and shape in self.shapes]

    @model_validator(mode="after")
    def _something_is_left(self) -> ScenesConfig:
        kinds = set(self.kinds)
        if not (kinds & set(self.only) if self.only else kinds):
            raise ValueError("`without`, `colors` and `shapes` leave no kind for the first object")
        if len(kinds - set(self.only)) < 3:
            raise ValueError("`without`, `only`, `colors` and `shapes` leave fewer than three kinds for other objects")
        return self

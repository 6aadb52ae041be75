"""Configuration of the sources that read examples from files; nothing heavy is imported here."""

from __future__ import annotations

from pydantic import Field

from muomni_cli.api import PartConfig
from muomni_datasets.config import Expression, FilesConfig, Side


class ManifestConfig(FilesConfig):
    """Examples listed in JSON Lines."""

    modality: str = Field(
        "image", pattern=r"^[a-z0-9_-]+$", description="what the examples are, and the field that names the file"
    )


class NamedConfig(FilesConfig):
    """How files or members of archives become examples: by their names, and by captions beside them."""

    modality: str = Field("", description='"image", "audio" or another one; empty: as the endings of the names say')
    name: Expression = Field(
        r"(?:^|/)(?P<label>[^/]+)/[^/]+$",
        description="regular expression looked for in the name, with groups called label, text and key (of what must "
        "stay on one side of the split, such as a speaker; otherwise the name); by default the folder is the label",
    )
    names: dict[str, str] = Field({}, description='better labels for those in the names, such as "0" = "zero"')
    labels: tuple[str, ...] = Field((), description="labels to keep, as names has them; empty for all")
    holdout: tuple[Expression, ...] = Field(
        (), description="regular expressions: keys in which one is found are for validation, and no others"
    )
    exclude: tuple[Expression, ...] = Field(
        (), description="regular expressions: names in which one is found are left out"
    )
    captions: str = Field(
        "",
        description="file with a line for each example: name, tab or |, text (of more columns the last, or the one "
        "that a first line calls text); in the folder, or in each archive",
    )


class FolderConfig(NamedConfig):
    """Files in folders."""


class TarConfig(NamedConfig):
    """Members of tar archives."""


class IdxConfig(PartConfig):
    """Pictures and labels as in MNIST."""

    images: str = Field(
        "", description="IDX file of grey pictures, plain or .gz, or set:NAME/FILE; ~ and $NAME are expanded"
    )
    labels: str = Field("", description="IDX file of their labels, plain or .gz")
    classes: tuple[str, ...] = Field((), description="names of the labels, from 0; empty for their numbers")
    split: Side = Field("", description='"train" or "val": all is for that side; empty: chosen by hash')

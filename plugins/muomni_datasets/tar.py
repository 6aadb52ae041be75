"""Members of tar archives, read where they lie: the archive is indexed once and never unpacked.

A path may name one archive, a folder of them, or a glob (shards). Only what is a plain file in the archive counts;
links, sparse members, and names that lead out of the archive are noted and left out.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from muomni_cli.api import Example, RequestError, SliceMedia
from muomni_datasets.examples_config import TarConfig
from muomni_datasets.naming import LONGEST, Namer, read_beside, read_captions, safe_name
from muomni_datasets.reading import Files

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""First bytes of what cannot be read in place, and its name."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member's bytes lie in its archive."""

    offset: int
    size: int


class Tar:
    """The examples of tar archives, in the order of the archives' names and of the members in them."""

    def __init__(self, config: TarConfig) -> None:
        self._config = config
        self._namer = Namer(config)
        self._files = Files(config, (".tar",))

    @property
    def unreadable(self) -> dict[str, str]:
        return self._files.unreadable

    @property
    def remarks(self) -> list[str]:
        return self._namer.remarks

    def files(self) -> list[Path]:
        return self._files.paths()

    def documents(self) -> Iterator[Example]:
        for path in self._files.paths():
            self._files.forget(path)
            _refuse_compressed(path)
            yield from self._examples(path)

    def _examples(self, path: Path) -> Iterator[Example]:
        index = self._index(path)

        def beside(name: str) -> str | None:
            place = index.get(name)
            if place is None or place.size > LONGEST:
                return None
            with SliceMedia("", path, place.offset, place.size, name).open() as file:
                return read_beside(file)

        captions = self._captions(path, index)
        for name, place in index.items():
            modality = self._namer.modality(name)
            if modality is None:
                continue
            media = SliceMedia(modality, path, place.offset, place.size, name)
            found = self._namer.example(name, media, str(path), captions, beside)
            if isinstance(found, str):
                self._files.note(path, found)
            elif found is not None:
                yield found

    def _captions(self, path: Path, index: dict[str, Place]) -> dict[str, str]:
        wanted = self._config.captions
        if not wanted:
            return {}
        if wanted not in index:
            self._files.note(path, f"there is no member {wanted} with captions")
            return {}
        with SliceMedia("", path, index[wanted].offset, index[wanted].size, wanted).open() as file:
            return read_captions(file, lambda reason: self._files.note(path, reason))

    def _index(self, path: Path) -> dict[str, Place]:
        """Names of plain members and where they lie; one that is there twice is the later one, as for tar."""
        index: dict[str, Place] = {}
        try:
            end = path.stat().st_size
            for member in _members(path):
                if member.isdir():
                    continue
                name = safe_name(member.name)
                if name is None:
                    self._files.note(path, f"the name {member.name[:80]!r} leads out of the archive, or is no text")
                elif not member.isreg() or member.issparse():
                    self._files.note(path, f"{name} is a link, sparse, or no file")
                elif member.size < 0 or member.offset_data + member.size > end:
                    self._files.note(path, f"the archive ends inside of {name}")
                    break
                elif member.size:
                    index[name] = Place(member.offset_data, member.size)
                else:
                    self._files.note(path, f"{name} is empty")
        except (OSError, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            self._files.note(path, f"not all of it is a tar archive ({' '.join(str(error).split())[:100]})")
        return index


def build(config: TarConfig) -> Tar:
    """A source of tar archives."""
    return Tar(config)


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """The headers of an archive. They are not kept, and one that points backwards ends the archive: it would never
    end by itself. tarfile takes whatever is no header for the end of an archive; here only zeros are."""
    with tarfile.open(path, "r:") as archive:
        reached = -1
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]
            if member.offset <= reached:
                raise tarfile.ReadError("a header points backwards")
            reached = member.offset
            yield member
        with path.open("rb") as file:
            file.seek(archive.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"it is damaged or cut off at byte {archive.offset:,}")


def _refuse_compressed(path: Path) -> None:
    with path.open("rb") as file:
        begin = file.read(8)
    for mark, kind in COMPRESSED.items():
        if begin.startswith(mark):
            raise RequestError(
                f"{path} is compressed ({kind}), and members of a compressed archive cannot be read in place",
                "decompress it first; pictures and sounds are compressed already, so little is gained by it",
            )

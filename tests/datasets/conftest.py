"""What the tests of sources share: a picture's bytes, archives made on the spot, and where real data lie."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from muomni_cli.registry.sets import set_file

MakeTar = Callable[..., Path]


@pytest.fixture(scope="session")
def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def make_tar(tmp_path: Path) -> MakeTar:
    """``make_tar("a.tar", {"x/1.png": b"..."}, *more headers)``: plain members, then headers without content."""

    def make(name: str, members: dict[str, bytes], *headers: tarfile.TarInfo) -> Path:
        path = tmp_path / name
        with tarfile.open(path, "w") as archive:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            for header in headers:
                archive.addfile(header)
        return path

    return make


@pytest.fixture
def shared_data() -> Path:
    """The folder of MUOMNI_DATA; skips where there is none."""
    folder = os.environ.get("MUOMNI_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MUOMNI_DATA names no folder")
    return Path(folder)


@pytest.fixture
def public() -> Callable[[str], str]:
    """``public("fsdd")``: the path of a public dataset as recipes write it; skips where it is not here."""

    def path(name: str) -> str:
        if set_file(f"set:{name}").find() is None:
            pytest.skip(f"needs: muomni data get {name}")
        return f"set:{name}"

    return path

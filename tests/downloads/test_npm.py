"""Packages of npm: fetched by the user's own program, checked, and drawn."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from muomni_cli.api import MuomniError, RemoteFile, RequestError
from muomni_cli.data.npm_packages import pack
from muomni_datasets import icon_sets
from muomni_datasets.pictures_config import STYLES

NPM = """#!/bin/sh
[ "$1" = pack ] && [ "$2" = "@shells/flat@1.0.0" ] || {{ echo "npm ERR! 404 not found" >&2; exit 1; }}
cp {archive} shells-flat-1.0.0.tgz
"""


def iconify(path: Path, *, names: dict[str, str] | None, icons: dict[str, str]) -> None:
    """An npm archive with an icon set in Iconify's format. Without ``names`` it does not tell code points."""
    held = {
        "icons": {"prefix": "s", "width": 32, "height": 32, "icons": {n: {"body": b} for n, b in icons.items()},
                  "aliases": {"turned": {"parent": "half", "hFlip": True}}},
        "chars": names,
    }  # fmt: skip
    with tarfile.open(path, "w:gz") as tar:
        for name, content in held.items():
            if content is None:
                continue
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(f"package/{name}.json")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


HALF = '<path fill="#f00" d="M0 0h16v32H0z"/>'
NAMES = {"1f41a": "half", "1f980-fe0f": "turned", "1f44b-1f3fb": "half", "1f9aa": "half"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    iconify(tmp_path / "set.tgz", names=NAMES, icons={"half": HALF})
    return tmp_path / "set.tgz"


@pytest.fixture
def declared(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteFile:
    """A package, and a program npm that gives it."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(NPM.format(archive=archive))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    content = archive.read_bytes()
    return RemoteFile(url="npm:@shells/flat@1.0.0", size=len(content), sha512=hashlib.sha512(content).hexdigest())


def test_a_package_is_fetched_once(declared: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (declared.npm, declared.filename) == ("@shells/flat@1.0.0", "shells-flat-1.0.0.tgz")
    target, told = tmp_path / "there" / "flat.tgz", list[int]()
    target.parent.mkdir()
    pack(declared, target, told.append)
    assert target.read_bytes() == (tmp_path / "set.tgz").read_bytes()
    monkeypatch.setenv("PATH", str(tmp_path))
    pack(declared, target, told.append)
    assert told == [declared.size] * 2
    assert [path.name for path in target.parent.iterdir()] == ["flat.tgz"]


def test_another_package_is_refused(declared: RemoteFile, tmp_path: Path) -> None:
    for wrong in ({"sha512": "0" * 128}, {"size": declared.size + 1}):
        other = RemoteFile(**{"url": declared.url, "size": declared.size, "sha512": declared.sha512, **wrong})
        with pytest.raises(MuomniError, match="wrong checksum"):
            pack(other, tmp_path / "flat.tgz", print)
    gone = RemoteFile(url="npm:@shells/none@1.0.0", size=1)
    with pytest.raises(MuomniError, match=r"npm cannot fetch @shells/none@1\.0\.0: npm ERR! 404"):
        pack(gone, tmp_path / "none.tgz", print)
    assert not (tmp_path / "flat.tgz").exists()


def test_without_npm_one_is_told_how_else(
    declared: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match="npm, which fetches the package") as caught:
        pack(declared, tmp_path / "flat.tgz", print)
    assert f"npm pack {declared.npm}" in caught.value.fix


def test_icons_of_all_sets_are_drawn(archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="resvg-py is not installed")
    other, target, told = tmp_path / "other.tgz", tmp_path / "things.tar", list[int]()
    iconify(other, names={"1f41a-fe0f": "half", "1f980": "turned"}, icons={"half": HALF})
    icon_sets.draw_icons([archive, other, *[archive] * (len(STYLES) - 2)], [target], told.append)
    assert len(told) == len(STYLES)
    with tarfile.open(target) as tar:
        assert tar.getnames() == [f"{style}/{code}.png" for style in STYLES for code in ("1f41a", "1f980")]
        left, right = (Image.open(tar.extractfile(f"noto/{code}.png")) for code in ("1f41a", "1f980"))  # type: ignore[arg-type]
        side = icon_sets.SIDE
        assert left.getbbox() == (0, 0, side // 2, side)
        assert right.getbbox() == (side // 2, 0, side, side)


def test_sets_without_code_points_draw_the_emoji_whose_names_they_have(archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="resvg-py is not installed")
    silent, first, target = tmp_path / "silent.tgz", tmp_path / "first.tgz", tmp_path / "things.tar"
    iconify(first, names={"1f41a": "half", "1f980": "whole"}, icons={"half": HALF, "whole": HALF})
    iconify(silent, names=None, icons={"half": HALF, "other": HALF})
    icon_sets.draw_icons([first, *[archive] * (len(STYLES) - 2), silent], [target], print)
    with tarfile.open(target) as tar:
        drawn = [name for name in tar.getnames() if name.startswith(STYLES[-1])]
    assert drawn == [f"{STYLES[-1]}/1f41a.png", f"{STYLES[-1]}/1f980.png"]  # 1f980 is "turned" elsewhere
    with pytest.raises(ValueError, match="no emoji in common"):
        icon_sets.draw_icons([silent] * len(STYLES), [target], print)


def test_damaged_sets_are_refused(archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="resvg-py is not installed")
    other = tmp_path / "other.tgz"
    iconify(other, names={"1f9aa": "half"}, icons={})
    with pytest.raises(ValueError, match="there is no icon half"):
        icon_sets.draw_icons([archive, other, other], [tmp_path / "a.tar"], print)
    iconify(other, names={"1f41b": "half"}, icons={"half": HALF})
    with pytest.raises(ValueError, match="no emoji in common"):
        icon_sets.draw_icons([archive, other, other], [tmp_path / "a.tar"], print)
    with tarfile.open(other, "w:gz"):
        pass
    with pytest.raises(ValueError, match=r"icons\.json is not in it"):
        icon_sets.read_set(other)

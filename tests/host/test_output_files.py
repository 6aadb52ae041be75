"""Files that are written: under names that nobody can guess, behind links, into pipes and devices, which stay what they
are."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muomni_cli import app
from muomni_cli.core import files
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import new_folder, replacing, write_bytes, write_text
from muomni_cli.core.partial import sweep_files
from muomni_cli.core.stopping import unfinished
from muomni_cli.runs.run import RunFolder

if TYPE_CHECKING:
    from tests.tiny_model import Whole

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")

COMMANDS: dict[str, list[str]] = {
    "recipes schema": ["recipes", "schema", "-o", "OUT"],
    "runs plot": ["runs", "plot", "plotted", "-o", "OUT"],
    "tts": ["tts", "hello", "-m", "BUNDLE", "--raw", "-o", "OUT"],
    "listen": ["listen", "SOUND", "-m", "BUNDLE", "-o", "OUT"],
    "trace": ["trace", "hello", "-m", "BUNDLE", "--html", "OUT"],
    "recipes copy": ["recipes", "copy", "nano", "OUT", "--force"],
}
"""Each command that writes one file, OUT."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words: list[str]) -> int:
    with pytest.raises(SystemExit) as left:
        app.main(words)
    return int(left.value.code or 0)


def plotted() -> None:
    RunFolder(Path("runs/plotted")).record("thinker", {"status": "finished"})
    Path("runs/plotted/thinker").mkdir()
    lines = (json.dumps({"step": step, "loss": 1 / (1 + step)}) for step in range(5))
    Path("runs/plotted/thinker/metrics.jsonl").write_text("\n".join(lines))


def read_in_background(pipe: Path) -> Callable[[], bytes]:
    """Read a pipe to its end; what came."""
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    thread.start()

    def result() -> bytes:
        thread.join(60)
        return found[0]

    return result


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_follows_links_and_fills_pipes_and_devices(command: str, whole: Whole) -> None:
    plotted()

    def to(path: str) -> int:
        given = {"OUT": path, "BUNDLE": str(whole.bundle), "SOUND": str(whole.sound)}
        return run([given.get(word, word) for word in COMMANDS[command]])

    assert to("plain.html") == 0
    Path("target.html").write_text("old")
    Path("link.html").symlink_to("target.html")
    assert to("link.html") == 0
    assert Path("link.html").is_symlink()
    assert Path("target.html").stat().st_size > 3
    os.mkfifo("pipe.html")
    came = read_in_background(Path("pipe.html"))
    assert to("pipe.html") == 0
    assert stat.S_ISFIFO(Path("pipe.html").lstat().st_mode)
    assert came()
    Path("to-pipe.html").symlink_to("pipe.html")
    came = read_in_background(Path("pipe.html"))
    assert to("to-pipe.html") == 0
    assert Path("to-pipe.html").is_symlink()
    assert came()
    try:
        os.mknod("null.html", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except OSError:
        return  # needs root
    assert to("null.html") == 0
    assert stat.S_ISCHR(Path("null.html").lstat().st_mode)
    assert not list(Path().rglob("*.tmp"))


def test_what_is_written_into_a_pipe_is_what_a_file_would_hold() -> None:
    os.mkfifo("pipe")
    came = read_in_background(Path("pipe"))
    write_bytes(Path("pipe"), bytes(range(256)) * 1000)
    assert came() == bytes(range(256)) * 1000


@pytest.mark.parametrize("hops", [1, 2, 5])
@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed_to_the_file_they_name(hops: int, there: bool) -> None:
    Path("elsewhere").mkdir()
    target = Path("elsewhere/target")
    if there:
        target.write_text("old")
        target.chmod(0o640)
    before = target
    for number in range(hops):
        link = Path(f"link{number}")
        link.symlink_to(before)
        before = link
    write_text(before, "new")
    assert target.read_text() == "new"
    assert not target.is_symlink()
    assert all(Path(f"link{number}").is_symlink() for number in range(hops))
    assert sorted(os.listdir("elsewhere")) == ["target"]
    if there:
        assert target.stat().st_mode & 0o777 == 0o640


def test_links_in_a_circle_and_folders_are_refused() -> None:
    Path("one").symlink_to("two")
    Path("two").symlink_to("one")
    Path("folder").mkdir()
    Path("to-folder").symlink_to("folder")
    for name in ("one", "folder", "to-folder"):
        with pytest.raises(RequestError) as caught:
            write_text(Path(name), "new")
        assert caught.value.fix
    assert os.listdir("folder") == []


def test_the_temporary_file_is_new_and_its_name_is_not_to_be_guessed() -> None:
    names = set()
    for _ in range(20):
        with replacing(Path("out")) as temporary:
            assert temporary.stat().st_size == 0
            assert not temporary.is_symlink()
            names.add(temporary.parent.name)
            temporary.write_text("new")
    assert len(names) == 20
    assert os.listdir() == ["out"]


def test_a_link_laid_in_the_way_of_the_temporary_file_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "0" * 2 * size)
    Path("precious").write_text("kept")
    Path(f".out.{'0' * 16}.tmp").symlink_to("precious")
    with pytest.raises(MuomniError):
        write_text(Path("out"), "new")
    assert Path("precious").read_text() == "kept"


def test_what_a_killed_process_left_is_removed_after_an_hour(here: Path) -> None:
    old, young = here / f".a.{'1' * 16}.tmp", here / f".b.{'2' * 16}.tmp"
    own, link = here / ".a.tmp", here / f".c.{'3' * 16}.tmp"
    for path in (old, young):
        path.mkdir()
        (path / ".tmpA1b2C3").touch()  # of a library
        (path / "file").touch()
    own.touch()
    link.symlink_to(own)
    for path in (old / ".tmpA1b2C3", old / "file", old, young / "file", young, own):
        os.utime(path, (1e9, 1e9))
    os.utime(link, (1e9, 1e9), follow_symlinks=False)
    write_text(here / "out", "new")
    assert not old.exists()
    assert young.exists()  # a file in it is still being written
    assert own.exists()


def test_what_a_library_writes_beside_the_temporary_file_is_removed() -> None:
    with replacing(Path("out")) as temporary:
        temporary.with_name(".tmpA1b2C3").touch()
        assert str(temporary.parent) in unfinished  # removed also if the process is cut off
    assert os.listdir() == ["out"]
    assert not unfinished


def test_what_a_killed_training_left_is_removed_when_it_goes_on() -> None:
    code = """
        import os, pathlib
        from muomni_cli.core.files import replacing
        with replacing(pathlib.Path("last.safetensors")) as temporary:
            temporary.with_name(".tmpA1b2C3").touch()
            os.kill(os.getpid(), 9)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False).returncode == -9
    assert len(os.listdir()) == 1
    sweep_files(Path())
    assert os.listdir() == []


def test_a_new_folder_behind_a_link_leaves_the_link() -> None:
    Path("real").mkdir()
    Path("real/old").touch()
    Path("link").symlink_to("real")
    with new_folder(Path("link"), replace=True) as folder:
        (folder / "new").touch()
    assert Path("link").is_symlink()
    assert os.listdir("real") == ["new"]
    os.mkfifo("pipe")
    with pytest.raises(RequestError, match="is there already"), new_folder(Path("pipe"), replace=True):
        pass


def test_long_and_odd_names_are_written() -> None:
    for name in ("é" * 127, "a" * 255, "-o", "a\nb", "*?[x]"):
        write_text(Path(name), "new")
        assert Path(name).read_text() == "new"

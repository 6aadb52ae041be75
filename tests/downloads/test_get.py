"""``muomni data get``: what arrives is whole and verified, an interruption loses nothing, and errors say what to do."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
from collections import namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import MuomniError, RequestError, expand_path
from muomni_cli.app import main
from muomni_cli.data.public_datasets import SetState, archive_of, get_sets, states
from tests.downloads.conftest import Declare, Web

CONTENT = bytes(range(256)) * 2000


class Quiet:
    """Watches and says nothing."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: dict[str, list[int]] = {}

    def begin(self, state: SetState) -> None:
        self.begun.append(state.use)

    def task(self, words: str, total: int) -> Callable[[int], None]:  # noqa: ARG002
        return self.done.setdefault(words, []).append


def fetch(*names: str, **options: Any) -> list[SetState]:
    return get_sets(names, Quiet(), **options)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["data", "get", *words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def wav(samples: bytes) -> bytes:
    """16-bit mono at 16 kHz."""
    form = bytes.fromhex("1000000001000100803e0000007d000002001000")
    chunks = b"WAVEfmt " + form + b"data" + len(samples).to_bytes(4, "little") + samples
    return b"RIFF" + len(chunks).to_bytes(4, "little") + chunks


def upper(archives: Sequence[Path], targets: Sequence[Path], advance: Callable[[int], None]) -> None:
    """A layout."""
    for archive, target in zip(archives, targets, strict=True):
        content = archive.read_bytes()
        advance(len(content))
        target.write_bytes(content.upper())


def refuse(archives: Sequence[Path], targets: Sequence[Path], advance: Callable[[int], None]) -> None:  # noqa: ARG001
    """A layout that fails when half is written."""
    targets[0].write_bytes(b"half")
    raise ValueError("clip 7 has no text")


def test_files_lie_where_they_are_declared(web: Web, data: Path, declare: Declare) -> None:
    declare("few", ("text/a.txt", "text/b.txt"), (web.put("/a", b"first"), web.put("/b", b"second")))
    watcher = Quiet()
    (state,) = get_sets(["few"], watcher)
    assert (watcher.begun, watcher.done) == (["few"], {"a": [5], "b": [6]})
    assert (state.here, state.files) == ("yes", (data / "text/a.txt", data / "text/b.txt"))
    assert [path.read_bytes() for path in state.files] == [b"first", b"second"]
    assert files_in(data) == ["text/a.txt", "text/b.txt"]
    assert expand_path("set:few/b.txt") == data / "text/b.txt"


def test_what_is_here_is_not_downloaded_again(web: Web, data: Path, declare: Declare) -> None:
    declare("few", ("a.txt", "b.txt"), (web.put("/a", b"first"), web.put("/b", b"second")))
    fetch("few")
    (data / "b.txt").unlink()
    fetch("few")
    fetch("few")
    assert [path for path, _ in web.asked] == ["/a", "/b", "/b"]


def test_a_layout_makes_the_final_files(web: Web, data: Path, declare: Declare) -> None:
    declare("loud", ("x/loud.txt",), (web.put("/a.gz", b"quiet"),), layout="tests.downloads.test_get:upper", laid_out=5)
    fetch("loud", keep=True)
    kept = f"downloads/{hashlib.sha256(b'quiet').hexdigest()[:12]}-a.gz"
    assert files_in(data) == [kept, "x/loud.txt"]
    assert (data / "x/loud.txt").read_bytes() == b"QUIET"
    (data / "x/loud.txt").unlink()
    fetch("loud")
    assert files_in(data) == ["x/loud.txt"]
    assert len(web.asked) == 1


def test_two_sets_of_one_archive_share_it(web: Web, data: Path, declare: Declare) -> None:
    file = web.put("/a", b"quiet")
    for name in ("one", "two"):
        declare(name, (f"{name}.txt",), (file,), layout="tests.downloads.test_get:upper")
    fetch("one", "two")
    assert files_in(data) == ["one.txt", "two.txt"]
    assert len(web.asked) == 1


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_damaged_archive_is_named_and_leaves_nothing(
    web: Web, data: Path, declare: Declare, tmp_path: Path, kind: str
) -> None:
    path, draw = tmp_path / f"a.tar.{kind}", random.Random(kind)
    with tarfile.open(path, f"w:{kind}") as archive:
        for number in range(8):
            info = tarfile.TarInfo(f"yes/{number:02x}_nohash_0.wav")
            content = wav(draw.randbytes(9000))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    whole = path.read_bytes()
    for number in range(12):
        content = bytearray(whole)
        if number % 3 == 0:
            del content[draw.randrange(1, len(content)) :]
        else:
            begin = draw.randrange(len(content) // 2)
            content[begin : begin + 400] = draw.randbytes(400)
        file = web.put(f"/{number}.tar", bytes(content))
        layout = "muomni_datasets.archive_layouts:speech_commands"
        declare(f"odd{number}", (f"odd{number}.tar",), (file,), layout=layout)
        with pytest.raises(MuomniError, match=rf"^odd{number} cannot be converted: .") as caught:
            fetch(f"odd{number}")
        assert f"{number}.tar" in caught.value.fix
    assert {name.partition("/")[0] for name in files_in(data)} == {"downloads"}


def test_a_layout_that_fails_leaves_nothing_half_written(web: Web, data: Path, declare: Declare) -> None:
    declare("odd", ("odd.txt",), (web.put("/a", b"quiet"),), layout="tests.downloads.test_get:refuse")
    with pytest.raises(MuomniError, match="odd cannot be converted: clip 7 has no text"):
        fetch("odd")
    assert [name.partition("/")[0] for name in files_in(data)] == ["downloads"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_resumed(web: Web, data: Path, declare: Declare, *, ranges: bool) -> None:
    declare("big", ("big.bin",), (web.put("/big", CONTENT),))
    web.cut["/big"], web.ranges = 300_000, ranges
    with pytest.raises(MuomniError, match=r"cannot download http://127.*/big: the connection was cut") as caught:
        fetch("big")
    assert "continues where it stopped" in caught.value.fix
    (part,) = files_in(data)
    held = (data / part).stat().st_size
    assert 0 < held <= 300_000
    assert (data / part).read_bytes() == CONTENT[:held]
    assert next(state.here for state in states() if state.use == "big") == "partial"
    fetch("big")
    assert web.asked == [("/big", None), ("/big", f"bytes={held}-")]
    assert (data / "big.bin").read_bytes() == CONTENT


def test_a_whole_part_needs_no_network(web: Web, data: Path, declare: Declare) -> None:
    download = declare("big", ("big.bin",), (web.put("/big", CONTENT),))
    archive = archive_of(download.files[0])
    archive.parent.mkdir(parents=True)
    archive.with_name(archive.name + ".part").write_bytes(CONTENT)
    fetch("big")
    assert (web.asked, (data / "big.bin").read_bytes()) == ([], CONTENT)


def test_a_wrong_checksum_is_refused_and_removed(web: Web, data: Path, declare: Declare) -> None:
    declare("bad", ("bad.bin",), (web.put("/bad", b"content", right=False),))
    with pytest.raises(
        MuomniError, match=r"wrong checksum: http://127.*/bad is not the file that was declared"
    ) as caught:
        fetch("bad")
    assert "was removed" in caught.value.fix
    assert files_in(data) == []


def test_another_size_is_refused_before_it_is_downloaded(web: Web, data: Path, declare: Declare) -> None:
    file = web.put("/a", CONTENT)
    web.files["/a"] = CONTENT * 2
    declare("grown", ("a",), (file,))
    with pytest.raises(MuomniError, match="it has 1,024,000 bytes, but 512,000 were declared"):
        fetch("grown")
    assert files_in(data) == []


def test_what_is_not_there_is_named_with_its_address(web: Web, data: Path, declare: Declare) -> None:
    file = web.put("/gone", b"x")
    web.files.clear()
    declare("gone", ("gone",), (file,))
    with pytest.raises(MuomniError, match=f"cannot download {file.url}: the server answered 404 Not Found"):
        fetch("gone")
    assert not (data / "gone").exists()


def test_without_a_network(web: Web, data: Path, declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    file = web.put("/a", b"x")
    declare("far", ("far",), (file,))
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pytest.raises(MuomniError, match=f"cannot download {file.url}: the proxy cannot be reached") as caught:
        fetch("far")
    assert "HTTPS_PROXY" in caught.value.fix


def test_an_unverified_set_is_asked_for(web: Web, data: Path, declare: Declare) -> None:
    declare("loose", ("loose.txt",), (web.put("/loose", b"content", checked=False),))
    with pytest.raises(RequestError, match="no checksum is published for loose") as caught:
        fetch("loose")
    assert "--unverified" in caught.value.fix
    assert (web.asked, files_in(data)) == ([], [])
    fetch("loose", unverified=True)
    assert (data / "loose.txt").read_bytes() == b"content"


def test_space_is_checked_before(web: Web, data: Path, declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    declare("wide", ("wide",), (web.put("/wide", b"x" * 500),), layout="tests.downloads.test_get:upper", laid_out=2000)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9000, 7000, 2000))
    with pytest.raises(MuomniError, match=r"not enough space in .*: 2 kB needed for wide, 2 kB free") as caught:
        fetch("wide")
    assert "MUOMNI_DATA" in caught.value.fix
    assert (web.asked, data.exists()) == ([], False)


def test_every_name_is_known_before_anything_is_downloaded(web: Web, data: Path, declare: Declare) -> None:
    declare("near", ("near",), (web.put("/near", b"x"),))
    with pytest.raises(RequestError, match="there is no public dataset 'neer'") as caught:
        fetch("near", "neer")
    assert caught.value.fix.startswith("did you mean 'near'?")
    assert (web.asked, data.exists()) == ([], False)


def test_the_command_shows_the_license_first(
    web: Web, data: Path, declare: Declare, capsys: pytest.CaptureFixture[str]
) -> None:
    declare("few", ("a.txt",), (web.put("/a", b"first"),))
    assert run("few") == 0
    out, err = capsys.readouterr()
    assert out == f"{data / 'a.txt'}\n"
    assert err.splitlines() == [
        "few: a small one",
        "  license: CC0 (https://example.org/)",
        f"  5 bytes to download, into {data}",
        "  a",
        "few is here",
    ]
    assert run("few", "--json") == 0
    out, err = capsys.readouterr()
    assert err == "few is here\n"
    (told,) = json.loads(out)
    assert (told["name"], told["here"], told["files"]) == ("few", "yes", [str(data / "a.txt")])


def test_the_list(web: Web, data: Path, declare: Declare, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    declare("loose", ("loose.txt",), (web.put("/loose", b"content", checked=False),))
    assert run("--list") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "SIZE", "HERE", "LICENSE", "WHAT"]
    told = {row.split()[0]: row for row in rows}
    assert {"speech-commands", "ljspeech", "fashion-mnist", "mnist", "fsdd", "librispeech-dev-clean"} <= told.keys()
    assert told["speech-commands"].split()[1:4] == ["2.4", "GB", "no"]
    assert told["stories"].split()[3] == "shipped"
    assert told["loose"].endswith("(unverified: no published checksum)")
    assert run("--list", "--json") == 0
    assert {entry["name"]: entry["verified"] for entry in json.loads(capsys.readouterr().out)}["loose"] is False
    assert run("--list", "few") == 2
    assert run() == 2
    assert "muomni data get --list" in capsys.readouterr().err


PLUGIN = """
from muomni_cli.api import Download, RemoteFile, hookimpl

@hookimpl
def register_downloads():
    file = RemoteFile(url={url!r}, size={size}, sha256={sha256!r})
    return [Download(name="shells", doc="shells", license="CC0", license_url="-", paths=("shells.bin",), files=(file,))]
"""


def test_a_plugin_of_one_file_and_an_interruption(web: Web, data: Path, tmp_path: Path) -> None:
    """Ctrl-C while the server is silent: what arrived is kept, and the command says so."""
    file = web.put("/shells", CONTENT)
    plugin = tmp_path / "beach.py"
    plugin.write_text(PLUGIN.format(url=file.url, size=file.size, sha256=file.sha256))
    part = Path(f"{archive_of(file)}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    interrupt = (
        "import os, signal, sys, muomni_cli.data.download as download\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell has it ignored in the background
        "def cut(self, url, part, held):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "download.Resuming._receive = cut\n"
        "from muomni_cli.app import main\n"
        "main(sys.argv[1:])"
    )
    words = ["data", "get", "shells", "--plugin", str(plugin)]
    stopped = subprocess.run([sys.executable, "-c", interrupt, *words], capture_output=True, text=True, check=False)
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr.splitlines()[-2:] == [
        "stopped: 1 kB of 512 kB of shells are kept",
        "continue with: muomni data get shells",
    ]
    done = subprocess.run([sys.executable, "-m", "muomni_cli", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{data / 'shells.bin'}\n"), done.stderr
    assert (data / "shells.bin").read_bytes() == CONTENT
    assert web.asked == [("/shells", "bytes=1000-")]


def test_listings_and_recipes_import_no_downloader(data: Path) -> None:  # noqa: ARG001
    code = (
        "import sys\nfrom muomni_cli.app import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(sorted({'pooch', 'requests', 'platformdirs', 'torch'} & sys.modules.keys()), file=sys.stderr)"
    )
    for words in (
        ["plugins", "list"],
        ["recipes", "show", "hearing", "--resolved"],
        ["plugins", "info", "muomni_text"],
    ):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        assert done.stderr == "[]\n"

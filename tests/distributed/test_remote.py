"""Shards from a web server, trained on by changing numbers of processes and resumed twice: the losses of one run."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from tests.distributed.test_stages import COLORS, muomni, rows_of

pytest.importorskip("aiohttp", reason="needs aiohttp")

RECIPE = """
name = "remote"

[tokenizer]
use = "bytes"

[thinker]
use = "transformer"
d_model = 16
n_layers = 2
n_heads = 2
d_ff = 32
ctx_len = 32

[encoders.image]
use = "vit"
size = 32
patch = 8
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
tokens = 2
learn = "contrast"

[[data.text]]
use = "parquet"
path = "ADDRESS/text/*.parquet"

[[data.image]]
use = "tar"
path = "ADDRESS/pictures/"

[data]
val_fraction = 0.3

[train]
steps = 9
schedule = "constant"
batch_size = 4
device = "cpu"
threads = 1
log_every = 1
val_every = 3
save_every = 2
optimizer = "adamw"
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of shards, and a recipe that reads them from a web server."""
    shards = tmp_path / "shards"
    for name in ("text", "pictures"):
        (shards / name).mkdir(parents=True)
    for shard in range(3):
        lines = [f"Line {n} of shard {shard} goes on and on." for n in range(20)]
        parquet.write_table(pyarrow.table({"text": lines}), shards / "text" / f"{shard}.parquet", row_group_size=6)
        with tarfile.open(shards / "pictures" / f"{shard}.tar", "w") as archive:
            for number, (color, parts) in enumerate([*COLORS.items()] * 3):
                shade = 4 * shard + number
                picture = io.BytesIO()
                Image.new("RGB", (32, 32), tuple(part + shade for part in parts)).save(picture, "PNG")
                for name, content in ((f"{shade}.png", picture.getvalue()), (f"{shade}.cls", color.encode())):
                    member = tarfile.TarInfo(f"{shard}/{name}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUOMNI_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(shards))) as server:
        Path("remote.toml").write_text(RECIPE.replace("ADDRESS", f"http://127.0.0.1:{server.server_address[1]}"))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path
        server.shutdown()
        thread.join()


def fetched(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in (folder / "cache" / "remote").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_streamed_shards_resume_exactly_on_any_number_of_processes(served: Path) -> None:
    parts = ("3", ()), ("6", ("--devices", "2", "--resume")), ("9", ("--resume",))
    for stage in ("thinker", "image"):
        done = muomni("train", stage, "remote.toml", "--run", "whole")
        assert done.returncode == 0, done.stderr[-2000:]
        known = fetched(served)
        for steps, options in parts:
            done = muomni("train", stage, "remote.toml", "--run", "parts", f"steps={steps}", *options)
            assert done.returncode == 0, done.stderr[-2000:]
        assert fetched(served) == known, "fetched once"
        whole, found = rows_of("whole", stage), rows_of("parts", stage)
        assert [row["step"] for row in found] == [row["step"] for row in whole]
        for ours, theirs in zip(whole, found, strict=True):
            for name in (name for name in ours if name == "loss" or name.startswith("val_")):
                assert theirs[name] == pytest.approx(ours[name], rel=1e-4, abs=1e-6), (stage, ours["step"], name)
    assert len(fetched(served)) == 6

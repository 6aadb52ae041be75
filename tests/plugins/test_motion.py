"""A sense that the host has never heard of, from a package of its own: trained through the Thinker, asked, exported."""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from muomni_cli.api import RequestError

if TYPE_CHECKING:
    from tests.installing import Site

SMALLER = (
    *("thinker.d_model=64", "thinker.n_layers=2", "thinker.n_heads=2", "thinker.d_ff=128", "data.text.0.count=400"),
    *("train.thinker.steps=20", "train.motion.steps=250", "train.omni.steps=300", "train.omni.val_every=300"),
    *("data.motion.0.people=90", "data.omni.0.people=90", "data.omni.0.val_people=20", "data.omni.0.each=2"),
    *("data.omni.1.count=100", "data.omni.1.weight=0.05", "train.threads=1"),
)
"""Than the recipe of the package."""

HEADER = b"t,ax,ay,az,gx,gy,gz,mx,my,mz\n"
ROW = "0,0,9.8,0,0,0,20,0,-45"


@pytest.fixture(scope="module")
def site(pip: Callable[..., Site]) -> Site:
    """The package, installed."""
    return pip("motion")


@pytest.fixture(scope="module")  # for slow tests: what the quick ones would see of it, docs/plugins.md has them see
def here(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package's recipe, made smaller, has been trained, and some recordings written."""
    folder = tmp_path_factory.mktemp("motion")
    cache = {"MUOMNI_CACHE": str(folder / "cache")}
    site.muomni("train", "all", "motion", "--run", "small", *SMALLER, cwd=folder, **cache)
    rows = site.muomni("data", "export", "motion", "--table", "motion", "-o", "rec", "--json", cwd=folder, **cache)
    assert rows.stdout
    return folder


def row(folder: Path, *words: str) -> dict[str, Any]:
    """The first recording of which the list says this."""
    listed = [json.loads(line) for line in (folder / "rec" / "examples.jsonl").read_text().splitlines()]
    return next(one for one in listed if set(words) <= set(one.values()))


def test_it_is_listed_like_any_other(site: Site, tmp_path: Path) -> None:
    plugins = {one["name"]: one for one in json.loads(site.muomni("plugins", "list", "--json", cwd=tmp_path).stdout)}
    assert plugins["motion"]["origin"] == "muomni-motion"
    assert plugins["motion"]["parts"] == {"encoder": 1, "dataset": 2, "recipe": 1}
    assert "motion" in {
        one["name"] for one in json.loads(site.muomni("recipes", "list", "--json", cwd=tmp_path).stdout)
    }
    part = json.loads(site.muomni("plugins", "info", "motion:motion", "--json", cwd=tmp_path).stdout)
    assert "d_model" in str(part)


@pytest.mark.slow
def test_it_keeps_the_laws(site: Site, tmp_path: Path) -> None:
    site.muomni("plugins", "check", "motion", cwd=tmp_path)


@pytest.mark.slow
def test_it_learns_by_itself_and_through_the_thinker(site: Site, here: Path) -> None:
    """Of people who were not among those of the training."""
    done = site.muomni("eval", "small", "--json", cwd=here, MUOMNI_CACHE=str(here / "cache"))
    results = {(result["stage"], result["task"]): result for result in json.loads(done.stdout)}
    alone, asked, exchanged = (
        results["motion", "0-recordings"],
        results["omni", "motion"],
        results["omni", "motion/motion"],
    )
    for result, least in ((alone, 0.95), (asked, 0.85), (exchanged, 0.85)):
        assert result["n"] >= 200
        assert result["value"] >= least, result


@pytest.mark.slow
def test_a_file_is_asked_about_and_traced(site: Site, here: Path) -> None:
    recording = row(here, "falling")
    asked = ("What is the person doing?", "--attach", f"motion=rec/{recording['motion']}")
    told = json.loads(site.muomni("chat", "-m", "small", *asked, "--json", cwd=here).stdout)
    assert told["text"].strip() == "falling"
    shown = json.loads(site.muomni("trace", "-m", "small", *asked, "--json", cwd=here).stdout)
    assert any("motion" in str(step) for step in shown)
    site.muomni("export", "--onnx", "-m", "small", "-o", "bundle", cwd=here)
    bundled = json.loads(site.muomni("chat", "-m", "bundle", *asked, "--json", cwd=here).stdout)
    assert bundled["text"] == told["text"]


@pytest.mark.slow
def test_what_the_model_does_not_sense_is_named(site: Site, here: Path) -> None:
    done = site.muomni("chat", "-m", "small", "What?", "--attach", "moton=x.csv", cwd=here, code=2)
    assert "did you mean 'motion'? it takes motion" in done.stderr


@pytest.fixture(scope="module")
def read(site: Site) -> Iterator[Callable[[bytes], Any]]:
    """Reads bytes as the encoder does."""
    sys.path.insert(0, str(site.folder))
    reading = importlib.import_module("muomni_motion.reading")
    config = importlib.import_module("muomni_motion.config").MotionConfig()
    yield lambda content: reading.read(config, io.BytesIO(content), "walk.csv")
    sys.path.remove(str(site.folder))
    for name in [name for name in sys.modules if name.startswith("muomni_motion")]:
        del sys.modules[name]


def lines(rate: float, seconds: float) -> bytes:
    """A recording at rest."""
    return HEADER + "".join(f"{n / rate:.5f},{ROW}\n" for n in range(round(seconds * rate))).encode()


def test_another_rate_is_resampled(read: Callable[[bytes], Any]) -> None:
    for rate in (20.0, 50.0, 133.0):
        samples = read(lines(rate, 2.0))
        assert samples.dtype == np.float32
        assert abs(len(samples) - 100) <= 3
        assert np.allclose(samples, samples[0])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe\x00", "is no text"),
        (b"a,b\n1,2\n", "does not begin with the names of the columns"),
        (HEADER, "holds 0 samples"),
        (HEADER + f"0,{ROW}\n1,2\n".encode(), "line 3: 2 values, not 10"),
        (HEADER + f"0,{ROW}\n1,{ROW.replace('9.8', 'much')}\n".encode(), "line 3: could not convert"),
        (HEADER + f"0,{ROW}\n1,{ROW.replace('9.8', 'nan')}\n".encode(), "line 3: a value is not finite"),
        (HEADER + 20 * f"0,{ROW}\n".encode(), "line 3: the time does not rise"),
        (lines(1.0, 100.0), "is 99 s long"),
        (HEADER + b"\n" * (8 << 20), "is larger than"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(read: Callable[[bytes], Any], content: bytes, told: str) -> None:
    with pytest.raises(RequestError, match=f"walk.csv.*{told}") as error:
        read(content)
    assert error.value.fix

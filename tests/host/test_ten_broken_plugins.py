"""Ten plugins, each broken in its own way, all installed at once: every command works, with one clear line for each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., Path]
Muomni = Callable[..., "subprocess.CompletedProcess[str]"]

HEAD = """
    from pydantic import Field
    from muomni_cli.api import Capability, DatasetPart, PartConfig, TokenizerPart, hookimpl

    class Config(PartConfig):
        size: int = Field(default=3, description="how many")
"""
STONES = """
    @hookimpl
    def register_datasets():
        return [DatasetPart(name="{name}", doc="small stones", config=Config, build="{build}:build")]
"""


def stones(name: str, build: str = "stranger_stones") -> str:
    """A plugin that declares a dataset of this name."""
    return HEAD + STONES.format(name=name, build=build)


LOSES = """
    class Lower:
        specials = dict(pad=0, bos=1, eos=2, system=3, user=4, assistant=5)
        vocab_size = 300

        def encode(self, text): return [byte + 6 for byte in text.lower().encode()]
        def encode_batch(self, texts): return [self.encode(text) for text in texts]
        def token_bytes(self, token): return bytes([token - 6]) if 6 <= token < 262 else b""
        def decode(self, ids): return b"".join(map(self.token_bytes, ids)).decode(errors="replace")
        def save(self, folder): (folder / "lower").write_text("")

    def build(config, folder): return Lower()
    def learn(config, texts): return Lower()

    @hookimpl
    def register_tokenizers():
        part = dict(config=Config, build=f"{__name__}:build", objective=f"{__name__}:learn")
        return [TokenizerPart(name="lower", doc="small letters", capabilities={Capability.LOSSLESS}, **part)]
"""

LEFT_OUT = {
    "imports": ("raise RuntimeError('no license for this machine')", "RuntimeError: no license for this machine"),
    "signature": (f"{HEAD}\n    @hookimpl\n    def register_datasets(number): return []", "number"),
    "dependency": ("import a_package_that_nobody_has", "No module named 'a_package_that_nobody_has'"),
    "raises": (f"{HEAD}\n    @hookimpl\n    def register_datasets(): raise OSError('no luck')", "OSError: no luck"),
    "types": (f"{HEAD}\n    @hookimpl\n    def register_datasets(): return ['stones']", "str, not DatasetPart"),
    "newer": ("MUOMNI_API = 99", "needs plugin API 99, this muomni has 1: upgrade muomni"),
}
"""Plugins that cannot be used, and the reason that is told."""

SLOW = {
    "torchy": (f"\n    import torch\n{stones('torchy')}", "imports torch as it is loaded"),
    "hangs": (f"\n    import time; time.sleep(1)\n{stones('hangs')}", r"took 1\.\d s to be loaded"),
}
"""Plugins that work, and what is told of them."""

SILENT = {"clashes": stones("text"), "loses": HEAD + LOSES}
"""Plugins that stand in nobody's way until they are asked for: two datasets of one name, an untrue capability."""

RECIPE = """
name = "beach"
[tokenizer]
use = "bpe"
vocab_size = 266
[[data.text]]
use = "muomni_datasets:text"
path = "stones.txt"
"""


@pytest.fixture
def ten(install: Install) -> None:
    """All ten are installed."""
    for name, (source, _) in {**LEFT_OUT, **SLOW}.items():
        install(name, source)
    for name, source in SILENT.items():
        install(name, source)


@pytest.fixture
def beach(tmp_path: Path) -> Path:
    """A folder with a recipe that needs no plugin, and its text."""
    (tmp_path / "stones.txt").write_text("\n\n".join(f"A stone, a stone and stone {n}." for n in range(50)))
    (tmp_path / "beach.toml").write_text(RECIPE)
    return tmp_path


def lines_of(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("warning: plugin ")]


@pytest.mark.usefixtures("ten")
def test_commands_work_with_one_line_for_each(beach: Path, muomni: Muomni) -> None:
    done = muomni("train", "tokenizer", str(beach / "beach.toml"))
    assert done.returncode == 0, done.stderr
    assert (beach / "runs/beach/tokenizer").is_dir()
    told = {**LEFT_OUT, **SLOW}
    lines = lines_of(done.stderr)
    assert len(lines) == len(told), lines
    for name, (_, reason) in told.items():
        word = "is left out: .*" if name in LEFT_OUT else ""
        pattern = rf"warning: plugin {name} \({name}-dist\) {word}.*{reason if name in SLOW else re.escape(reason)}"
        assert sum(bool(re.match(pattern, line)) for line in lines) == 1, (name, lines)


@pytest.mark.usefixtures("ten")
def test_every_listing_works(beach: Path, strangers: Path) -> None:
    """All in one process, as the ten cost seconds to load."""
    listings = (["plugins", "list"], ["recipes", "list"], ["runs", "list"], ["plugins", "info", "hangs"], ["--help"])
    code = (
        "import sys; from muomni_cli.app import main\ncodes = []\n"
        f"for words in {listings!r}:\n"
        "    try: main(words)\n    except SystemExit as end: codes.append(end.code)\n"
        "print(codes)"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {"PYTHONPATH": f"{root}:{strangers}", "PATH": "/usr/bin:/bin", "HOME": str(beach)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=beach, check=False
    )
    assert done.stdout.splitlines()[-1] == str([0] * len(listings)), done.stderr


@pytest.mark.parametrize("name", ["imports", "dependency", "newer"])
def test_a_recipe_that_needs_a_broken_part_repeats_the_reason(
    beach: Path, muomni: Muomni, install: Install, name: str
) -> None:
    install(name, LEFT_OUT[name][0])
    recipe = beach / "other.toml"
    recipe.write_text(RECIPE.replace("muomni_datasets:text", f"{name}:stones"))
    done = muomni("data", "check", str(recipe))
    assert done.returncode == 2
    assert re.search(rf"; plugin {name} is broken \(.*{re.escape(LEFT_OUT[name][1])}\)", done.stderr)


def test_a_clash_is_told_to_who_asks_for_the_name(beach: Path, muomni: Muomni, install: Install) -> None:
    install("clashes", SILENT["clashes"])
    recipe = beach / "other.toml"
    recipe.write_text(RECIPE.replace("muomni_datasets:text", "text"))
    done = muomni("data", "check", str(recipe))
    assert done.returncode == 2
    assert "dataset 'text' is offered by muomni_datasets and clashes" in done.stderr
    assert "say which: muomni_datasets:text or clashes:text" in done.stderr


def test_an_untrue_capability_is_found_by_check(muomni: Muomni, install: Install) -> None:
    install("loses", SILENT["loses"])
    done = muomni("plugins", "check", "loses", "--json")
    assert done.returncode == 1
    (report,) = json.loads(done.stdout)
    assert [check["check"] for check in report["checks"] if check["state"] == "failed"] == ["lossless"]
    assert sum(line.startswith("tokenizer lower fails lossless") for line in done.stderr.splitlines()) == 1


def test_a_dependency_that_is_missing_only_when_it_is_built(beach: Path, muomni: Muomni, install: Install) -> None:
    install("later", stones("later", build="stranger_later_built"))
    (beach / "strangers" / "stranger_later_built.py").write_text("import a_package_that_nobody_has")
    recipe = beach / "other.toml"
    recipe.write_text(RECIPE.replace("muomni_datasets:text", "later").replace("path =", "# path ="))
    done = muomni("data", "check", str(recipe))
    assert done.returncode == 1
    assert "error: dataset later needs a_package_that_nobody_has, which is not installed" in done.stderr
    assert "fix: install it: pip install a_package_that_nobody_has" in done.stderr

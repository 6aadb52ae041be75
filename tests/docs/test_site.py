"""The documentation builds as a site without a warning, needs nothing from the network, and names paths that exist."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
REMOTE = re.compile(r"""<(?:script|img|link|iframe|source)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//""")
FOLDERS = ("muomni_cli", "plugins", "exports", "recipes", "docs", "tests")
PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./<>*-]*)`")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site; skips where the extra ``docs`` is not installed."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)} (the extra docs: pip install -e '.[docs]')")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    expected = {site / ("" if page.name == "index" else page) / "index.html" for page in pages}
    assert expected <= set(site.rglob("*.html"))
    assert all((site / name / "index.html").is_file() for name in ("tour", "contributing", "changes"))


def test_the_public_interface_is_documented(site: Path) -> None:
    page = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in ("muomni_cli.api.EncoderPart", "muomni_cli.api.RequestError", "muomni_cli.testing.CheckCase"):
        assert f'id="{name}"' in page
    assert not re.findall(r":\w+:<code>|<p>::|::</p>", page), "reStructuredText in a docstring was not rewritten"


def test_every_fence_is_a_block_of_code(site: Path) -> None:
    assert [path for path in site.rglob("*.html") if "```" in path.read_text(encoding="utf-8")] == []


def test_nothing_is_loaded_from_the_network(site: Path) -> None:
    remote = {
        f"{path.relative_to(site)}: {found}"
        for path in site.rglob("*.html")
        for found in REMOTE.findall(path.read_text(encoding="utf-8"))
    }
    assert remote == set()
    assert not any('class="mermaid"' in path.read_text(encoding="utf-8") for path in site.rglob("*.html"))


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_paths_on_a_page_exist(page: str) -> None:
    named = PATH.findall((ROOT / page).read_text(encoding="utf-8"))
    assert len(named) > 20
    missing = [name for name in named if not (any(ROOT.glob(name)) if "*" in name else (ROOT / name).exists())]
    assert missing == []

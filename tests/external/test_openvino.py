"""A bundle's graphs in OpenVINO, which reads them without onnxruntime: parity within 1e-5 in full precision."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.tiny_model import Whole

pytestmark = pytest.mark.external

ALLOWED = 1e-5
SCRIPT = Path(__file__).with_name("openvino_graphs.py")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with OpenVINO."""
    folder = tmp_path_factory.mktemp("openvino")
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    words = [found, "-m", "pip", "install", "--quiet", "openvino", "numpy"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"OpenVINO cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="looks for bin/python")
def test_every_graph_gives_what_pytorch_gave(python: Path, whole: Whole) -> None:
    done = subprocess.run([python, SCRIPT, whole.bundle], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    apart = json.loads(done.stdout.splitlines()[-1])
    manifest = json.loads((whole.bundle / "muomni.json").read_text(encoding="utf-8"))
    graphs = {f"{part}/{graph}" for part, entry in manifest["parts"].items() for graph in entry["graphs"]}
    assert apart.keys() == graphs
    assert {name: error for name, error in apart.items() if error is None or not error <= ALLOWED} == {}

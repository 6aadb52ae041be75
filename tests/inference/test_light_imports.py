"""Using a bundle loads what that takes, and nothing of what training or exporting takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.tiny_model import Whole

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "torchaudio", "onnx", "onnxscript", "matplotlib", "psutil", "transformers"}

SCRIPT = """
import sys
from muomni_cli.app import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "command",
    [
        "chat hello --image {picture} --audio {sound} --speak out.wav",
        "chat hello",
        "tts hello -o out.wav --stats",
        "listen {sound} --beam 4 --json",
        "export check {bundle}",
    ],
)
def test_a_command_on_a_bundle_loads_nothing_heavy(command: str, whole: Whole, tmp_path: Path) -> None:
    names = {"picture": whole.picture, "sound": whole.sound, "bundle": whole.bundle}
    words = [word.format(**names) for word in command.split()]
    roots = os.pathsep.join(map(str, (ROOT, ROOT / "plugins", ROOT / "exports")))
    variables = os.environ | {"PYTHONPATH": roots, "MUOMNI_MODEL": str(whole.bundle)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, cwd=tmp_path, env=variables, check=False
    )
    loaded = set(done.stderr.splitlines()[-1].removeprefix("loaded: ").split())
    assert done.returncode == 0, done.stderr
    assert {"numpy", "onnxruntime"} <= loaded
    assert loaded & HEAVY == set()

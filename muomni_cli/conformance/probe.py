"""What modules draw in when they are imported, seen in a process of its own."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

HEAVY = ("torch", "numpy", "onnxruntime", "tokenizers")
"""What a listing must do without."""

SECONDS = 60
"""That it may take at most."""

PROGRAM = """
import importlib, json, sys, time
path, module, heavy, light = json.loads(sys.argv[1])
sys.path[:] = path
import muomni_cli.api
begin = time.perf_counter()
importlib.import_module(module)
seconds = time.perf_counter() - begin
drawn = [name for name in heavy if name in sys.modules]
guilty = []
for name in light:
    before = "torch" in sys.modules
    importlib.import_module(name)
    if "torch" in sys.modules and not before:
        guilty.append(name)
print("\\n" + json.dumps([seconds, drawn, guilty]))
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import showed.

    Args:
        seconds: that the plugin's module took, beyond what every plugin imports.
        heavy: which of :data:`HEAVY` came in with it.
        guilty: modules that must know no torch and drew it in.
        failure: why it could not be imported at all.
    """

    seconds: float = 0.0
    heavy: Sequence[str] = ()
    guilty: Sequence[str] = field(default=())
    failure: str = ""


@functools.cache
def imported(module: str, light: tuple[str, ...] = ()) -> Imported:
    """Import a plugin's ``module``, then those that must know no torch, in a clean process that sees what this sees."""
    given = json.dumps([[entry for entry in sys.path if entry], module, HEAVY, light])
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, given], capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return Imported(failure=f"it took more than {SECONDS} s")
    if done.returncode:
        return Imported(failure=(done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    return Imported(*json.loads(done.stdout.splitlines()[-1]))

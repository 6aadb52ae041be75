# ruff: noqa: E402
"""``muomni trace`` of a model that runs without PyTorch: what is run for an answer, and that it is the run's answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

from runs_of_tiny_parts import CODEC, make_run, make_voice

from muomni_cli.api import Step
from muomni_cli.contract.engine import GraphCall
from muomni_cli.trace.observer import GraphObserver
from muomni_onnx.export import export
from muomni_onnx.sources import find_trained, model_of

Steps = Callable[..., list[dict[str, Any]]]
Command = Callable[..., tuple[int, str, str]]


def packed(run: str) -> str:
    """The folder that a run in the working directory is exported to."""
    export(model_of(find_trained(run)), Path("packed"), notify=lambda _: None)
    return "packed"


def graphs(found: list[dict[str, Any]], section: str) -> list[str]:
    """What was run in a section, in order: ``PART/GRAPH``, as often as it was."""
    own = [step for step in found if step["section"].partition(":")[0] == section and "graph" in step]
    return [f"{step['part']}/{step['graph']}" for step in own for _ in range(step["calls"])]


def test_an_answer_is_the_runs_and_every_graph_of_it_is_there(here: Path, steps: Steps) -> None:
    make_run(here / "runs" / "tiny", modalities=("image", "audio"), template="roles")
    words = ["hi", "--image", "x.png", "--audio", "y.wav", "--tokens", "4", "--threads", "1"]
    theirs, ours = steps(*words, "-m", "tiny"), steps(*words, "-m", packed("tiny"))
    assert ours[-1]["ids"] == theirs[-1]["ids"]
    assert ours[-1]["text"] == theirs[-1]["text"]
    likely = [next(s["likeliest"] for s in found if "likeliest" in s) for found in (ours, theirs)]
    assert [one["token"] for one in likely[0]] == [one["token"] for one in likely[1]]
    fused = [next(s["counts"] for s in found if s["step"] == "fusion") for found in (ours, theirs)]
    assert fused[0] == fused[1]
    assert graphs(ours, "image") == ["image/encoder", "image/projector"]
    assert graphs(ours, "audio") == ["audio/encoder", "audio/projector"]
    assert graphs(ours, "thinker") == ["thinker/embed", "thinker/thinker"]
    assert graphs(ours, "generation") == 3 * ["thinker/embed", "thinker/thinker"]
    last = [step for step in ours if step.get("graph") == "thinker"][-1]
    held = next(s["out"][0][1] for s in ours if s["step"] == "fusion") + 3
    assert last["in"] == [[1, 1, 16], *2 * [[1, 2, held - 1, 8]]]
    assert last["out"] == [[1, 1, 262], *2 * [[1, 2, held, 8]]]
    assert last["counts"] == "inputs_embeds + 2 x past_key_values -> logits + 2 x present"
    assert set(last["inputs"]) == {"inputs_embeds", "past_key_values.0.key", "past_key_values.0.value"}
    for step in ours:
        inner = [one for one in ours if one["depth"] == 1 and one["section"] == step["section"]]
        assert step["depth"] == 0 or step in inner
        assert step["ms"] >= 0


@pytest.mark.slow
def test_a_spoken_text_is_the_runs(here: Path, steps: Steps, muomni: Command) -> None:
    make_voice(here, CODEC)
    words = ["one two three", "--speech", "--threads", "1"]
    theirs, ours = steps(*words, "-m", "small"), steps(*words, "-m", packed("small"))
    frames = [next(s["frames"] for s in found if "frames" in s) for found in (ours, theirs)]
    assert frames[0] == frames[1] > 2
    ran = graphs(ours, "talker")
    assert [ran.count(f"talker/{name}") for name in ("step", "head0", "head1")] == 3 * frames[:1]
    assert "talker/reader" in ran
    assert len(ours) < 30  # what is run again and again is one line
    wave = next(s for s in ours if s["step"] == "vocoder")
    assert wave["out"] == [[640 * frames[0]]]
    assert muomni("hi", "--image", "x.png", "-m", "packed")[0] == 2
    for style in ("--markdown", "--threads=1"):
        code, out, _ = muomni(*words, "-m", "packed", style)
        assert code == 0
        assert "talker: step" in out


def test_a_model_that_does_not_speak_says_so_and_no_pytorch_is_loaded(here: Path, muomni: Command) -> None:
    make_run(here / "runs" / "tiny")
    folder = packed("tiny")
    code, out, err = muomni("hi", "-m", folder, "--speech")
    assert (code, out) == (2, "")
    assert "has no talker" in err
    script = (
        "import sys\nfrom muomni_cli import app\n"
        f"try: app.main(['trace', 'hi', '-m', {folder!r}])\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


def test_what_is_run_again_is_added_up() -> None:
    engine: Any = None  # recording does not use it
    observer, step = GraphObserver(engine), Step(at="", title="step", what="what it does")

    def work() -> None:
        for number in range(4):
            observer.record(
                GraphCall("p", "g", {"x.0": np.zeros(2), "x.1": np.zeros(2)}, {"y": np.full(3, number)}, 0.5)
            )

    observer.think(step, work)
    observer.inside("p", step, work)
    steps = observer.recorder.steps
    assert [one.title for one in steps] == 2 * ["step", "p: g", "p: g, 3 more"]
    first, more = steps[1], steps[2]
    assert (first.depth, first.ms, first.counts) == (1, 500, "2 x x -> y")
    assert (more.ms, more.values["calls"], more.inputs) == (1500, 3, ((2,), (2,)))
    assert steps[0].ms < 500

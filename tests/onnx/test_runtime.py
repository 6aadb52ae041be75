# ruff: noqa: E402
"""A bundle in the place of a run: the same answers, no PyTorch, and no damaged file is believed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

from small import paint, play

from muomni_cli.api import FileMedia, RequestError
from muomni_cli.inference.chat_model import Answer
from muomni_cli.inference.settings import ChatOptions
from muomni_cli.models.engines import CAN_CHAT
from muomni_cli.models.locate import model_named, resolve_model
from muomni_cli.models.run_engine import RunEngine
from tests.opening import open_chat

Made = tuple[Path, RunEngine]


@pytest.fixture
def media(tmp_path: Path) -> list[FileMedia]:
    """A picture and a sound."""
    paint(tmp_path / "a.png", "red")
    play(tmp_path / "a.wav", "low", seconds=1.0)
    return [FileMedia("image", tmp_path / "a.png"), FileMedia("audio", tmp_path / "a.wav")]


def answered(spec: str, media: list[FileMedia], seed: int) -> list[int]:
    speaker, settings = open_chat(spec, ChatOptions(temperature=1.0, seed=seed, max_tokens=12), device="cpu", threads=1)
    answer = Answer()
    for _ in speaker.answer(speaker.prompt("Which tone?", media, settings), settings, answer):
        pass
    return answer.tokens


@pytest.mark.parametrize("seed", [0, 1])
def test_it_answers_as_the_run_does(made: Made, media: list[FileMedia], seed: int) -> None:
    root, found = made
    assert answered(str(root), media, seed) == answered(str(found.run.root), media, seed)
    assert answered(str(root), [], seed) == answered(str(found.run.root), [], seed)


def test_chat_needs_no_pytorch(made: Made, media: list[FileMedia]) -> None:
    words = ["chat", "Which tone?", "-m", str(made[0]), "--image", media[0].path, "--audio", media[1].path]
    script = (
        "import sys; from muomni_cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, [m for m in ('torch', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("0 []\n"), done.stderr


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / "thinker" / "thinker.onnx").write_bytes(b"1"), "not what was exported"),
        (lambda root: (root / "image" / "encoder.onnx").unlink(), "is missing"),
        (lambda root: (root / "tokenizer" / "tokenizer.json").write_text("{}"), "not what was exported"),
        (lambda root: (root / "muomni.json").write_text('{"format": 99}'), "bundle format 99"),
        (lambda root: shutil.rmtree(root / "audio"), "is missing"),
    ],
)
def test_what_is_damaged_is_refused(
    bundle: Path, media: list[FileMedia], harm: Callable[[Path], object], said: str
) -> None:
    harm(bundle)
    with pytest.raises(RequestError, match=said):
        answered(str(bundle), media, 0)


def test_a_model_without_a_mouth_says_so(made: Made) -> None:
    from muomni_cli.models.engines import CAN_SPEAK, open_engine
    from muomni_cli.voice.synthesis import voice_of

    with pytest.raises(RequestError, match="has no talker, so it cannot speak"):
        voice_of(open_engine(str(made[0]), CAN_SPEAK))


def test_the_name_of_a_bundle_under_runs_and_the_environment_are_enough(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_named("bundle", runs=made[0].parent).bundle
    assert folder is not None
    assert folder.runtime.name == "onnx"
    monkeypatch.setenv("MUOMNI_MODEL", str(made[0]))
    assert resolve_model(None, CAN_CHAT).bundle is not None
    assert model_named(str(made[1].run.root)).bundle is None

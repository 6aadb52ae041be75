# ruff: noqa: E402
"""A bundle measured against its parts in PyTorch, against another, and from the start of a process: what is measured,
never how fast it is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

from muomni_cli.app import main
from muomni_cli.bench.speech import first_byte
from muomni_cli.core.errors import MuomniError

pytestmark = pytest.mark.long

FEW = ["--rounds", "2", "--threads", "1", "--device", "cpu"]
SHORT = ["--prompt", "4", "--tokens", "6", *FEW]


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muomni_cli.bench.report.ROUND_SECONDS", 0.001)


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str, str]:
    """Exit code, stdout and stderr of ``muomni bench WORDS``."""
    with pytest.raises(SystemExit) as exit_:
        main(["bench", *words])
    return (exit_.value.code, *capsys.readouterr())


def test_what_python_adds_to_the_graphs(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ratio with much slack: of graphs this small, most of the time is Python."""
    words = ["overhead", "-m", str(bundle), "--tokens", "12", "--rounds", "5", "--device", "cpu"]
    code, out, _ = call(capsys, *words, "--json")
    assert code == 0
    (text,) = json.loads(out)["overheads"]
    assert text["what"] == "a token of text"
    assert 0 < text["graphs"] < text["whole"] < 20 * text["graphs"]
    assert text["above"] == pytest.approx(text["whole"] - text["graphs"])
    code, out, _ = call(capsys, *words)
    assert out.splitlines()[0].split()[:2] == ["MEASURED", "US"]


def test_generation_against_pytorch_and_another_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copytree(bundle, bundle.parent / "other")
    versus = ["--vs", "torch", "--vs", str(other)]
    words = ["-m", str(bundle), *versus, *SHORT, "--prefill", "20", "--vary", "batch=3", "--json"]
    code, out, _ = call(capsys, "generate", *words)
    assert code == 0
    report = json.loads(out)
    assert any(name.startswith("onnxruntime") for name in report["machine"])
    settings = [line["setting"] for line in report["lines"]]
    assert settings == [
        base := "batch=1 length=4 count=6 threads=1",
        f"reading 20 tokens: {base}",
        "batch=3",
        "reading 20 tokens: batch=3",
    ]
    for line, rows in zip(report["lines"], (1, 1, 3, 3), strict=True):
        names = [one["name"] for one in line["contestants"]]
        assert names == ["bundle", "other", "torch", "torch, laid out"]
        assert set(line["ratio"]) == set(names[1:])
        assert all(len(one["rates"]) == 2 for one in line["contestants"])
        items = {one["items"] for one in line["contestants"]}
        assert len(items) == 1, "all do the same work"
        if line["unit"] == "token":
            assert items == {rows * 6}
        else:
            assert items.pop() % rows == 0


def test_a_prompt_to_read_is_as_long_as_fits_and_may_be_left_out(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "generate", "-m", str(bundle), *SHORT)
    assert code == 0
    assert "reading 64 tokens" in out, "its context"
    assert "MS/TOKEN" in out
    assert "MS/PROMPT" in out
    code, out, _ = call(capsys, "generate", "-m", str(bundle), *SHORT, "--prefill", "0")
    assert code == 0
    assert "reading" not in out


def test_encoders_against_pytorch(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "encode", "-m", str(bundle), "--vs", "torch", *FEW, "--json")
    assert code == 0
    lines = {line["setting"]: line for line in json.loads(out)["lines"]}
    assert list(lines) == ["image: one image", "audio: one second", "audio: one minute"]
    for line in lines.values():
        assert [one["name"] for one in line["contestants"]] == ["bundle", "torch"]
        assert len({one["items"] for one in line["contestants"]}) == 1


def test_bundles_alone_are_measured_without_pytorch(bundle: Path) -> None:
    words = {"generate": SHORT, "encode": FEW}
    calls = [["bench", verb, "-m", str(bundle), *rest, "--json"] for verb, rest in words.items()]
    script = f"""
import sys
from muomni_cli.app import main
for words in {calls!r}:
    try:
        main(words)
    except SystemExit as end:
        assert end.code == 0
print("torch" in sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "False"


def test_a_cold_start_is_measured_from_outside(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copytree(bundle, bundle.parent / "other")
    words = ["-m", str(bundle), "--vs", str(other), "--rounds", "1", "--threads", "1", "--json"]
    code, out, _ = call(capsys, "start", *words)
    assert code == 0
    (line,) = json.loads(out)["lines"]
    assert line["setting"] == "chat: first token", "it does not speak"
    assert [one["name"] for one in line["contestants"]] == ["bundle", "other"]
    assert line["unit"] == "start"


def test_a_command_that_fails_is_no_cold_start() -> None:
    with pytest.raises(MuomniError, match="muomni chat failed: there is no model 'nobody'"):
        first_byte(["chat", "hello", "-m", "nobody"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generate", "-m", "BUNDLE", "--vary", "thinker.n_layers=2"], "is not a setting of a bundle"),
        (["generate", "-m", "BUNDLE", "--vs", "BUNDLE"], "given twice"),
        (["generate", "-m", "nowhere"], "there is no model 'nowhere'"),
        (["generate", "-m", "BUNDLE", "--prompt", "65"], "context holds 64"),
        (["generate", "omni", "-m", "BUNDLE"], "-m and the recipe omni exclude each other"),
        (["encode", "-m", "BUNDLE", "--vs-transformers"], "needs a recipe"),
        (["encode", "--vs", "torch"], "--vs needs a bundle"),
        (["start", "-m", "nobody"], "no model 'nobody'"),
    ],
)
def test_what_cannot_be_measured_is_said(
    words: list[str], said: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, *[str(bundle) if word == "BUNDLE" else word for word in words])
    assert (code, out) == (2, "")
    assert said in err

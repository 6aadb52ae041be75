# ruff: noqa: E402
"""What an exported folder holds, and that nothing else passes for one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")


from muomni_cli.api import RequestError
from muomni_cli.models.run_engine import RunEngine
from muomni_onnx.bundle import open_bundle, sha256
from muomni_onnx.check import check
from muomni_onnx.export import export
from muomni_onnx.graphs import Exported, Model, those_with_graphs
from muomni_onnx.parity import answer
from muomni_onnx.runtime import OnnxModel

Made = tuple[Path, RunEngine]


def test_a_bundle_holds_every_part_and_the_digest_of_every_file(made: Made) -> None:
    root = made[0]
    manifest = open_bundle(root).manifest
    assert {(part, graph) for part, entry in manifest["parts"].items() for graph in entry["graphs"]} == {
        ("thinker", "embed"),
        ("thinker", "thinker"),
        *((modality, graph) for modality in ("image", "audio") for graph in ("encoder", "projector")),
    }
    assert set(manifest["parts"]) == {"thinker", "image", "audio"}
    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} - {"muomni.json"}
    assert manifest["files"] == {name: sha256(root / name) for name in files}
    assert manifest["special_tokens"]["eos"] >= 0
    assert not list(root.parent.glob(".bundle*")), "nothing is left behind"


def test_graphs_agree_with_pytorch_far_within_what_is_allowed(made: Made, model: Model) -> None:
    opened = open_bundle(made[0])
    (text,), _ = answer(model, OnnxModel(opened, "cpu", 1), print)
    assert text.equal == text.asked == 60, "the rest of a context of 64 behind four tokens"
    for part in opened.parts.values():
        for graph in part["graphs"].values():
            assert graph["error"] <= 1e-5


def test_a_check_needs_no_pytorch(made: Made) -> None:
    script = (
        "import sys; from pathlib import Path; from muomni_onnx.check import check; "
        f"print(len(check(Path({str(made[0])!r}))), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["8", "False"]


def change(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(edit((root / name).read_bytes()))


def of_format(version: object) -> Callable[[bytes], bytes]:
    return lambda raw: json.dumps({**json.loads(raw), "format": version}).encode()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (
            change("thinker/thinker.onnx", lambda raw: raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:]),
            "not what was exported",
        ),
        (change("audio/encoder.onnx", lambda raw: raw[:1000]), "not what was exported"),
        (lambda root: (root / "image" / "projector.onnx").unlink(), "is missing"),
        (lambda root: (root / "more.txt").touch(), "does not belong"),
        (change("muomni.json", of_format(2)), "format 2"),
        (change("muomni.json", lambda raw: raw[:500]), "not valid JSON"),
        (change("muomni.json", lambda _: b'{"format": 1}'), "damaged"),
        (lambda root: (root / "muomni.json").unlink(), "no bundle"),
    ],
)
def test_a_bundle_that_is_not_whole_is_refused_in_one_line(
    bundle: Path, harm: Callable[[Path], object], said: str
) -> None:
    harm(bundle)
    with pytest.raises(RequestError, match=said) as error:
        check(bundle)
    assert "\n" not in error.value.what
    assert error.value.fix


def test_what_is_there_is_not_overwritten(model: Model, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RequestError, match="there already"):
        export(model, tmp_path, notify=print)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_part_without_graphs_is_named_and_left_out_only_when_asked(model: Model) -> None:
    whole = model.parts
    image = next(part for part in whole if part.name == "image")
    silent = Exported(image.name, {**image.entry, "use": "eye", "plugin": "stranger"}, image.module, [])
    parts = [silent if part is image else part for part in whole]
    with pytest.raises(RequestError, match=r"encoder eye \(plugin stranger\)"):
        those_with_graphs(parts, partial=False)
    assert [part.name for part in those_with_graphs(parts, partial=True)] == ["thinker", "audio"]

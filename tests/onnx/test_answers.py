# ruff: noqa: E402
"""Whole answers of a bundle are those of PyTorch, a check repeats them, and no changed weight goes unnoticed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

import onnx
from onnx import numpy_helper

from muomni_cli.api import Graph, MuomniError
from muomni_cli.registry.entries import part_entry
from muomni_cli.registry.registry import get_registry
from muomni_cli.runs.checkpoint import build_part
from muomni_cli.runs.run import RunFolder
from muomni_onnx import check as checking
from muomni_onnx import export as exporting
from muomni_onnx import golden
from muomni_onnx.bundle import open_bundle, write_manifest
from muomni_onnx.golden import GoldenText, agreeing
from muomni_onnx.graphs import Exported, Model, exported
from muomni_onnx.parity import answer, compare
from muomni_onnx.runtime import OnnxModel
from muomni_onnx.sessions import GraphSession
from muomni_onnx.sources import Trained, model_of

if TYPE_CHECKING:
    from tests.tiny_model import Whole

Made = tuple[Path, Model]


@pytest.fixture(scope="module")
def spoken(whole: Whole) -> Made:
    """The bundle of a whole tiny model, and the model."""
    return whole.bundle, model_of(Trained(RunFolder(whole.run)))


def matrices(model: Any) -> Iterator[Any]:
    """The weights of a graph that are matrices, or more."""
    for one in model.graph.initializer:
        if one.data_type == onnx.TensorProto.FLOAT and len(one.dims) >= 2 and min(one.dims[:2]) >= 8:
            yield one


def mutate(matrix: Any) -> None:
    """Change the last columns by 5% (the first of the vocoder's phases are zeros)."""
    values = numpy_helper.to_array(matrix).copy()
    values[:, -max(2, values.shape[1] // 8) :] *= 1.05
    matrix.CopyFrom(numpy_helper.from_array(values, matrix.name))


def test_everything_that_it_says_is_what_pytorch_says(spoken: Made) -> None:
    checks, _ = answer(spoken[1], OnnxModel(open_bundle(spoken[0]), "cpu", 1), print)
    wholes = {one.name: one for one in checks}
    assert wholes["greedy tokens"].equal == wholes["greedy tokens"].asked == 128
    assert wholes["greedy code frames"].equal == wholes["greedy code frames"].asked == 300
    assert wholes["log-mel of code frames"].error <= 1e-4
    assert wholes["samples"].error <= 1e-4


def test_a_check_repeats_it(spoken: Made) -> None:
    names = {(one.part, one.graph): one for one in checking.check(spoken[0], threads=1)}
    assert {("thinker", "greedy tokens"), ("talker", "greedy code frames"), ("vocoder", "samples")} < names.keys()


@pytest.mark.parametrize("part", ["thinker", "image", "audio", "codec", "talker", "vocoder"])
def test_no_changed_matrix_goes_unnoticed(spoken: Made, part: str, tmp_path: Path) -> None:
    found = spoken[1].part(part)
    assert found is not None
    changed = 0
    for graph in found.graphs:
        path = spoken[0] / part / f"{graph.name}.onnx"
        found_there = list(matrices(onnx.load(path)))
        largest = max(found_there, key=lambda matrix: matrix.ByteSize(), default=None)
        for name in {matrix.name for matrix in (*found_there[:1], largest) if matrix is not None}:
            model = onnx.load(path)
            mutate(next(one for one in matrices(model) if one.name == name))
            onnx.save(model, tmp_path / "changed.onnx")
            assert not compare(graph, GraphSession(tmp_path / "changed.onnx", 1)).holds, f"{graph.name}: {name}"
            changed += 1
    assert changed, "there is something to change"


def test_a_bundle_with_a_changed_matrix_does_not_pass_its_check(spoken: Made, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(spoken[0], tmp_path / "bundle"))
    path = bundle / "talker" / "step.onnx"
    model = onnx.load(path)
    mutate(next(matrices(model)))
    onnx.save(model, path)
    write_manifest(
        bundle, {key: value for key, value in open_bundle(bundle).manifest.items() if key not in ("format", "files")}
    )
    with pytest.raises(MuomniError, match=r"talker: step is .* from what it gave"):
        checking.check(bundle, threads=1)


def test_nothing_is_written_where_whole_answers_differ(
    spoken: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talker = spoken[1].part("talker")
    assert talker is not None
    monkeypatch.setattr(exporting, "write_graph", copied_from(spoken))

    told_codes, sides = golden.golden_codes, ["graphs", "torch"]

    def told(*words: Any) -> list[GoldenText]:
        made = told_codes(*words)
        if sides.pop(0) == "graphs":
            made[0].values[5] += 1
        return made

    monkeypatch.setattr(golden, "golden_codes", told)
    with pytest.raises(MuomniError, match="of 300 greedy code frames are those of PyTorch; nothing was written"):
        exporting.export(spoken[1], tmp_path / "bundle", notify=print)
    assert not list(tmp_path.iterdir())


def copied_from(spoken: Made) -> Any:
    """In place of tracing a graph: the file that is there already."""

    def copy(_: Graph, path: Path) -> None:
        shutil.copy(spoken[0] / path.parent.name / path.name, path)

    return copy


@pytest.mark.slow
def test_griffin_lim_is_judged_by_what_is_heard(spoken: Made, tmp_path: Path) -> None:
    codec = spoken[1].part("codec")
    assert codec is not None
    mel: Any = codec.module.mel
    registered = get_registry().get("vocoder", "griffin-lim")
    config = registered.part.config.model_validate({"iterations": 4})
    entry = part_entry(registered, config, "", mel=mel.model_dump(mode="json"))
    vocoder: Exported = exported("vocoder", entry, build_part(registered, config, entry))
    model = Model("v", [codec, vocoder], {}, None, {})
    report = exporting.export(model, tmp_path / "bundle", notify=print)
    heard = report.wholes[-1]
    assert heard.name == "what the samples sound like"
    assert heard.error <= heard.allowed
    assert checking.check(tmp_path / "bundle", threads=1)[-1].graph == heard.name


def test_where_pytorch_is_undecided_nothing_more_is_asked_for() -> None:
    theirs = GoldenText(np.array([1, 2, 3, 4]), np.array([1.0, 1.0, 1e-5, 1.0]))
    same, undecided, wrong = (
        GoldenText(np.array(ids), theirs.gaps) for ids in ([1, 2, 3, 4], [1, 2, 9, 9], [1, 9, 3, 4])
    )
    assert agreeing([same], [theirs], 1e-4) == (4, 4)
    assert agreeing([undecided], [theirs], 1e-4) == (2, 2)
    assert agreeing([undecided], [theirs], 1e-6) == (2, 4)
    assert agreeing([wrong], [theirs], 1e-4) == (1, 4)
    assert agreeing([GoldenText(same.values[:3], same.gaps[:3])], [theirs], 1e-4) == (3, 4)
